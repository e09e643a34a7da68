"""The laws of ctxpack as test classes that anybody can run.

Subclass a contract, override its one fixture, and inherit every test::

    class TestMyStage(StageContract):
        @pytest.fixture
        def stage(self):
            return MyStage()

An inherited test is overridden only by an ``xfail`` with a reason. Needs pytest.
"""

from ctxpack.testing.cached import CachedScorerContract, SegmentScorerContract
from ctxpack.testing.caches import CacheContract
from ctxpack.testing.cases import CASES, Case
from ctxpack.testing.checks import check_laws
from ctxpack.testing.counters import CounterContract
from ctxpack.testing.frameworks import (
    Budget,
    CompressorContract,
    LangChainCompressorContract,
    LlamaIndexPostprocessorContract,
)
from ctxpack.testing.pipelines import PipelineContract
from ctxpack.testing.scorers import ScorerContract
from ctxpack.testing.stages import StageContract

__all__ = [
    "CASES",
    "Budget",
    "CacheContract",
    "CachedScorerContract",
    "Case",
    "CompressorContract",
    "CounterContract",
    "LangChainCompressorContract",
    "LlamaIndexPostprocessorContract",
    "PipelineContract",
    "ScorerContract",
    "SegmentScorerContract",
    "StageContract",
    "check_laws",
]
