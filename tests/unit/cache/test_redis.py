"""A segment cache in a real server: what it stores, and who may see it."""

from __future__ import annotations

import os
import pickle
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis

from ctxpack.cache.redis import CONNECTIONS, MAX_VALUE_BYTES, RedisCache
from ctxpack.errors import CacheError

SECRET = "pass/w?rd#1@x%"
QUOTED = "pass%2Fw%3Frd%231%40x%25"


def key(number: int) -> bytes:
    """Return a key: ``key(1)`` is 32 bytes."""
    return number.to_bytes(2, "big") * 16


@pytest.fixture
def cache(open_redis: Any, redis_server: Any) -> RedisCache:
    """Return a cache in a server of its own."""
    return open_redis(redis_server.url)


@pytest.fixture
def client(redis_server: Any) -> Iterator[redis.Redis]:
    """Return a plain client of the server."""
    with redis.Redis(port=redis_server.port, protocol=2) as client:
        yield client


def test_keys_name_format_and_namespace(cache: RedisCache, client: redis.Redis) -> None:
    """What the server holds is named by format and namespace, with the key as it is."""
    cache.put_many({key(1): b"one"})
    assert client.keys() == [b"ctxpack:1:default:" + key(1)]
    assert client.get(b"ctxpack:1:default:" + key(1)) == b"one"


def test_many_keys_are_one_command(cache: RedisCache, client: redis.Redis) -> None:
    """Twenty keys are read by one command."""
    cache.put_many({key(n): b"value" for n in range(20)})
    cache.get_many([key(n) for n in range(20)])
    assert client.info("commandstats")["cmdstat_mget"]["calls"] == 1


def test_no_keys_ask_nothing(open_redis: Any) -> None:
    """Calls without keys do not need the server."""
    cache = open_redis("redis://127.0.0.1:1")
    assert cache.get_many([]) == []
    cache.put_many({})
    cache.delete_many([])
    assert cache.stats().errors == 0


def test_values_expire(open_redis: Any, redis_server: Any, client: redis.Redis) -> None:
    """The server forgets a value after `ttl_s`."""
    open_redis(redis_server.url, ttl_s=90.5).put_many({key(1): b"one"})
    assert 60_000 < client.pttl(b"ctxpack:1:default:" + key(1)) <= 90_500


def test_values_stay_without_ttl(cache: RedisCache, client: redis.Redis) -> None:
    """Without `ttl_s` a value has no end."""
    cache.put_many({key(1): b"one"})
    assert client.ttl(b"ctxpack:1:default:" + key(1)) == -1


def test_large_values_are_not_sent(cache: RedisCache, client: redis.Redis) -> None:
    """A value over the bound only takes an older one's place, one at it is stored."""
    cache.put_many({key(1): b"older"})
    cache.put_many({key(1): b"x" * (MAX_VALUE_BYTES + 1), key(2): b"x" * MAX_VALUE_BYTES})
    assert client.keys() == [b"ctxpack:1:default:" + key(2)]
    assert cache.stats().errors == 0


@pytest.mark.parametrize("other", ["b", "a:b", "a*", "a?", "[a]", "", "ä"])
def test_namespaces_do_not_see_each_other(open_redis: Any, redis_server: Any, other: str) -> None:
    """Each namespace reads, lists and clears its own entries only."""
    ours, theirs = (open_redis(redis_server.url, namespace=name) for name in ("a", other))
    ours.put_many({key(1): b"ours", key(2): b"ours"})
    theirs.put_many({key(1): b"theirs"})
    assert dict(theirs.items()) == {key(1): b"theirs"}
    theirs.clear()
    assert theirs.get_many([key(1)]) == [None]
    assert dict(ours.items()) == {key(1): b"ours", key(2): b"ours"}


def test_items_and_clear_walk_in_batches(cache: RedisCache) -> None:
    """More entries than one batch holds are all listed and all cleared."""
    entries = {key(n): str(n).encode() for n in range(1500)}
    cache.put_many(entries)
    assert dict(cache.items()) == entries
    cache.clear()
    assert list(cache.items()) == []


def test_foreign_values_are_misses(cache: RedisCache, client: redis.Redis) -> None:
    """A list under our key is a miss, is not listed, and makes way for a value."""
    client.lpush(b"ctxpack:1:default:" + key(1), "foreign")
    assert cache.get_many([key(1)]) == [None]
    assert list(cache.items()) == []
    cache.put_many({key(1): b"ours"})
    assert cache.get_many([key(1)]) == [b"ours"]
    assert cache.stats().errors == 0


def test_stats_do_not_ask_the_server(cache: RedisCache, client: redis.Redis) -> None:
    """Entries, bytes and evictions are not known for the cost of nothing."""
    cache.put_many({key(1): b"one"})
    before = client.info("stats")["total_commands_processed"]
    stats = cache.stats()
    assert (stats.entries, stats.bytes, stats.evictions, stats.errors) == (None, None, 0, 0)
    assert stats.available
    assert client.info("stats")["total_commands_processed"] == before + 1


