"""A segment cache in a Redis or Valkey server, which many processes and machines can share.

key    ctxpack:1:<namespace>:<32 bytes>
value  the sealed value; the server forgets it after `ttl_s`, or when its memory is full
"""

from __future__ import annotations

import logging
import math
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from ctxpack.cache.base import StoreStats
from ctxpack.cache.breaker import CircuitBreaker
from ctxpack.cache.keys import KEY_BYTES
from ctxpack.cache.recording import in_use
from ctxpack.errors import CacheError, MissingExtraError, shown
from ctxpack.process import PerProcess

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ImportError as error:
    raise MissingExtraError("a Redis cache", "redis") from error

T = TypeVar("T")

CONNECTIONS = 16
"""Calls of one process that ask the server at once, each on its connection; more wait."""

MAX_VALUE_BYTES = 1 << 20
"""A larger value is not sent: it would keep the server from everybody else for too long."""

_SCHEMES = {"redis": False, "valkey": False, "rediss": True, "valkeys": True}  # True: with TLS
_DATABASE = re.compile("(/[0-9]*)?")
_NO_LOGIN = re.compile(r"[\s'\"]")  # which would keep `without_password` from finding its end
_LARGEST = 1e9  # seconds or milliseconds
_BATCH = 100  # keys a round trip, in `items` and `clear`
_log = logging.getLogger(__name__)


class RedisCache:
    """Keeps sealed values in one server, not a cluster; a call is one round trip.

    A server that fails three calls in a row is left alone for 5 seconds, then tried with one call,
    and left alone for twice as long each time that fails, up to a minute. `stats` has no entries
    and bytes, because only a walk through all of the server's keys could tell (`items` is one), and
    no evictions, because the server counts those of all its users together. A pickled copy has the
    password in it, connects itself, and counts from 0.

    Args:
        url: ``SCHEME://[USER:PASSWORD@]HOST[:PORT][/DATABASE]``; the scheme is ``redis`` or
            ``valkey``, or with TLS ``rediss`` or ``valkeys``, where ``?ca_certs=FILE`` says which
            certificates to trust instead of the system's.
        namespace: the cache sees and clears only what was stored under the same name.
        ttl_s: seconds that the server keeps a value; None: until it needs the memory.
        timeout_ms: the longest that connecting, and every wait for the server, may take.
        breaker: makes the circuit breaker of a process.

    Raises:
        CacheError: the URL or a number is wrong.
    """

    name = "redis"

    def __init__(
        self,
        url: str,
        *,
        namespace: str = "default",
        ttl_s: float | None = None,
        timeout_ms: float = 50.0,
        breaker: Callable[[], CircuitBreaker] = CircuitBreaker,
    ) -> None:
        parts, options = _split(url)
        self._shown = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
        self._arguments = _arguments(parts, options)
        self._timeout_s = _positive("timeout_ms", timeout_ms) / 1000
        self._ttl_ms = None if ttl_s is None else math.ceil(1000 * _positive("ttl_s", ttl_s))
        self._namespace = namespace
        self._prefix = b"ctxpack:1:%b:" % namespace.encode("utf-8", "surrogatepass")
        self._breaker = breaker
        self._link = PerProcess(self._new_link)

    @classmethod
    def from_url(cls, url: str, *, namespace: str = "default") -> RedisCache:
        """Return the cache of a URL that may also say ``ttl_s`` and ``timeout_ms``.

        ``redis://cache.internal:6379/0?ttl_s=86400&timeout_ms=20``

        Raises:
            CacheError: the URL or an option is wrong.
        """
        parts, options = _split(url)
        given = {name: options.pop(name) for name in ("ttl_s", "timeout_ms") if name in options}
        numbers: dict[str, Any] = {name: _number(name, text) for name, text in given.items()}
        rest = parts._replace(query=urlencode(options)).geturl()
        return cls(rest, namespace=namespace, **numbers)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_link"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._link = PerProcess(self._new_link)

    def __repr__(self) -> str:
        return f"RedisCache({self._shown!r}, namespace={self._namespace!r})"

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of every key, in order; None where there is none."""
        misses: list[bytes | None] = [None] * len(keys)
        if not keys:
            return misses
        stored = [self._prefix + key for key in keys]
        found: object = self._link.get().ask(lambda client: client.mget(stored), otherwise=misses)
        # What is no server of ours, or answers something else after an interrupt, sends any shape.
        if not isinstance(found, list) or len(found) != len(keys):
            return misses
        return [value if isinstance(value, bytes) else None for value in found]

    def put_many(self, entries: Mapping[bytes, bytes]) -> None:
        """Store values of at most `MAX_VALUE_BYTES`, in place of older ones under the same keys."""

        def put(client: redis.Redis) -> None:
            pipeline = client.pipeline(transaction=False)
            for key, value in entries.items():
                if len(value) <= MAX_VALUE_BYTES:
                    pipeline.set(self._prefix + key, value, px=self._ttl_ms)
                else:
                    pipeline.unlink(self._prefix + key)
            pipeline.execute()

        if entries:
            self._link.get().ask(put, otherwise=None)

    def delete_many(self, keys: Sequence[bytes]) -> None:
        """Remove the values of these keys, if there are any."""
        stored = [self._prefix + key for key in keys]
        if stored:
            self._link.get().ask(lambda client: client.unlink(*stored), otherwise=0)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield every (key, value); one may come twice when the server rearranges its keys.

        Raises:
            CacheError: the server does not answer.
        """
        client = self._link.get().client
        with self._faults_raised():
            for stored in self._stored_keys(client):
                for key, value in zip(stored, client.mget(stored), strict=True):
                    if value is not None:  # forgotten since, or nothing of ours
                        yield key[len(self._prefix) :], value

    def clear(self) -> None:
        """Remove every entry of this cache's namespace, and nothing else.

        Raises:
            CacheError: the server does not answer.
        """
        client = self._link.get().client
        with self._faults_raised():
            for stored in self._stored_keys(client):
                client.unlink(*stored)

    def stats(self) -> StoreStats:
        """Return what has happened in this process; the server is not asked."""
        link = self._link.get()
        return StoreStats(
            entries=None,
            bytes=None,
            evictions=0,
            errors=link.errors,
            available=not link.breaker.is_open,
        )

    def close(self) -> None:
        """Close this process's connections; a later call opens new ones."""
        self._link.get().client.close()

    def _new_link(self) -> _Link:
        client = redis.Redis(
            socket_connect_timeout=self._timeout_s,
            socket_timeout=self._timeout_s,
            retry=Retry(NoBackoff(), 0),  # whether to try again is the breaker's to say
            protocol=2,
            **self._arguments,
        )
        return _Link(client, self._breaker(), repr(self))

    def _stored_keys(self, client: redis.Redis) -> Iterator[list[bytes]]:
        escaped = re.sub(rb"([*?\[\]\\])", rb"\\\1", self._prefix)
        pattern = escaped + b"?" * KEY_BYTES  # and so not those of the namespace `<namespace>:…`
        cursor = 0
        while True:
            cursor, stored = client.scan(cursor, match=pattern, count=_BATCH)
            if stored:
                yield stored
            if cursor == 0:
                return

    @contextmanager
    def _faults_raised(self) -> Iterator[None]:
        try:
            yield
        except (redis.RedisError, OSError) as error:
            raise CacheError(f"{self!r}: does not answer: {type(error).__name__}") from None


