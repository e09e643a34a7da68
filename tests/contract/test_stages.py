"""Every registered stage keeps the laws."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

import numpy as np
import pytest

from ctxpack import registry
from ctxpack.scoring.base import ConfiguredScorer, PassageScores, Scorer
from ctxpack.selection import SplitPassage
from ctxpack.stages.base import Stage
from ctxpack.stages.blend import Blend
from ctxpack.stages.hops import Hops
from ctxpack.stages.rescore import Rescore
from ctxpack.testing import StageContract

VARIANTS = {
    "rerank": [{"top_k": 1}, {"threshold": 0.5}],
    "prune": [{"threshold": 0.9, "window": 1}, {"threshold": 1.0, "min_evidence": 2}],
    "select": [{"unit": "passage"}, {"min_utility": 0.3}],
    "order": [{"by": "score"}, {"by": "edges"}],
}
"""Options beside the defaults, by stage; a new stage is tested with its defaults for free."""

STAGES = [
    pytest.param(stage(**options), id=f"{name}{options or ''}")
    for name, stage in registry.all_stages().items()
    for options in [{}, *VARIANTS.get(name, [])]
]


class TestStages(StageContract):
    @pytest.fixture(params=STAGES)
    def stage(self, request: pytest.FixtureRequest) -> Stage:
        stage: Stage = request.param
        return stage


class Lengths(ConfiguredScorer):
    """A pointwise scorer: the longer a span, and the query, the better."""

    name = "lengths"
    pointwise = True
    operating_points = MappingProxyType({"faithful": 0.1, "balanced": 0.3, "aggressive": 0.6})
    reads_evidence = True

    def score(self, query: str, passages: Sequence[SplitPassage]) -> list[PassageScores]:
        """Return the scores."""
        lengths = [np.array([end - start for start, end, *_ in spans]) for _, spans in passages]
        scores = [(n / (n + 1e4 / (1 + len(query)))).astype(np.float32) for n in lengths]
        return [PassageScores(float(one.max(initial=0)), one) for one in scores]


class TestStagesAfterAModel(StageContract):
    """Stages that leave the scores of the lexical scorer alone."""

    @pytest.fixture(params=[Hops(), Rescore(scorer=Lengths(), tokens=60), Blend()], ids=repr)
    def stage(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Stage:
        monkeypatch.setitem(registry.SCORERS, Lengths.name, Lengths)
        stage: Stage = request.param
        return stage

    @pytest.fixture
    def scorer(self) -> Scorer:
        return Lengths()
