"""What happens to the file of a cache, and what its callers see of it: misses."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ctxpack.cache import SQLiteCache
from ctxpack.cache.breaker import CircuitBreaker
from ctxpack.cache.sealing import seal, unseal
from ctxpack.errors import CacheError

KILLS = 100
N_BYTES = 17_000


def key(number: int) -> bytes:
    """Return a key of 32 bytes."""
    return number.to_bytes(32, "big")


def sealed(number: int) -> bytes:
    """Return the value that tests put under a key, as a cached scorer does."""
    payload = random.Random(number).randbytes(N_BYTES)
    return seal(key(number), payload, tier="encoding", cost_ms=1.0, secret=None)


VALUES = {key(number): sealed(number) for number in range(60)}


def whole(cache: SQLiteCache) -> int:
    """Return how many values are there; each that is found must be what was put."""
    found = dict(zip(VALUES, cache.get_many(list(VALUES)), strict=True))
    unsealed = [
        key
        for key, value in found.items()
        if value is not None and unseal(key, value, tier="encoding", secret=None) is not None
    ]
    assert all(found[key] == VALUES[key] for key in unsealed)
    return len(unsealed)


@pytest.fixture
def path() -> Iterator[Path]:
    """Return where the file will be: in memory if possible, where waiting for a disk costs nothing.

    None of these faults loses what the kernel has; only a power cut would.
    """
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder) / "cache.db"


@pytest.fixture
def cache(path: Path) -> Iterator[SQLiteCache]:
    """Return a cache of that file, closed in the end."""
    cache = SQLiteCache(path)
    yield cache
    cache.close()


@pytest.fixture
def filled(cache: SQLiteCache) -> SQLiteCache:
    """Return the cache with all values in it, its file open."""
    cache.put_many(VALUES)
    assert whole(cache) == len(VALUES)
    return cache


def in_a_child(work: Callable[[], None]) -> int:
    """Run `work` in a forked child; return its exit status: 0 when it did not raise."""
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join(60)
    return child.exitcode if child.exitcode is not None else -1


def test_killed_writers(path: Path) -> None:
    """A hundred writers killed in the middle: what they had put is there, and all else a miss."""
    cache = SQLiteCache(path, max_bytes=500_000)
    interrupted = 0
    for kill in range(KILLS):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            _write_for_ever(path, writing)
        os.close(writing)
        os.read(reading, 1)
        time.sleep(kill % 10 / 2000)  # not for something to happen: it spreads the moments
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        done = b"+" + os.read(reading, 1 << 16)
        os.close(reading)
        interrupted += done.endswith(b"-")
        last = done.count(b"+") - 1
        expected = [key(5 * last % 60 + step) for step in range(5)]
        assert cache.get_many(expected) == [VALUES[key] for key in expected]
        assert whole(cache) >= 5
    assert cache.stats().errors == 0
    cache.close()
    assert interrupted > KILLS // 10  # most, unless the machine is busy
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def _write_for_ever(path: Path, report: int) -> None:
    """Put 5 values again and again, and report a `-` before and a `+` after each put."""
    cache = SQLiteCache(path, max_bytes=500_000, timeout_ms=60_000)
    entries = list(VALUES.items())
    turn = 0
    while True:
        start = 5 * turn % 60
        if turn:
            os.write(report, b"-")
        cache.put_many(dict(entries[start : start + 5]))
        os.write(report, b"+")
        turn += 1


def test_processes_that_write_at_once(cache: SQLiteCache, path: Path) -> None:
    """Four processes that put, read and evict in one file see no fault and no wrong value."""

    def work(start: int) -> None:
        cache = SQLiteCache(path, max_bytes=800_000, timeout_ms=60_000)
        for turn in range(15):
            cache.put_many({key(n % 60): VALUES[key(n % 60)] for n in range(start, start + 10)})
            found = dict(zip(VALUES, cache.get_many(list(VALUES)), strict=True))
            assert all(value in (None, VALUES[key]) for key, value in found.items())
            start += 7 * turn
        assert cache.stats().errors == 0

    context = multiprocessing.get_context("fork")
    children = [context.Process(target=work, args=(15 * n,)) for n in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0] * 4
    assert whole(cache) > 20


@pytest.mark.parametrize("is_open", [True, False], ids=["open", "closed"])
@pytest.mark.parametrize("n_bytes", [0, 1, 50, 100, 4095, 4096, 5000, 300_000, 1_000_000])
def test_a_truncated_file(filled: SQLiteCache, path: Path, n_bytes: int, is_open: bool) -> None:
    """What was cut off is a miss, and values are kept again."""
    filled.close()
    if is_open:
        filled.stats()
    os.truncate(path, n_bytes)
    assert 0 <= whole(filled) <= len(VALUES)
    filled.put_many(VALUES)
    filled.put_many(VALUES)
    assert whole(filled) == len(VALUES)


@pytest.mark.parametrize("is_open", [True, False], ids=["open", "closed"])
def test_an_overwritten_header(filled: SQLiteCache, path: Path, is_open: bool) -> None:
    """A file that is no database any more is set aside, and a new one takes its place."""
    filled.close()
    if is_open:
        filled.stats()
    with path.open("r+b") as file:
        file.write(b"overwritten " * 20)
    # Whoever has the header in memory reads on; a write, or the next process, sees the damage.
    filled.close()
    filled.put_many(VALUES)
    assert whole(filled) == len(VALUES)
    assert filled.stats().errors == 1
    assert Path(f"{path}.aside").read_bytes().startswith(b"overwritten ")


def test_flipped_bits(filled: SQLiteCache, path: Path) -> None:
    """Damage anywhere in the file is a miss of what it hit, never an error or a wrong value."""
    filled.close()
    healthy = path.read_bytes()
    chance = random.Random(4)
    survived = 0
    for _ in range(60):
        damaged = bytearray(healthy)
        for _ in range(chance.choice((1, 10, 1000))):
            # Half of them where the tables, the index and the schema are.
            place = chance.randrange(chance.choice((20_000, len(damaged))))
            damaged[place] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        cache = SQLiteCache(path)
        survived += whole(cache)
        cache.stats()
        cache.delete_many([key(1)])
        cache.put_many({key(1): VALUES[key(1)]})
        cache.put_many({key(2): VALUES[key(2)]})
        assert whole(cache) >= 1
        cache.close()
    assert survived > 0


def test_a_file_that_is_gone(filled: SQLiteCache, path: Path) -> None:
    """A file or folder removed while the cache is open is made again."""
    shutil.rmtree(path.parent)
    assert whole(filled) == 0
    filled.put_many(VALUES)
    assert whole(filled) == len(VALUES)
    assert filled.stats().errors == 0


def test_a_new_file_in_its_place_is_found(filled: SQLiteCache, path: Path) -> None:
    """When another process has made the file anew, the open cache changes over to it."""
    path.unlink()
    other = SQLiteCache(path)
    other.put_many({key(1): VALUES[key(1)]})
    assert whole(filled) == 1
    filled.put_many({key(2): VALUES[key(2)]})
    assert whole(other) == 2
    other.close()


def test_another_schema_version(filled: SQLiteCache, path: Path) -> None:
    """A file of another version is made anew at once: the first put is kept."""
    filled.close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    assert whole(filled) == 0
    filled.put_many(VALUES)
    assert whole(filled) == len(VALUES)
    assert filled.stats().errors == 0


def test_two_versions_at_once(
    filled: SQLiteCache, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a process of another version makes the file anew each time, everything is a miss."""
    monkeypatch.setattr("ctxpack.cache.database.VERSION", 2)
    monkeypatch.setattr("ctxpack.cache.database.Database._remove", lambda *_, **__: None)
    other = SQLiteCache(path)
    assert whole(other) == 0
    assert other.stats().errors == 2