class _Link:
    """One process's way to a server, and what went wrong on it.

    Messages name an error's type only: its text can repeat what was sent, password and values.
    """

    def __init__(self, client: redis.Redis, breaker: CircuitBreaker, name: str) -> None:
        self.client = client
        self.breaker = breaker
        self.errors = 0
        self._name = name
        self._slots = threading.BoundedSemaphore(CONNECTIONS)
        self._lock = threading.Lock()
        self._refusals: set[str] = set()

    def ask(self, operation: Callable[[redis.Redis], T], *, otherwise: T) -> T:
        """Return what an operation returns, or `otherwise` when it fails or must not be tried."""
        with self._slots:
            if not self.breaker.allow():
                in_use().available = False
                return otherwise
            try:
                answer = operation(self.client)
            except redis.ResponseError as error:
                self._refused(type(error).__name__)
                self._answered()  # it did: a full server costs no time-out, and can be read
                return otherwise
            # ValueError, OverflowError: what redis-py makes of lengths that are no number.
            except (redis.RedisError, OSError, ValueError, OverflowError) as error:
                self._failed(type(error).__name__)
                return otherwise
            self._answered()
            return answer

    def _answered(self) -> None:
        if self.breaker.succeeded():
            _log.info("%s answers again", self._name)

    def _refused(self, kind: str) -> None:
        in_use().errors += 1
        with self._lock:
            self.errors += 1
            known = kind in self._refusals
            self._refusals.add(kind)
        if not known:
            _log.warning("%s refuses calls, said once: %s", self._name, kind)

    def _failed(self, kind: str) -> None:
        in_use().errors += 1
        in_use().available = False
        with self._lock:
            self.errors += 1
        if self.breaker.failed():
            _log.warning("%s does not answer and is left alone: %s", self._name, kind)


def _split(url: str) -> tuple[SplitResult, dict[str, str]]:
    """Return the parts of a URL and its options; the message repeats none, any may be a secret."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna")  # which the resolver would not catch
        sound = parts.scheme in _SCHEMES and host and parts.port != 0
        sound = sound and not _NO_LOGIN.search(parts.netloc)
    except ValueError:
        sound = False
    if not sound or not _DATABASE.fullmatch(parts.path) or parts.fragment or "@" in parts.query:
        raise CacheError(
            "cache: a Redis URL is SCHEME://[USER:PASSWORD@]HOST[:PORT][/DATABASE], its scheme one"
            f" of {', '.join(_SCHEMES)}; in a password `/`, `?`, `#`, `@`, quotes and blanks are"
            " percent-encoded"
        )
    return parts, dict(parse_qsl(parts.query, keep_blank_values=True))


def _arguments(parts: SplitResult, options: Mapping[str, str]) -> dict[str, Any]:
    """Return what a URL says of the connection, as arguments of a client."""
    tls = _SCHEMES[parts.scheme]
    for option in options:
        if option != "ca_certs" or not tls:
            raise CacheError(f"cache: {parts.scheme}: unknown option {shown(option)}")
    ca_certs = options.get("ca_certs")
    if ca_certs is not None and not Path(ca_certs).is_file():
        raise CacheError(f"cache: `ca_certs`: there is no file {shown(ca_certs)}")
    return {
        "host": parts.hostname,
        "port": 6379 if parts.port is None else parts.port,
        "db": int(parts.path.removeprefix("/") or "0"),
        "username": parts.username and unquote(parts.username),
        "password": parts.password and unquote(parts.password),
        "ssl": tls,
        "ssl_check_hostname": tls,
        "ssl_ca_certs": ca_certs,
    }


def _number(name: str, text: str) -> float:
    """Return the number that an option of a URL says."""
    try:
        return float(text)
    except ValueError:
        raise CacheError(f"cache: `{name}` must be a number, got {shown(text)}") from None


def _positive(name: str, value: float) -> float:
    """Return a number that is above 0, and that sockets and servers can count with."""
    if not 0 < value <= _LARGEST:
        raise CacheError(f"cache: `{name}` must be above 0 and at most 1e9, got {shown(value)}")
    return value
