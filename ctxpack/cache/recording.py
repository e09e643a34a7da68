"""What a cache did in one call, counted where it happens, without any stage knowing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from typing import TypedDict

from ctxpack.cache.base import Tier


class TierReport(TypedDict):
    """What a tier did in one call; sizes are those of sealed values.

    Attributes:
        hits: segments whose value was there.
        misses: segments whose value was not there, or could not be used.
        damaged: of the misses, those whose value was damaged, not sealed by us, or of no use.
        bytes_read: of the hits.
        bytes_written: of new values.
        saved_ms: milliseconds that computing the hits once took.
    """

    hits: int
    misses: int
    damaged: int
    bytes_read: int
    bytes_written: int
    saved_ms: float


class CacheReport(TypedDict):
    """What a cache did in one call.

    Attributes:
        store: ``memory``, ``sqlite`` or ``redis``.
        available: False when the store did not answer, or was not asked because of that.
        errors: operations of the store that failed; they were answered as misses, or not done.
        evictions: entries removed to make room, where the store tells.
        tiers: by name, those that were asked.
    """

    store: str
    available: bool
    errors: int
    evictions: int
    tiers: dict[Tier, TierReport]


@dataclass(slots=True)
class TierUse:
    """Counts of a tier; see `TierReport`."""

    hits: int = 0
    misses: int = 0
    damaged: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    saved_ms: float = 0.0


@dataclass(slots=True)
class CacheUse:
    """Counts of a call, which stores and scorers add to; see `CacheReport`."""

    store: str
    available: bool = True
    errors: int = 0
    evictions: int = 0
    tiers: dict[Tier, TierUse] = field(default_factory=dict)

    def tier(self, name: Tier) -> TierUse:
        """Return the counts of a tier."""
        return self.tiers.setdefault(name, TierUse())

    def notes(self) -> list[str]:
        """Return what a reader of the report should know: ``cache: redis unavailable``."""
        if not self.available:
            return [f"cache: {self.store} unavailable"]
        return [f"cache: {self.store} failed {self.errors} times"] if self.errors else []

    def report(self) -> CacheReport:
        """Return the counts as plain data."""
        tiers: dict[Tier, TierReport] = {
            name: TierReport(**{**asdict(use), "saved_ms": round(use.saved_ms, 3)})  # type: ignore[typeddict-item]
            for name, use in self.tiers.items()
        }
        return CacheReport(
            store=self.store,
            available=self.available,
            errors=self.errors,
            evictions=self.evictions,
            tiers=tiers,
        )


_use: ContextVar[CacheUse | None] = ContextVar("ctxpack_cache_use", default=None)


def in_use() -> CacheUse:
    """Return the counts of the call that runs; where none is recorded, counts that nobody reads."""
    use = _use.get()
    return CacheUse("none") if use is None else use


@contextmanager
def recorded(store: str) -> Iterator[CacheUse]:
    """Record what the cache with that kind of store does inside of the block, in this context."""
    use = CacheUse(store)
    token = _use.set(use)
    try:
        yield use
    finally:
        _use.reset(token)
