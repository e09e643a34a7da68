"""A segment cache in the memory of one process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence

from ctxpack.cache.base import StoreStats
from ctxpack.cache.forks import ForkGuard
from ctxpack.cache.recording import in_use
from ctxpack.errors import CacheError, shown

ENTRY_BYTES = 300
"""What an entry takes beside the bytes of its key and value: two objects and a slot of the table.

Measured on CPython 3.11, 64 bits, as resident memory of a full cache that evicts: 252 to 293 for
values of 1 and of 150 bytes.
"""


class MemoryCache:
    """Keeps what was used last; a forked child begins with its parent's entries.

    A copy that was pickled begins empty.

    Args:
        max_bytes: of keys, values and `ENTRY_BYTES` for each entry; >= 1. A value that does not
            fit alone is not kept.

    Raises:
        CacheError: `max_bytes` is below 1.
    """

    name = "memory"

    def __init__(self, max_bytes: int = 256_000_000) -> None:
        if max_bytes < 1:
            raise CacheError(f"cache: `max_bytes` must be >= 1, got {shown(max_bytes)}")
        self._max_bytes = max_bytes
        self._values: OrderedDict[bytes, bytes] = OrderedDict()
        self._bytes = 0
        self._evictions = 0
        self._guard = ForkGuard()

    def __repr__(self) -> str:
        return f"MemoryCache({self._max_bytes})"

    def __reduce__(self) -> tuple[type[MemoryCache], tuple[int]]:
        return (MemoryCache, (self._max_bytes,))

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of every key, in order; None where there is none."""
        with self._guard:
            for key in keys:
                if key in self._values:
                    self._values.move_to_end(key)
            return [self._values.get(key) for key in keys]

    def put_many(self, entries: Mapping[bytes, bytes]) -> None:
        """Store values, in place of older ones under the same keys."""
        with self._guard:
            for key, value in entries.items():
                self._remove(key)
                needed = _weight(key, value)
                if needed > self._max_bytes:
                    continue
                while self._bytes + needed > self._max_bytes:
                    self._remove(next(iter(self._values)))
                    self._evictions += 1
                    in_use().evictions += 1
                self._values[key] = value
                self._bytes += needed

    def delete_many(self, keys: Sequence[bytes]) -> None:
        """Remove the values of these keys, if there are any."""
        with self._guard:
            for key in keys:
                self._remove(key)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield every (key, value) that was there at the first step."""
        with self._guard:
            entries = list(self._values.items())
        yield from entries

    def clear(self) -> None:
        """Remove every entry."""
        with self._guard:
            self._values.clear()
            self._bytes = 0

    def stats(self) -> StoreStats:
        """Return what is held and what has happened."""
        with self._guard:
            n_bytes = self._bytes - ENTRY_BYTES * len(self._values)
            return StoreStats(len(self._values), n_bytes, self._evictions, 0, True)

    def close(self) -> None:
        """Release the memory."""
        self.clear()

    def _remove(self, key: bytes) -> None:
        value = self._values.pop(key, None)
        if value is not None:
            self._bytes -= _weight(key, value)


def _weight(key: bytes, value: bytes) -> int:
    return len(key) + len(value) + ENTRY_BYTES
