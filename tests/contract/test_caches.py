"""Every store keeps the laws of a segment cache."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ctxpack.cache import MemoryCache, SegmentCache, SQLiteCache
from ctxpack.testing import CacheContract
from ctxpack.testing.caches import BOUND


class TestMemoryCache(CacheContract):
    @pytest.fixture
    def cache(self) -> SegmentCache:
        return MemoryCache()

    @pytest.fixture
    def bounded_cache(self) -> SegmentCache:
        return MemoryCache(BOUND)


class TestSQLiteCache(CacheContract):
    @pytest.fixture
    def cache(self, tmp_path: Path) -> Iterator[SegmentCache]:
        cache = SQLiteCache(tmp_path / "cache.db", timeout_ms=20_000)
        yield cache
        cache.close()

    @pytest.fixture
    def bounded_cache(self, tmp_path: Path) -> Iterator[SegmentCache]:
        cache = SQLiteCache(tmp_path / "cache.db", max_bytes=BOUND)
        yield cache
        cache.close()

    @pytest.fixture
    def broken_cache(self, tmp_path: Path) -> SegmentCache:
        return SQLiteCache(tmp_path)  # a folder


class TestRedisCache(CacheContract):
    @pytest.fixture
    def cache(self, open_redis: Any, redis_server: Any) -> SegmentCache:
        return open_redis(redis_server.url)

    @pytest.fixture
    def broken_cache(self, open_redis: Any) -> SegmentCache:
        return open_redis("redis://127.0.0.1:1")  # where nothing listens
