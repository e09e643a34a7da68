"""Every fault of a server is a miss and a count; a dead one costs its time-out a few times."""

from __future__ import annotations

import logging
import socket
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ctxpack.cache.breaker import CircuitBreaker
from ctxpack.cache.redis import CONNECTIONS, RedisCache
from ctxpack.errors import CacheError

FAILURES = 3  # that open a breaker
IMPATIENT_MS = 20.0


class Clock:
    """A clock that stands still until it is told otherwise."""

    now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def key(number: int) -> bytes:
    """Return a key: ``key(1)`` is 32 bytes."""
    return number.to_bytes(2, "big") * 16


@pytest.fixture
def clock() -> Clock:
    """Return the clock of the cache's breaker."""
    return Clock()


@pytest.fixture
def open_cache(open_redis: Any, clock: Clock) -> Callable[..., RedisCache]:
    """Return what makes caches whose breaker goes by the clock."""

    def opened(url: str, **options: Any) -> RedisCache:
        return open_redis(url, breaker=lambda: CircuitBreaker(clock=clock), **options)

    return opened


@pytest.fixture
def silent_port() -> Iterator[socket.socket]:
    """Return a socket that lets connections wait, and answers none."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        listener.setblocking(False)
        yield listener


def attempts(listener: socket.socket) -> int:
    """Count the connections that have been waiting."""
    count = 0
    while True:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


def test_no_server(open_cache: Any) -> None:
    """Of 100 calls to a port where nothing listens, three try to connect; none raises."""
    cache = open_cache("redis://127.0.0.1:1")
    for n in range(50):
        cache.put_many({key(n): b"value"})
        assert cache.get_many([key(n), key(0)]) == [None, None]
    assert cache.stats().errors == FAILURES
    assert not cache.stats().available


def test_silent_server(open_cache: Any, silent_port: socket.socket) -> None:
    """Of 100 calls to a server that never answers, three wait for it."""
    cache = open_cache(f"redis://127.0.0.1:{silent_port.getsockname()[1]}", timeout_ms=IMPATIENT_MS)
    assert [cache.get_many([key(n)]) for n in range(100)] == [[None]] * 100
    assert attempts(silent_port) == cache.stats().errors == FAILURES


def test_silent_server_and_many_threads(open_cache: Any, silent_port: socket.socket) -> None:
    """Of 256 calls by 64 threads, those that began before the third time-out wait for it."""
    cache = open_cache(f"redis://127.0.0.1:{silent_port.getsockname()[1]}", timeout_ms=IMPATIENT_MS)
    with ThreadPoolExecutor(64) as pool:
        assert list(pool.map(lambda n: cache.get_many([key(n)]), range(256))) == [[None]] * 256
    assert FAILURES <= attempts(silent_port) <= CONNECTIONS + FAILURES - 1


def test_one_trial_per_wait(open_cache: Any, clock: Clock, silent_port: socket.socket) -> None:
    """In the first 35 seconds of 5, 10 and 20, of calls every second three more wait."""
    cache = open_cache(f"redis://127.0.0.1:{silent_port.getsockname()[1]}", timeout_ms=IMPATIENT_MS)
    for _ in range(FAILURES):
        cache.get_many([key(1)])
    for second in range(1, 36):
        clock.now = float(second)
        assert cache.get_many([key(1)]) == [None]
    assert attempts(silent_port) == FAILURES + 3


def test_restarted_server(open_cache: Any, redis_server: Any) -> None:
    """A server that was restarted between two calls is empty, which is no fault."""
    cache = open_cache(redis_server.url)
    cache.put_many({key(1): b"old"})
    redis_server.kill()
    redis_server.start()
    assert cache.get_many([key(1)]) == [None]
    cache.put_many({key(1): b"new"})
    assert cache.get_many([key(1)]) == [b"new"]
    assert cache.stats().errors == 0


def test_server_that_comes_back(open_cache: Any, clock: Clock, redis_server: Any) -> None:
    """A server that was dead for long is used again by the first call after the wait."""
    cache = open_cache(redis_server.url)
    cache.put_many({key(1): b"old"})
    redis_server.kill()
    for _ in range(10):
        assert cache.get_many([key(1)]) == [None]
    redis_server.start()
    cache.put_many({key(1): b"too early"})
    clock.now += 5.0
    assert cache.get_many([key(1)]) == [None]
    cache.put_many({key(1): b"new"})
    assert cache.get_many([key(1)]) == [b"new"]
    assert cache.stats().available
    assert cache.stats().errors == FAILURES


def test_each_change_is_logged_once(
    open_cache: Any, clock: Clock, redis_server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has one line when the server goes and one when it is back."""
    caplog.set_level(logging.INFO, logger="ctxpack")
    cache = open_cache(redis_server.url)
    cache.put_many({key(1): b"one"})
    redis_server.kill()
    for second in range(10):
        clock.now = float(second)
        cache.get_many([key(1)])
    redis_server.start()
    clock.now = 100.0
    for _ in range(10):
        cache.get_many([key(1)])
    assert caplog.messages == [
        f"{cache!r} does not answer and is left alone: ConnectionError",
        f"{cache!r} answers again",
    ]


