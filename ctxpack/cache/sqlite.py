"""A segment cache in a file, which many processes of one machine can share."""

from __future__ import annotations

import math
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from time import time

from ctxpack.cache.base import StoreStats
from ctxpack.cache.database import Database
from ctxpack.cache.recording import in_use
from ctxpack.errors import CacheError, shown

TOUCH_S = 60
"""How old a stamp of last use gets before a read renews it, so that most reads write nothing."""

_MAX_TOUCHED = 10_000
_PUT_BYTES = 4_000_000  # of one transaction: what SQLite's log holds before it is copied back
_LARGEST = 900_000_000  # SQLite takes no more than 1,000,000,000 bytes in a row
_BATCH = 100  # entries that `items` reads at once

# Casts: a damaged file may hold a value of any type, or a text that is none.
_GET = (
    "SELECT CAST(value AS BLOB), used < ? FROM entries"
    " WHERE namespace = ? AND key = ? AND written > ?"
)
_ITEMS = (
    "SELECT key, CAST(value AS BLOB) FROM entries"
    f" WHERE namespace = ? AND key > ? AND written > ? ORDER BY key LIMIT {_BATCH}"
)
_ADD = "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?)"
_REMOVE = "DELETE FROM entries WHERE namespace = ? AND key = ?"
_TOUCH = "UPDATE entries SET used = ? WHERE namespace = ? AND key = ?"
# Used when it was written or later, an entry is as old as its use says, or older.
_EXPIRE = (
    "DELETE FROM entries WHERE rowid IN"
    " (SELECT rowid FROM entries WHERE used <= ? ORDER BY used LIMIT 1000)"
)
_OLDEST = (
    "SELECT rowid, CAST(ifnull(size, length(value)) AS INTEGER) FROM entries ORDER BY used, rowid"
)
_TOTALS = "SELECT CAST(entries AS INTEGER), CAST(bytes AS INTEGER) FROM totals WHERE namespace = ?"