def test_threads_share_few_connections(cache: RedisCache, client: redis.Redis) -> None:
    """64 threads get what they stored over at most 16 connections."""
    barrier = threading.Barrier(64)

    def use(n: int) -> list[bytes | None]:
        barrier.wait()
        cache.put_many({key(n): str(n).encode()})
        return cache.get_many([key(n)])

    with ThreadPoolExecutor(64) as pool:
        assert list(pool.map(use, range(64))) == [[str(n).encode()] for n in range(64)]
    assert client.info("stats")["total_connections_received"] <= CONNECTIONS + 1
    assert cache.stats().errors == 0


def test_a_forked_child_connects_itself(cache: RedisCache, client: redis.Redis) -> None:
    """After a fork, child and parent read on, each over a connection of its own."""
    cache.put_many({key(1): b"one"})
    child = os.fork()
    if child == 0:
        os._exit(0 if cache.get_many([key(1)]) == [b"one"] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert cache.get_many([key(1)]) == [b"one"]
    assert client.info("stats")["total_connections_received"] == 3  # parent, child, plain client


def test_pickled_copies_connect(cache: RedisCache) -> None:
    """A pickled copy of a cache in use reads what the cache stored."""
    cache.put_many({key(1): b"one"})
    copy = pickle.loads(pickle.dumps(cache))
    assert copy.get_many([key(1)]) == [b"one"]
    copy.close()


def test_a_closed_cache_opens_again(cache: RedisCache) -> None:
    """After `close` the next call connects again."""
    cache.put_many({key(1): b"one"})
    cache.close()
    assert cache.get_many([key(1)]) == [b"one"]


def test_password_of_the_url(open_redis: Any, start_redis: Any) -> None:
    """The password of the URL, percent-encoded, opens the server and is not shown."""
    server = start_redis("--requirepass", SECRET)
    cache = open_redis(f"valkey://:{QUOTED}@127.0.0.1:{server.port}/1")
    cache.put_many({key(1): b"one"})
    assert cache.get_many([key(1)]) == [b"one"]
    shown = f"RedisCache('valkey://127.0.0.1:{server.port}/1', namespace='default')"
    assert repr(cache) == shown


@pytest.fixture
def tls_server(tmp_path: Path, start_redis: Any) -> Any:
    """Return a server with TLS and a password, and a certificate that it signed itself."""
    key_and_certificate = ["-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "1"]
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command = ["openssl", "req", "-x509", *curve, *key_and_certificate, *subject]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    return start_redis("--requirepass", SECRET, tls=True)


@pytest.mark.parametrize("scheme", ["rediss", "valkeys"])
def test_tls(open_redis: Any, tls_server: Any, tmp_path: Path, scheme: str) -> None:
    """With TLS a server is trusted by the certificates that the URL names."""
    address = f"{scheme}://:{QUOTED}@127.0.0.1:{tls_server.port}"
    cache = open_redis(f"{address}?ca_certs={tmp_path}/cert.pem")
    cache.put_many({key(1): b"one"})
    assert cache.get_many([key(1)]) == [b"one"]
    assert cache.stats().errors == 0


def test_tls_trusts_no_stranger(open_redis: Any, tls_server: Any) -> None:
    """A server whose certificate nobody signed is not told the password."""
    cache = open_redis(f"rediss://:{QUOTED}@127.0.0.1:{tls_server.port}")
    cache.put_many({key(1): b"one"})
    assert cache.get_many([key(1)]) == [None]
    assert cache.stats().errors == 2


def test_from_url_takes_options(open_redis: Any, redis_server: Any, client: redis.Redis) -> None:
    """`from_url` reads time to live and time-out from the URL."""
    cache = RedisCache.from_url(f"{redis_server.url}/0?ttl_s=90&timeout_ms=5000", namespace="n")
    cache.put_many({key(1): b"one"})
    assert 60 < client.ttl(b"ctxpack:1:n:" + key(1)) <= 90
    cache.close()


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1",
        "redis://",
        "redis://:secret@",
        "redis://127.0.0.1/secret",
        "redis://127.0.0.1:secret",
        "redis://:secret/x@127.0.0.1",
        "redis://:1#secret@127.0.0.1",
        "redis://u:1?secret=x@127.0.0.1",
        "redis://:secret@[127.0.0.1",
        "redis://:secret's@127.0.0.1",
        'redis://:secret"s@127.0.0.1',
        "redis://:secret s@127.0.0.1",
        "redis://:secret@127.0.0.1?port=1",
        "redis://:secret@127.0.0.1?ca_certs=file",
        "rediss://:secret@127.0.0.1?ca_certs=none.pem",
        "redis://:secret@127.0.0..1",
        "redis://:secret@127.0.0.1?ttl_s=soon",
        "redis://:secret@127.0.0.1?ttl_s=0",
        "redis://:secret@127.0.0.1?timeout_ms=nan",
        "redis://:secret@127.0.0.1?timeout_ms=1e300",
        "redis://:secret@127.0.0.1?ttl_s=1e300",
    ],
)
def test_wrong_urls_are_refused_without_their_secrets(url: str) -> None:
    """A URL that means nothing raises, and the message repeats no part that may be a secret."""
    with pytest.raises(CacheError) as raised:
        RedisCache.from_url(url)
    assert "secret" not in str(raised.value)
