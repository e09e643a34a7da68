"""Every registered scorer keeps the laws."""

from __future__ import annotations

import pytest

from ctxpack import Scorer, registry
from ctxpack.testing import ScorerContract

SCORERS = [pytest.param(scorer(), id=name) for name, scorer in registry.all_scorers().items()]


class TestScorers(ScorerContract):
    @pytest.fixture(params=SCORERS)
    def scorer(self, request: pytest.FixtureRequest) -> Scorer:
        scorer: Scorer = request.param
        return scorer
