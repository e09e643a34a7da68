"""A cache in a SQLite file: what is kept, for how long, and who may see it."""

from __future__ import annotations

import os
import pickle
import sqlite3
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ctxpack.cache import SQLiteCache
from ctxpack.cache.sqlite import TOUCH_S

Open = Callable[..., SQLiteCache]


def key(number: int) -> bytes:
    """Return a key of 32 bytes."""
    return number.to_bytes(32, "big")


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock that the cache reads."""
    clock = Clock()
    monkeypatch.setattr("ctxpack.cache.sqlite.time", clock)
    return clock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the file will be."""
    return tmp_path / "cache.db"


@pytest.fixture
def open_file(path: Path) -> Iterator[Open]:
    """Return a function that opens the file, with options."""
    opened: list[SQLiteCache] = []

    def open_it(**options: Any) -> SQLiteCache:
        opened.append(SQLiteCache(path, **options))
        return opened[-1]

    yield open_it
    for cache in opened:
        cache.close()


def held(cache: SQLiteCache, numbers: range) -> list[int]:
    """Return the numbers whose keys have a value."""
    found = cache.get_many([key(number) for number in numbers])
    return [number for number, value in zip(numbers, found, strict=True) if value is not None]


def test_values_outlive_the_cache_object(open_file: Open) -> None:
    """What one object put, another reads, while the first is open and after."""
    first = open_file()
    first.put_many({key(1): b"one"})
    assert open_file().get_many([key(1)]) == [b"one"]
    first.close()
    assert open_file().get_many([key(1)]) == [b"one"]


def test_namespaces_do_not_see_each_other(open_file: Open) -> None:
    """The same key in two namespaces has two values; each clears and counts its own."""
    one, two = open_file(namespace="one"), open_file(namespace="two \udc00")
    one.put_many({key(1): b"1"})
    two.put_many({key(1): b"22", key(2): b"2"})
    assert [dict(one.items()), dict(two.items())] == [{key(1): b"1"}, {key(1): b"22", key(2): b"2"}]
    two.clear()
    assert (one.stats().entries, one.stats().bytes, two.stats().entries) == (1, 33, 0)


def test_the_file_stays_within_the_bound(open_file: Open, path: Path) -> None:
    """File and log together stay near `max_bytes` however much is put."""
    cache = open_file(max_bytes=2_000_000)
    sizes = []
    for number in range(0, 1000, 20):
        cache.put_many({key(number + step): os.urandom(17_000) for step in range(20)})
        sizes.append(path.stat().st_size)
    assert cache.stats().evictions > 800
    assert max(sizes) <= 2_000_000 + 20 * 17_000 * 1.1


def test_small_values_fill_the_bound(open_file: Open) -> None:
    """Values of 150 bytes, renewed and evicted in any order, use half of the file and more."""
    cache = open_file(max_bytes=500_000)
    for number in range(0, 6000, 100):
        cache.put_many({key((number + step) * 7919 % 10_007): bytes(150) for step in range(100)})
    stats = cache.stats()
    assert stats.evictions > 0
    assert 250_000 < (stats.bytes or 0) <= 500_000


def test_what_was_not_used_for_longest_goes_first(open_file: Open, clock: Clock) -> None:
    """A read saves an entry from the next eviction."""
    cache = open_file(max_bytes=200_000)
    cache.put_many({key(number): bytes(20_000) for number in range(8)})
    clock.now += TOUCH_S + 1
    cache.get_many([key(0), key(1)])
    cache.put_many({key(number): bytes(20_000) for number in range(10, 16)})
    assert held(cache, range(2)) == [0, 1]
    assert held(cache, range(2, 16)) == list(range(16 - len(held(cache, range(2, 16))), 16))


def test_uses_are_noted_on_close(open_file: Open, clock: Clock) -> None:
    """A process that only reads leaves word of what it used when it closes."""
    open_file().put_many({key(number): bytes(20_000) for number in range(8)})
    clock.now += TOUCH_S + 1
    reader = open_file()
    reader.get_many([key(0)])
    reader.close()
    writer = open_file(max_bytes=200_000)
    writer.put_many({key(number): bytes(20_000) for number in range(10, 16)})
    assert held(writer, range(2)) == [0]


def test_reads_write_nothing(open_file: Open, clock: Clock, path: Path) -> None:
    """Reading changes no byte of the file, however old the stamps of use are."""
    cache = open_file()
    cache.put_many({key(number): bytes(100) for number in range(20)})
    other = sqlite3.connect(path)
    before = other.execute("PRAGMA data_version").fetchone()
    clock.now += 10 * TOUCH_S
    for _ in range(3):
        cache.get_many([key(number) for number in range(20)])
    assert other.execute("PRAGMA data_version").fetchone() == before
    other.close()


