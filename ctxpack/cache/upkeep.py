"""Reading a cache through: to check it, or to carry its values from one place to another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Literal

from ctxpack.cache.base import SegmentCache, Tier
from ctxpack.cache.keys import KEY_BYTES
from ctxpack.cache.options import TIERS
from ctxpack.cache.recording import recorded
from ctxpack.cache.sealing import unseal
from ctxpack.errors import CacheError

Kind = Tier | Literal["damaged"]
"""Of a value: its tier; ``damaged`` for one that no scorer would take, damaged or not ours."""

_BATCH = 128


def verify(cache: SegmentCache, *, secret: bytes | None, repair: bool) -> Iterator[Counter[Kind]]:
    """Yield how many values of each kind there are, batch by batch.

    Args:
        cache: read as a whole, of its namespace.
        secret: that values were sealed with; those of another secret are ``damaged``.
        repair: whether these are removed.

    Raises:
        CacheError: the store cannot be read, or a damaged value cannot be removed.
    """
    for entries in _batches(cache.items()):
        kinds = {key: kind_of(key, value, secret) for key, value in entries.items()}
        damaged = [key for key, kind in kinds.items() if kind == "damaged"]
        if repair and damaged:
            with recorded(cache.name) as use:
                cache.delete_many(damaged)
            if use.errors or not use.available:
                raise CacheError(f"cache: {cache!r} cannot be written")
        yield Counter(kinds.values())


def load(
    entries: Iterable[tuple[bytes, bytes]], cache: SegmentCache, *, secret: bytes | None
) -> Iterator[Counter[Kind]]:
    """Store entries but for damaged ones; yield how many there were of each kind, as `verify`.

    Raises:
        CacheError: the store cannot be written.
    """
    for batch in _batches(entries):
        kinds = {key: kind_of(key, value, secret) for key, value in batch.items()}
        with recorded(cache.name) as use:
            cache.put_many({key: batch[key] for key, kind in kinds.items() if kind != "damaged"})
        if use.errors or not use.available:
            raise CacheError(f"cache: {cache!r} cannot be written")
        yield Counter(kinds.values())


def kind_of(key: bytes, value: bytes, secret: bytes | None) -> Kind:
    """Return what a value is, as somebody who has this secret sees it."""
    if len(key) == KEY_BYTES:
        for tier in TIERS:
            if unseal(key, value, tier=tier, secret=secret) is not None:
                return tier
    return "damaged"


def _batches(entries: Iterable[tuple[bytes, bytes]]) -> Iterator[dict[bytes, bytes]]:
    left = iter(entries)
    while batch := dict(islice(left, _BATCH)):
        yield batch