class SQLiteCache:
    """Keeps values in a SQLite file; what was not used for longest goes first.

    Reads and writes have a connection each, so that a read does not wait for a write. What becomes
    of a fault, `Database` says.

    Args:
        path: of the file, made when needed.
        max_bytes: of the file, for all namespaces together; >= 100,000. One write may take it over
            by 4 MB or one larger value, and a log of some 4 MB lies beside it while in use. A value
            of more than half of `max_bytes` is not kept.
        ttl_s: seconds until a value is forgotten; a later write removes it from the file. None:
            never.
        namespace: sees and clears only what was stored under the same name.
        timeout_ms: how long to wait for another process that writes.

    Raises:
        CacheError: a number is out of its range.
    """

    name = "sqlite"

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_bytes: int = 2_000_000_000,
        ttl_s: float | None = None,
        namespace: str = "default",
        timeout_ms: float = 500.0,
    ) -> None:
        _check("max_bytes", max_bytes, max_bytes >= 100_000, ">= 100000")
        _check("ttl_s", ttl_s, ttl_s is None or 0 < ttl_s < math.inf, "above 0 and finite")
        _check("timeout_ms", timeout_ms, 0 < timeout_ms <= 3_600_000, "above 0 and at most an hour")
        self._path = os.path.abspath(path)
        _check("path", self._path, _is_path(self._path), "a path of a file")
        self._max_bytes = max_bytes
        self._largest = min(max_bytes // 2, _LARGEST)
        self._ttl_s = ttl_s
        self._namespace = namespace
        self._stored_namespace = namespace.encode("utf-8", "surrogatepass")
        self._timeout_ms = timeout_ms
        self._reading = Database(self._path, busy_s=timeout_ms / 1000)
        self._writing = Database(self._path, busy_s=timeout_ms / 1000)
        self._touched: set[bytes] = set()
        self._evictions = 0

    def __repr__(self) -> str:
        name = "" if self._namespace == "default" else f", namespace={self._namespace!r}"
        return f"SQLiteCache({self._path!r}{name})"

    def __reduce__(self) -> tuple[partial[SQLiteCache], tuple[()]]:
        copied = partial(
            SQLiteCache,
            self._path,
            max_bytes=self._max_bytes,
            ttl_s=self._ttl_s,
            namespace=self._namespace,
            timeout_ms=self._timeout_ms,
        )
        return (copied, ())

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of every key, in order; None where there is none."""
        misses: list[bytes | None] = [None] * len(keys)
        return self._reading.run(partial(self._get, keys), otherwise=misses) if keys else misses

    def put_many(self, entries: Mapping[bytes, bytes]) -> None:
        """Store values, in place of older ones under the same keys."""
        for batch in _batches(entries):
            self._writing.run(partial(self._put, batch), otherwise=None)

    def delete_many(self, keys: Sequence[bytes]) -> None:
        """Remove the values of these keys, if there are any."""
        if keys:
            self._writing.run(partial(self._remove, keys), otherwise=None)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield every (key, value) in the order of the keys, also while others write.

        Raises:
            CacheError: the file cannot be read.
        """
        key = b""
        while batch := self._reading.insist(partial(self._items_after, key)):
            yield from batch
            key, _ = batch[-1]

    def clear(self) -> None:
        """Remove every entry of this cache's namespace.

        Raises:
            CacheError: the file cannot be written.
        """
        self._writing.insist(self._clear)

    def stats(self) -> StoreStats:
        """Return what is held and what has happened; not available: reads or writes are not."""
        both = (self._reading, self._writing)
        unknown: tuple[int | None, int | None] = (None, None)
        entries, n_bytes = self._reading.run(self._totals, otherwise=unknown)
        return StoreStats(
            entries=entries,
            bytes=n_bytes,
            evictions=self._evictions,
            errors=sum(database.errors for database in both),
            available=not any(database.breaker.is_open for database in both),
        )

    def close(self) -> None:
        """Release the file; a later call opens it again."""
        if self._touched:
            self._writing.run(partial(self._put, {}), otherwise=None)
        self._reading.close()
        self._writing.close()

    def _get(self, keys: Sequence[bytes], database: sqlite3.Connection) -> list[bytes | None]:
        now, expired = self._clock()
        values: list[bytes | None] = []
        for key in keys:
            row = database.execute(
                _GET, (now - TOUCH_S, self._stored_namespace, key, expired)
            ).fetchone()
            value, is_stale = row or (None, False)
            values.append(value)
            if is_stale and len(self._touched) < _MAX_TOUCHED:
                self._touched.add(key)
        return values

    def _put(self, batch: Mapping[bytes, bytes], database: sqlite3.Connection) -> None:
        now, expired = self._clock()
        name = self._stored_namespace
        # Each `pop` is atomic, and only this thread, which has the connection for writes, pops.
        touched = [self._touched.pop() for _ in range(len(self._touched))]
        rows = [
            (name, key, len(key) + len(value), now, now, value)
            for key, value in batch.items()
            if len(key) + len(value) <= self._largest
        ]
        with database:
            database.execute("BEGIN IMMEDIATE")
            database.executemany(_TOUCH, ((now, name, key) for key in touched))
            database.execute(_EXPIRE, (expired,))
            database.executemany(_REMOVE, ((name, key) for key in batch))
            database.executemany(_ADD, rows)
            evicted = self._evict(database)
        self._evictions += evicted
        in_use().evictions += evicted

    def _evict(self, database: sqlite3.Connection) -> int:
        """Remove entries until the pages in use are within the bound; return how many."""
        n_evicted = 0
        while (excess := _used_bytes(database) - self._max_bytes) > 0:
            oldest = []
            for rowid, size in database.execute(_OLDEST):
                oldest.append((rowid,))
                excess -= size
                if excess <= 0:
                    break
            if not oldest:
                break
            database.executemany("DELETE FROM entries WHERE rowid = ?", oldest)
            n_evicted += len(oldest)
        return n_evicted

    def _remove(self, keys: Sequence[bytes], database: sqlite3.Connection) -> None:
        with database:
            database.execute("BEGIN IMMEDIATE")
            database.executemany(_REMOVE, ((self._stored_namespace, key) for key in keys))

    def _clear(self, database: sqlite3.Connection) -> None:
        database.execute("DELETE FROM entries WHERE namespace = ?", (self._stored_namespace,))
        if not database.execute("SELECT 1 FROM entries LIMIT 1").fetchall():
            with suppress(sqlite3.OperationalError):  # others use it: the space stays for entries
                database.execute("VACUUM")
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _items_after(self, key: bytes, database: sqlite3.Connection) -> list[tuple[bytes, bytes]]:
        _, expired = self._clock()
        return database.execute(_ITEMS, (self._stored_namespace, key, expired)).fetchall()

    def _totals(self, database: sqlite3.Connection) -> tuple[int | None, int | None]:
        totals: tuple[int, int] | None = database.execute(
            _TOTALS, (self._stored_namespace,)
        ).fetchone()
        return totals or (0, 0)

    def _clock(self) -> tuple[int, float]:
        """Return the time now and that of the youngest entry that is expired, in seconds."""
        now = int(time())
        return now, -1 if self._ttl_s is None else now - self._ttl_s


def _batches(entries: Mapping[bytes, bytes]) -> Iterator[dict[bytes, bytes]]:
    """Yield the entries in dicts of `_PUT_BYTES` or a little more."""
    batch: dict[bytes, bytes] = {}
    n_bytes = 0
    for key, value in entries.items():
        batch[key] = value
        n_bytes += len(value)
        if n_bytes >= _PUT_BYTES:
            yield batch
            batch, n_bytes = {}, 0
    if batch:
        yield batch


def _used_bytes(database: sqlite3.Connection) -> int:
    """Return the bytes of the pages that hold something, at this moment of the transaction."""
    (pages,), (free,), (page_bytes,) = (
        database.execute(f"PRAGMA {name}").fetchone()
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * page_bytes)


def _is_path(path: str) -> bool:
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False


def _check(name: str, value: object, holds: bool, rule: str) -> None:
    if not holds:
        raise CacheError(f"cache: `{name}` must be {rule}, got {shown(value)}")
