"""The eight laws, as tests of a whole pipeline."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
import socket
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType

import pytest

from ctxpack.packed import PackedContext
from ctxpack.pipeline import Pipeline
from ctxpack.scoring.base import ConfiguredScorer, PassageScores
from ctxpack.testing.cases import CASES, Case
from ctxpack.testing.checks import check_laws

BUDGETS = (None, 0, 1, 7, 30, 90, 400)


class PipelineContract:
    """Tests that every pipeline passes; override `pipeline`."""

    @pytest.fixture
    def pipeline(self) -> Pipeline:
        """Return the pipeline under test."""
        raise NotImplementedError("override the `pipeline` fixture")

    @pytest.fixture(params=[pytest.param(case, id=name) for name, case in CASES.items()])
    def case(self, request: pytest.FixtureRequest) -> Case:
        """Return the query and passages; most tests run on each case."""
        case: Case = request.param
        return case

    @pytest.mark.parametrize("budget", BUDGETS)
    def test_keeps_the_laws(self, pipeline: Pipeline, case: Case, budget: int | None) -> None:
        """Verbatim, budget, nothing lost, identity: at any budget, for any input."""
        packed = pipeline.compress(case.query, case.passages, budget=budget)
        check_laws(packed, case.passages, counter=pipeline.token_counter, budget=budget)

    def test_leaves_its_input_alone(self, pipeline: Pipeline, case: Case) -> None:
        """Passages and their metadata are as they were."""
        passages = list(case.passages)
        snapshot = copy.deepcopy(passages)
        pipeline.compress(case.query, passages, budget=50)
        assert repr(passages) == repr(snapshot)

    def test_is_deterministic(self, pipeline: Pipeline, case: Case) -> None:
        """The same call gives an equal result twice."""
        first, second = (pipeline.compress(*case, budget=50) for _ in range(2))
        assert _key(first) == _key(second)

    def test_batch_equals_alone(self, pipeline: Pipeline) -> None:
        """A batch gives what its calls give alone, in order."""
        calls = list(CASES.values())
        alone = [_key(pipeline.compress(*call, budget=50)) for call in calls]
        assert [_key(packed) for packed in pipeline.compress_batch(calls, budget=50)] == alone

    def test_async_equals_sync(self, pipeline: Pipeline) -> None:
        """Concurrent asynchronous calls give what synchronous ones give."""
        calls = list(CASES.values())

        async def run() -> list[PackedContext]:
            return await asyncio.gather(*(pipeline.acompress(*call, budget=50) for call in calls))

        alone = [_key(pipeline.compress(*call, budget=50)) for call in calls]
        assert [_key(packed) for packed in asyncio.run(run())] == alone

    def test_serves_many_threads(self, pipeline: Pipeline) -> None:
        """Eight threads at once get what one gets alone."""
        calls = list(CASES.values())
        alone = [_key(pipeline.compress(*call, budget=50)) for call in calls]
        with ThreadPoolExecutor(8) as pool:
            packed = pool.map(lambda call: _key(pipeline.compress(*call, budget=50)), calls)
            assert list(packed) == alone

    def test_pickles(self, pipeline: Pipeline) -> None:
        """A pipeline travels between processes and gives the same there."""
        copied: Pipeline = pickle.loads(pickle.dumps(pipeline))
        case = CASES["prose"]
        assert _key(copied.compress(*case)) == _key(pipeline.compress(*case))

    def test_works_after_a_fork(self, pipeline: Pipeline) -> None:
        """A child of a process that has used the worker pool gets the same result."""
        case = CASES["prose"]
        here = asyncio.run(pipeline.acompress(*case))
        read, write = os.pipe()
        if os.fork() == 0:
            there = asyncio.run(pipeline.acompress(*case))
            os.write(write, there.text.encode())
            os._exit(0)
        os.wait()
        assert os.read(read, 1 << 16).decode() == here.text

    def test_cancelling_leaves_nothing_behind(self, pipeline: Pipeline) -> None:
        """After cancelled calls the next one gets the same result."""
        case = CASES["prose"]

        async def run() -> PackedContext:
            tasks = [asyncio.create_task(pipeline.acompress(*case)) for _ in range(8)]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            return await pipeline.acompress(*case)

        assert _key(asyncio.run(run())) == _key(pipeline.compress(*case))

    def test_touches_no_network(self, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
        """A call opens no socket."""

        def refuse(*args: object) -> None:
            raise AssertionError("a socket was opened")

        monkeypatch.setattr(socket, "socket", refuse)
        assert pipeline.compress(*CASES["prose"]).text

    def test_passes_through_when_scoring_fails(self, pipeline: Pipeline, case: Case) -> None:
        """With ``on_error: passthrough`` a failing scorer leaves a lawful result that says so."""
        failing = Pipeline.from_recipe(
            pipeline.recipe, scorer=_Failing(), on_error="passthrough", budget=40
        )
        packed = failing.compress(case.query, case.passages)
        check_laws(packed, case.passages, counter=failing.token_counter, budget=40)
        scores = any(stage.name == "score" for stage in pipeline.recipe.steps)
        something_to_score = any(passage.text for passage in case.passages)
        assert ("error" in packed.report["reasons"]) == (scores and something_to_score)

    def test_deadline_cuts_within_the_budget(self, pipeline: Pipeline, case: Case) -> None:
        """A deadline that has passed leaves a lawful result that says so."""
        hurried = Pipeline.from_recipe(pipeline.recipe, deadline_ms=1e-6)
        packed = hurried.compress(case.query, case.passages, budget=40)
        check_laws(packed, case.passages, counter=hurried.token_counter, budget=40)
        assert "deadline" in packed.report["reasons"] or not pipeline.recipe.steps


class _Failing(ConfiguredScorer):
    name = "failing"
    pointwise = True
    operating_points = MappingProxyType({"faithful": 0.0, "balanced": 0.0, "aggressive": 0.0})

    def score(self, query: str, passages: object) -> list[PassageScores]:
        raise RuntimeError("this scorer always fails")


def _key(packed: PackedContext) -> tuple[object, ...]:
    return (packed.text, packed.evidence and repr(packed.evidence), packed.dropped, packed.pieces)