def test_values_expire(open_file: Open, clock: Clock) -> None:
    """After `ttl_s` a value is a miss, used or not, and no longer an item."""
    cache = open_file(ttl_s=100)
    cache.put_many({key(1): b"one"})
    clock.now += 99
    assert cache.get_many([key(1)]) == [b"one"]
    clock.now += 1
    assert cache.get_many([key(1)]) == [None]
    assert list(cache.items()) == []


def test_expired_values_leave_the_file(open_file: Open, clock: Clock) -> None:
    """A write removes what expired before it."""
    cache = open_file(ttl_s=100)
    cache.put_many({key(number): b"old" for number in range(20)})
    clock.now += 101
    cache.put_many({key(50): b"new"})
    assert cache.stats().entries == 1


def test_a_value_put_again_lives_again(open_file: Open, clock: Clock) -> None:
    """The time of a value counts from when it was put last."""
    cache = open_file(ttl_s=100)
    cache.put_many({key(1): b"one"})
    clock.now += 60
    cache.put_many({key(1): b"one"})
    clock.now += 60
    assert cache.get_many([key(1)]) == [b"one"]


def test_nobody_else_may_read_the_files(open_file: Open, path: Path) -> None:
    """File, log and index have mode 0600, and a folder that had to be made 0700."""
    old = os.umask(0)
    cache = SQLiteCache(path.parent / "made" / "cache.db")
    cache.put_many({key(1): b"one"})
    cache.get_many([key(1)])
    os.umask(old)
    files = list((path.parent / "made").iterdir())
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in files}
    cache.close()
    assert modes == dict.fromkeys(["cache.db", "cache.db-wal", "cache.db-shm"], 0o600)
    assert stat.S_IMODE((path.parent / "made").stat().st_mode) == 0o700


def test_a_file_that_others_may_read_is_closed_to_them(open_file: Open, path: Path) -> None:
    """An existing file loses its wider mode."""
    open_file().put_many({key(1): b"one"})
    path.chmod(0o644)
    assert open_file().get_many([key(1)]) == [b"one"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_clear_gives_the_disk_back(open_file: Open, path: Path) -> None:
    """After `clear` an otherwise empty file is small again."""
    cache = open_file()
    cache.put_many({key(number): bytes(17_000) for number in range(100)})
    cache.close()
    assert path.stat().st_size > 1_700_000
    cache.clear()
    cache.close()
    assert path.stat().st_size < 50_000


def test_a_cache_that_is_dropped_lets_go_of_its_files(path: Path) -> None:
    """Without `close` nothing stays open either, which a fork would carry into a child."""
    SQLiteCache(path).put_many({key(1): b"one"})
    assert [file.name for file in path.parent.iterdir()] == ["cache.db"]


def test_pickled_copies_have_every_option(open_file: Open) -> None:
    """A copy has the path, bounds and namespace of its original."""
    cache = open_file(max_bytes=123_456, ttl_s=9.5, namespace="n", timeout_ms=7)
    assert pickle.loads(pickle.dumps(cache)).__reduce__()[0].keywords == {
        "max_bytes": 123_456,
        "ttl_s": 9.5,
        "namespace": "n",
        "timeout_ms": 7,
    }


def test_a_relative_path_is_of_the_folder_of_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change of the working folder does not change the file."""
    monkeypatch.chdir(tmp_path)
    cache = SQLiteCache("cache.db")
    monkeypatch.chdir("/")
    cache.put_many({key(1): b"one"})
    cache.close()
    assert (tmp_path / "cache.db").exists()


def test_a_child_keeps_the_log_from_being_deleted(open_file: Open, path: Path) -> None:
    """What a child writes after its parent closed is seen by others: its locks are real."""
    cache = open_file()
    cache.put_many({key(1): b"one"})
    ready, done = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        cache.put_many({key(2): b"two"})
        os.write(ready[1], b".")
        os.read(done[0], 1)
        cache.put_many({key(3): b"three"})
        os.write(ready[1], b".")
        os.read(done[0], 1)
        os._exit(cache.stats().errors)
    cache.get_many([key(1)])
    os.read(ready[0], 1)
    cache.close()
    os.write(done[1], b".")
    os.read(ready[0], 1)
    seen = held(open_file(), range(5))
    os.write(done[1], b".")
    assert os.waitpid(child, 0)[1] == 0
    assert seen == [1, 2, 3]
