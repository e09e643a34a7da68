"""A cache in memory: what goes first, and what it takes."""

from __future__ import annotations

import os
import tracemalloc

import pytest

from ctxpack.cache import MemoryCache
from ctxpack.cache.memory import ENTRY_BYTES
from ctxpack.errors import CacheError


def key(number: int) -> bytes:
    """Return a key of 32 bytes."""
    return number.to_bytes(32, "big")


def test_what_was_not_used_for_longest_goes_first() -> None:
    """A read saves an entry, and so does a write; of equals the older goes."""
    cache = MemoryCache(3 * (32 + 100 + ENTRY_BYTES))
    cache.put_many({key(number): bytes(100) for number in range(3)})
    cache.get_many([key(0)])
    cache.put_many({key(1): bytes(100)})
    cache.put_many({key(3): bytes(100)})
    assert [found is None for found in cache.get_many([key(n) for n in range(4)])] == [
        *(False, False, True, False)
    ]
    assert cache.stats().evictions == 1


@pytest.mark.parametrize("n_bytes", [0, 150, 17_000])
def test_the_bound_is_what_python_allocates(n_bytes: int) -> None:
    """Keys, values and `ENTRY_BYTES` cover what a full cache really takes."""
    cache = MemoryCache(2_000_000)
    tracemalloc.start()
    for _ in range(0, 3_000_000, n_bytes + ENTRY_BYTES):
        cache.put_many({os.urandom(32): bytes(bytearray(n_bytes))})
    allocated, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert cache.stats().evictions > 0
    assert allocated <= 2_000_000 * 1.01


def test_a_child_begins_with_the_entries_of_its_parent() -> None:
    """A server that forks workers after warming warms once; what a child puts is its own."""
    cache = MemoryCache()
    cache.put_many({key(1): b"one"})
    child = os.fork()
    if child == 0:
        found = cache.get_many([key(1)])
        cache.put_many({key(2): b"two"})
        os._exit(0 if found == [b"one"] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert cache.get_many([key(2)]) == [None]


def test_a_bound_below_one_is_refused() -> None:
    """The message names the option, the rule and the value."""
    with pytest.raises(CacheError, match=r"cache: `max_bytes` must be >= 1, got 0"):
        MemoryCache(0)
