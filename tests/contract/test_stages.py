"""Every registered stage keeps the laws."""

from __future__ import annotations

import pytest

from ctxpack import registry
from ctxpack.stages.base import Stage
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
