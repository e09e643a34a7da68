"""What every segment cache must keep to."""

from __future__ import annotations

import multiprocessing
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b

import pytest

from ctxpack.cache import SegmentCache
from ctxpack.errors import CacheError

BOUND = 1_000_000
"""Most bytes that `bounded_cache` may hold."""


def key(number: int) -> bytes:
    """Return a key of 32 bytes, the same for the same number."""
    return blake2b(number.to_bytes(8, "little"), digest_size=32).digest()


def value(number: int, n_bytes: int = 1000) -> bytes:
    """Return a value that no other number has."""
    return (number.to_bytes(8, "little") * (n_bytes // 8 + 1))[:n_bytes]


class CacheContract:
    """Tests that every segment cache passes; override `cache`, and the others where they apply."""

    @pytest.fixture
    def cache(self) -> SegmentCache:
        """Return the cache under test, empty, with room for 10 MB."""
        raise NotImplementedError("override the `cache` fixture")

    @pytest.fixture
    def bounded_cache(self) -> SegmentCache:
        """Return one with room for `BOUND` bytes."""
        pytest.skip("the store has a bound of its own")

    @pytest.fixture
    def broken_cache(self) -> SegmentCache:
        """Return one whose store can be neither read nor written."""
        pytest.skip("the store cannot fail")

    def test_keeps_what_was_put(self, cache: SegmentCache) -> None:
        """A value comes back as it was, also one of no bytes."""
        values = [b"", b"\x00", bytes(range(256)), value(3, 17_000)]
        cache.put_many({key(number): value for number, value in enumerate(values)})
        assert cache.get_many([key(number) for number in range(4)]) == values

    def test_answers_in_the_order_of_the_keys(self, cache: SegmentCache) -> None:
        """Every key has its answer in its place, also an unknown key or one that comes twice."""
        cache.put_many({key(1): b"one", key(2): b"two"})
        asked = [key(2), key(3), key(1), key(2)]
        assert cache.get_many(asked) == [b"two", None, b"one", b"two"]

    def test_many_keys_in_a_call(self, cache: SegmentCache) -> None:
        """A call may have any number of keys."""
        entries = {key(number): value(number, 100) for number in range(3000)}
        cache.put_many(entries)
        assert cache.get_many(list(entries)) == list(entries.values())

    def test_calls_without_keys(self, cache: SegmentCache) -> None:
        """A call with nothing to do does nothing."""
        cache.put_many({})
        cache.delete_many([])
        assert cache.get_many([]) == []
        assert list(cache.items()) == []

    def test_later_values_take_the_place(self, cache: SegmentCache) -> None:
        """A key has the value that was put last, longer or shorter."""
        for n_bytes in (100, 9000, 10):
            cache.put_many({key(1): value(n_bytes, n_bytes)})
            assert cache.get_many([key(1)]) == [value(n_bytes, n_bytes)]
        assert len(list(cache.items())) == 1

    def test_deletes(self, cache: SegmentCache) -> None:
        """What is deleted is gone, and nothing else; unknown keys and copies do no harm."""
        cache.put_many({key(number): value(number) for number in range(3)})
        cache.delete_many([key(1), key(1), key(9)])
        assert cache.get_many([key(0), key(1), key(2)]) == [value(0), None, value(2)]

    def test_items_are_all_entries(self, cache: SegmentCache) -> None:
        """`items` yields what is held, more than one batch of it too."""
        entries = {key(number): value(number) for number in range(450)}
        cache.put_many(entries)
        assert dict(cache.items()) == entries

    def test_items_while_entries_come_and_go(self, cache: SegmentCache) -> None:
        """Changes during `items` do not end it, and what was there all along is yielded."""
        cache.put_many({key(number): value(number) for number in range(450)})
        seen = set()
        for number, (found, _) in enumerate(cache.items()):
            seen.add(found)
            cache.put_many({key(1000 + number): b""})
            cache.delete_many([found])
        assert {key(number) for number in range(450)} <= seen

    def test_clear_removes_everything(self, cache: SegmentCache) -> None:
        """After `clear` there is nothing, and values can be put again."""
        cache.put_many({key(number): value(number) for number in range(450)})
        cache.clear()
        assert list(cache.items()) == []
        assert cache.stats().entries in (0, None)
        cache.put_many({key(1): b"one"})
        assert cache.get_many([key(1)]) == [b"one"]

    @pytest.mark.parametrize("n_bytes", [5_000_000, 500_000])
    def test_a_large_value_is_whole_or_not_kept(self, cache: SegmentCache, n_bytes: int) -> None:
        """A value of 5 MB is kept to the byte or not at all, and its neighbours are."""
        large = value(1, n_bytes)
        cache.put_many({key(0): b"before", key(1): large, key(2): b"after"})
        before, found, after = cache.get_many([key(0), key(1), key(2)])
        assert (before, after) == (b"before", b"after")
        assert found is None or found == large

    def test_stats_count_what_is_held(self, cache: SegmentCache) -> None:
        """Entries, and the bytes of keys and values, are counted, or None."""
        cache.put_many({key(number): value(number) for number in range(10)})
        cache.put_many({key(number): value(number, 10) for number in range(5)})
        cache.delete_many([key(9)])
        stats = cache.stats()
        assert stats.entries in (9, None)
        assert stats.bytes in (9 * 32 + 5 * 10 + 4 * 1000, None)
        assert (stats.evictions, stats.errors, stats.available) == (0, 0, True)

    def test_holds_its_bound(self, bounded_cache: SegmentCache) -> None:
        """Entries go when more come than fit: the bound holds, and the last ones are there."""
        for number in range(200):
            bounded_cache.put_many({key(number): value(number, 17_000)})
        stats = bounded_cache.stats()
        assert stats.entries is not None
        assert stats.bytes is not None
        assert BOUND / 2 <= stats.bytes <= BOUND
        assert stats.evictions == 200 - stats.entries
        last = range(200 - stats.entries, 200)
        assert bounded_cache.get_many([key(n) for n in last]) == [value(n, 17_000) for n in last]

    def test_a_value_over_the_bound_is_not_kept(self, bounded_cache: SegmentCache) -> None:
        """It takes the place of none but the older value of its own key."""
        bounded_cache.put_many({key(1): b"one", key(2): b"two"})
        bounded_cache.put_many({key(2): value(2, BOUND + 1)})
        assert bounded_cache.get_many([key(1), key(2)]) == [b"one", None]

    def test_serves_many_threads(self, cache: SegmentCache) -> None:
        """Eight threads that put, read and delete the same keys see whole values or none."""
        barrier = threading.Barrier(8)

        def work(thread: int) -> None:
            barrier.wait()
            for turn in range(10):
                numbers = [(thread + turn + step) % 12 for step in range(6)]
                cache.put_many({key(number): value(number) for number in numbers})
                values = cache.get_many([key(number) for number in numbers])
                for number, found in zip(numbers, values, strict=True):
                    assert found in (value(number), None)
                cache.delete_many([key(numbers[0])])

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
        assert cache.stats().errors == 0

    @pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # that is what is tested
    def test_serves_after_a_fork(self, cache: SegmentCache) -> None:
        """A child forked while other threads use the cache reads and writes, as does its parent."""
        cache.put_many({key(number): value(number) for number in range(20)})
        stop = threading.Event()

        def work() -> None:
            while not stop.is_set():
                cache.put_many({key(50): value(50)})
                cache.get_many([key(number) for number in range(20)])

        context = multiprocessing.get_context("fork")
        with ThreadPoolExecutor(2) as pool:
            busy = [pool.submit(work) for _ in range(2)]
            children = [context.Process(target=_use, args=(cache, n)) for n in range(3)]
            for child in children:
                child.start()
            for child in children:
                child.join(60)
            stop.set()
        assert [child.exitcode for child in children] == [0, 0, 0]
        assert [future.result() for future in busy] == [None, None]
        assert cache.get_many([key(1)]) == [value(1)]

    def test_pickles(self, cache: SegmentCache) -> None:
        """A copy that travelled to another process keeps what is put."""
        cache.put_many({key(1): value(1)})
        copied: SegmentCache = pickle.loads(pickle.dumps(cache))
        copied.put_many({key(2): value(2)})
        assert copied.get_many([key(2)]) == [value(2)]
        copied.close()

    def test_opens_again_after_close(self, cache: SegmentCache) -> None:
        """A closed cache keeps what is put, and is closed twice without harm."""
        cache.put_many({key(1): value(1)})
        cache.close()
        cache.close()
        cache.put_many({key(2): value(2)})
        assert cache.get_many([key(2)]) == [value(2)]

    def test_a_fault_is_a_miss(self, broken_cache: SegmentCache) -> None:
        """With a broken store reads are misses and writes do nothing; the faults are counted."""
        for _ in range(5):
            broken_cache.put_many({key(1): value(1)})
            broken_cache.delete_many([key(1)])
            assert broken_cache.get_many([key(1), key(2)]) == [None, None]
        broken_cache.close()
        assert broken_cache.stats().errors > 0

    def test_a_store_that_keeps_failing_is_left_alone(self, broken_cache: SegmentCache) -> None:
        """After some faults in a row the store is not asked for a while."""
        for _ in range(20):
            broken_cache.get_many([key(1)])
        assert broken_cache.stats().errors < 20
        assert not broken_cache.stats().available

    def test_maintenance_says_what_is_wrong(self, broken_cache: SegmentCache) -> None:
        """`items` and `clear` raise when the store is broken: nobody should believe it empty."""
        with pytest.raises(CacheError):
            list(broken_cache.items())
        with pytest.raises(CacheError):
            broken_cache.clear()


def _use(cache: SegmentCache, child: int) -> None:
    """Read what the parent put, and write, in a child."""
    numbers = list(range(20))
    for turn in range(10):
        assert cache.get_many(list(map(key, numbers))) == list(map(value, numbers))
        own = 100 + 10 * child + turn
        cache.put_many({key(own): value(own)})
        assert cache.get_many([key(own)]) == [value(own)]
    cache.close()
