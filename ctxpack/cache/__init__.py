"""Segment caches: what is known of a segment is kept, and every later query reuses it."""

from __future__ import annotations

import importlib
import typing

if typing.TYPE_CHECKING:
    from ctxpack.cache.base import SegmentCache, StoreStats
    from ctxpack.cache.memory import MemoryCache
    from ctxpack.cache.opening import open_cache
    from ctxpack.cache.redis import RedisCache
    from ctxpack.cache.sqlite import SQLiteCache

__all__ = [
    "MemoryCache",
    "RedisCache",
    "SQLiteCache",
    "SegmentCache",
    "StoreStats",
    "open_cache",
]

_MODULES = {
    "MemoryCache": "ctxpack.cache.memory",
    "RedisCache": "ctxpack.cache.redis",
    "SQLiteCache": "ctxpack.cache.sqlite",
    "SegmentCache": "ctxpack.cache.base",
    "StoreStats": "ctxpack.cache.base",
    "open_cache": "ctxpack.cache.opening",
}


def __getattr__(name: str) -> typing.Any:
    """Import a public name on first use: not everybody has redis, or a Python with sqlite3."""
    if name not in _MODULES:
        raise AttributeError(f"module 'ctxpack.cache' has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value
