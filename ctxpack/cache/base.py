"""What a segment cache is: bytes by key, where every fault is a miss and never an error.

scoring.cached ──► seal / unseal ──► SegmentCache (memory, sqlite, redis)
 knows scorers      checksum, MAC     knows keys and bytes only
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Tier = Literal["encoding", "scores"]
"""``encoding``: of a segment alone, good for every query. ``scores``: of a query and a segment."""


@dataclass(frozen=True, slots=True)
class StoreStats:
    """What a store holds and what has happened to it in this process.

    Args:
        entries: entries held now; None where counting them is not possible, as with a dead server.
        bytes: of keys and values held now; None as above.
        evictions: entries removed to stay inside the bound.
        errors: operations that failed and were answered as misses, or not done.
        available: False while the store is not asked, because it has failed too often.
    """

    entries: int | None
    bytes: int | None
    evictions: int
    errors: int
    available: bool


class SegmentCache(Protocol):
    """Stores sealed values under 32-byte keys; safe for many threads, and after a fork.

    No method but `items` raises for a fault of the store: what cannot be read is a miss, what
    cannot be written is not kept, and `stats` counts the fault.
    """

    @property
    def name(self) -> str:
        """The kind of store for reports: ``memory``, ``sqlite`` or ``redis``."""
        ...

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of every key, in order; None where there is none."""
        ...

    def put_many(self, entries: Mapping[bytes, bytes]) -> None:
        """Store values, in place of older ones under the same keys."""
        ...

    def delete_many(self, keys: Sequence[bytes]) -> None:
        """Remove the values of these keys, if there are any."""
        ...

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield every (key, value) of this cache's namespace, for export and verification.

        Raises:
            CacheError: the store cannot be read.
        """
        ...

    def clear(self) -> None:
        """Remove every entry of this cache's namespace.

        Raises:
            CacheError: the store cannot be written.
        """
        ...

    def stats(self) -> StoreStats:
        """Return what is held and what has happened."""
        ...

    def close(self) -> None:
        """Release connections and files; a later call opens them again."""
        ...