def test_a_damaged_count_of_entries(filled: SQLiteCache, path: Path) -> None:
    """A file whose constraints cannot be kept is damaged: it is made anew."""
    filled.close()
    with sqlite3.connect(path) as database:
        database.execute("DROP TABLE totals")
        database.execute("CREATE TABLE totals (namespace PRIMARY KEY, entries CHECK (0), bytes)")
    database.close()
    filled.put_many(VALUES)
    assert whole(filled) == len(VALUES)


def test_a_damaged_schema(filled: SQLiteCache, path: Path) -> None:
    """A schema that is no text, not even as the error's message, is damage like any other."""
    filled.close()
    content = path.read_bytes()
    path.write_bytes(content.replace(b"CREATE INDEX by_use", b"CREATE IN\xffEX by_use"))
    assert whole(filled) == 0
    filled.put_many(VALUES)
    assert whole(filled) == len(VALUES)


def test_entries_without_a_size_are_evicted(path: Path) -> None:
    """A damaged file may have none where the schema has one."""
    cache = SQLiteCache(path, max_bytes=100_000)
    entries = list(VALUES.items())
    cache.put_many(dict(entries[:4]))
    cache.close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA writable_schema = ON")
        database.execute(
            "UPDATE sqlite_master SET sql = replace(sql, 'size INTEGER NOT NULL', 'size')"
        )
    database.close()
    with sqlite3.connect(path) as database:
        database.execute("DROP TRIGGER removed")
        database.execute("UPDATE entries SET size = NULL")
    database.close()
    cache.put_many(dict(entries[4:8]))
    assert cache.get_many([entries[7][0]]) == [entries[7][1]]
    cache.close()


