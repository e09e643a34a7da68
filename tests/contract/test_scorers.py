"""Every registered scorer keeps the laws, with a cache around it too where it may have one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ctxpack import Scorer, registry
from ctxpack.cache import MemoryCache, SegmentCache, open_cache
from ctxpack.scoring.base import has_segments
from ctxpack.scoring.cached import CachedScorer
from ctxpack.testing import CachedScorerContract, ScorerContract, SegmentScorerContract

ALL = {name: scorer() for name, scorer in registry.all_scorers().items()}
POINTWISE = [pytest.param(ALL[name], id=name) for name in ALL if ALL[name].pointwise]
CACHED = {
    f"cached {name}": CachedScorer(ALL[name], MemoryCache()) for name in ALL if ALL[name].pointwise
}
SCORERS = [pytest.param(scorer, id=name) for name, scorer in (ALL | CACHED).items()]
WITH_SEGMENTS = [pytest.param(ALL[name], id=name) for name in ALL if has_segments(ALL[name])]


class TestScorers(ScorerContract):
    @pytest.fixture(params=SCORERS)
    def scorer(self, request: pytest.FixtureRequest) -> Scorer:
        scorer: Scorer = request.param
        return scorer


class TestSegmentScorers(SegmentScorerContract):
    @pytest.fixture(params=WITH_SEGMENTS)
    def scorer(self, request: pytest.FixtureRequest) -> Scorer:
        scorer: Scorer = request.param
        return scorer


class TestCachedScorers(CachedScorerContract):
    @pytest.fixture(params=POINTWISE)
    def scorer(self, request: pytest.FixtureRequest) -> Scorer:
        scorer: Scorer = request.param
        return scorer

    @pytest.fixture(params=["memory", "sqlite", "redis"])
    def cache(
        self, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[SegmentCache]:
        url = f"{request.param}:"
        if request.param == "sqlite":
            url = f"sqlite:///{tmp_path_factory.mktemp('cache')}/segments.db"
        elif request.param == "redis":
            url = f"{request.getfixturevalue('redis_server').url}?timeout_ms=5000"
        cache = open_cache(url)
        yield cache
        cache.close()