def test_frozen_server(open_cache: Any, clock: Clock, redis_server: Any) -> None:
    """A server that stops answering is left alone, and has its values when it goes on."""
    cache = open_cache(redis_server.url, timeout_ms=200.0)
    patient = open_cache(redis_server.url)
    patient.put_many({key(1): b"one"})
    redis_server.freeze()
    for _ in range(100):
        assert cache.get_many([key(1)]) == [None]
    assert cache.stats().errors == FAILURES
    redis_server.thaw()
    assert patient.get_many([key(1)]) == [b"one"]
    clock.now += 5.0
    assert cache.get_many([key(1)]) == [b"one"]


def test_killed_in_the_middle(open_redis: Any, redis_server: Any) -> None:
    """While a server is killed and started again, every read has the right value or none."""
    cache = open_redis(redis_server.url, breaker=lambda: CircuitBreaker(reset_s=0.0))
    values = {key(n): bytes([n]) * 20_000 for n in range(20)}

    def use(step: int) -> list[bytes | None]:
        if step == 100:
            redis_server.kill()
        if step == 200:
            redis_server.start()
        cache.put_many(values)
        return cache.get_many(list(values))

    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(use, range(400)):
            assert all(a is None or a == b for a, b in zip(found, values.values(), strict=True))
    assert cache.stats().errors > 0
    assert use(400) == list(values.values())


def test_wrong_password(
    open_cache: Any, start_redis: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong password is a fault like others, and nothing shows it."""
    server = start_redis("--requirepass", "right")
    cache = open_cache(f"redis://:hunter2@127.0.0.1:{server.port}")
    assert [cache.get_many([key(1)]) for _ in range(100)] == [[None]] * 100
    assert cache.stats().errors == FAILURES
    with pytest.raises(CacheError, match="AuthenticationError") as raised:
        cache.clear()
    shown = "".join(traceback.format_exception(raised.value)) + caplog.text + repr(cache)
    assert "hunter2" not in shown


def test_missing_password(open_cache: Any, start_redis: Any) -> None:
    """A server that wants a password, and is told none, is left alone."""
    cache = open_cache(start_redis("--requirepass", "right").url)
    assert [cache.get_many([key(1)]) for _ in range(100)] == [[None]] * 100
    assert cache.stats().errors == FAILURES


def test_full_server(open_cache: Any, start_redis: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A server without memory is still read; what it refuses is counted, and logged once."""
    server = start_redis("--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
    cache = open_cache(server.url)
    values = {key(n): bytes([n]) * 200_000 for n in range(20)}
    for one, value in values.items():
        cache.put_many({one: value})
    assert cache.get_many([key(0), key(19)]) == [values[key(0)], None]
    assert 0 < cache.stats().errors < 20
    assert cache.stats().available
    assert caplog.messages == [f"{cache!r} refuses calls, said once: OutOfMemoryError"]


def test_another_protocol(open_cache: Any, silent_port: socket.socket) -> None:
    """A port where something else answers is a fault like others."""
    url = f"redis://127.0.0.1:{silent_port.getsockname()[1]}"
    cache = open_cache(url)
    silent_port.setblocking(True)

    def answer() -> None:
        for _ in range(FAILURES):
            connection, _ = silent_port.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with ThreadPoolExecutor(1) as pool:
        answered = pool.submit(answer)
        assert [cache.get_many([key(1)]) for _ in range(10)] == [[None]] * 10
        answered.result()
    assert cache.stats().errors == FAILURES


@pytest.mark.parametrize(
    "answer",
    [
        b"$abc\r\n",
        b"*1\r\n$99999999999999999999\r\n",
        b"+OK\r\n",
        b"*2\r\n$1\r\na\r\n$1\r\nb\r\n",
        b"*1\r\n:5\r\n",
        b"*1\r\n*1\r\n$1\r\na\r\n",
        b"*1\r\n-ERR\r\n",
    ],
)
def test_answers_that_make_no_sense(
    open_cache: Any, silent_port: socket.socket, answer: bytes
) -> None:
    """Whatever an answer to a read looks like, it is a miss."""
    cache = open_cache(f"redis://127.0.0.1:{silent_port.getsockname()[1]}")
    silent_port.setblocking(True)

    def serve() -> None:
        connection, _ = silent_port.accept()
        with connection:
            while asked := connection.recv(10_000):
                greeting = b"+OK\r\n" * asked.count(b"SETINFO")
                connection.sendall(greeting + (answer if b"MGET" in asked else b""))

    with ThreadPoolExecutor(1) as pool:
        served = pool.submit(serve)
        assert cache.get_many([key(1)]) == [None]
        cache.close()
        served.result()


@pytest.mark.parametrize("method", ["items", "clear"])
def test_maintenance_says_so(open_cache: Any, method: str) -> None:
    """`items` and `clear` raise, with the server's name, where calls go on without it."""
    cache = open_cache("redis://127.0.0.1:1")
    with pytest.raises(CacheError, match=r"redis://127\.0\.0\.1:1.*ConnectionError"):
        list(getattr(cache, method)() or ())