def test_the_database_of_another_program(cache: SQLiteCache, path: Path) -> None:
    """It is not written, not renamed and not removed; the cache is not available, and says why."""
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE invoices (total INTEGER)")
    database.close()
    before = path.read_bytes(), path.stat().st_mode
    for _ in range(3):
        cache.put_many(VALUES)
        assert whole(cache) == 0
    assert not cache.stats().available
    with pytest.raises(CacheError, match="is the database of another program"):
        cache.clear()
    assert (path.read_bytes(), path.stat().st_mode) == before


def test_another_process_that_writes_for_long(filled: SQLiteCache, path: Path) -> None:
    """A put waits for `timeout_ms`, then is not done; reads go on meanwhile."""
    cache = SQLiteCache(path, timeout_ms=1)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    cache.put_many({key(1): b"new"})
    assert (whole(cache), cache.stats().errors) == (len(VALUES), 1)
    other.execute("COMMIT")
    cache.put_many({key(1): b"new"})
    assert cache.get_many([key(1)]) == [b"new"]
    cache.close()
    other.close()


def test_a_read_only_folder() -> None:
    """Where nothing can be written, everything is a miss."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)

    def work() -> None:
        if os.getuid() == 0:
            os.setuid(65534)  # root may write everywhere
        cache = SQLiteCache(folder / "cache.db")
        cache.put_many(VALUES)
        assert whole(cache) == 0
        assert cache.stats().errors >= 2
        with pytest.raises(CacheError, match="Permission denied"):
            list(cache.items())

    assert in_a_child(work) == 0
    assert list(folder.iterdir()) == []
    folder.rmdir()


def test_a_full_disk(filled: SQLiteCache, path: Path) -> None:
    """What no longer fits is not kept, what is there is read, and it goes on when there is room.

    The kernel refuses to let a file of the child grow, as it does on a full disk or over a quota.
    """
    filled.close()

    def work() -> None:
        cache = SQLiteCache(path)
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, hard))
        cache.put_many({key(number): os.urandom(50_000) for number in range(100, 140)})
        assert cache.stats().errors == 1
        assert whole(cache) == len(VALUES)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        cache.put_many({key(100): b"new"})
        assert cache.get_many([key(100)]) == [b"new"]
        cache.close()

    assert in_a_child(work) == 0
    assert whole(filled) == len(VALUES)


def test_a_store_that_fails_is_tried_again(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Three faults, and it is left alone; after the wait, one call finds out that it is mended."""
    now = [0.0]
    breaker = partial(CircuitBreaker, clock=lambda: now[0])
    monkeypatch.setattr("ctxpack.cache.database.CircuitBreaker", breaker)
    path.mkdir()
    cache = SQLiteCache(path)
    with caplog.at_level(logging.WARNING):
        for _ in range(9):
            cache.get_many([key(1)])
    assert (cache._reading.errors, cache.stats().available) == (3, False)
    assert len(caplog.records) == 1
    path.rmdir()
    now[0] += 60
    assert cache.get_many([key(1)]) == [None]
    assert cache.stats().available
    cache.close()


def test_an_error_of_the_disk(
    filled: SQLiteCache, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the file system is a miss too."""

    def fail(*_: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("ctxpack.cache.database.os.stat", fail)
    assert whole(filled) == 0
    monkeypatch.undo()
    assert whole(filled) == len(VALUES)
