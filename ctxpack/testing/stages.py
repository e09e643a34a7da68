"""What every stage must keep to."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ctxpack.recipes import parse
from ctxpack.registry import STAGES
from ctxpack.render import Render, Renderer
from ctxpack.scoring.base import Scorer
from ctxpack.scoring.lexical import Lexical
from ctxpack.selection import Selection
from ctxpack.stages.base import Call, Stage
from ctxpack.stages.score import Score
from ctxpack.testing.cases import CASES, Case, unscored
from ctxpack.tokens import counter_from


class StageContract:
    """Tests that every stage passes; override `stage`."""

    @pytest.fixture
    def stage(self) -> Stage:
        """Return the stage under test."""
        raise NotImplementedError("override the `stage` fixture")

    @pytest.fixture(params=[pytest.param(case, id=name) for name, case in CASES.items()])
    def case(self, request: pytest.FixtureRequest) -> Case:
        """Return the query and passages; every test runs on each case."""
        case: Case = request.param
        return case

    @pytest.fixture
    def scorer(self) -> Scorer:
        """Return what scores the calls; override it for a stage that asks for a pointwise one."""
        return Lexical()

    @pytest.fixture
    def call(self, case: Case, scorer: Scorer) -> Call:
        """Return what the pipeline would give to the stage."""
        return Call(
            counter=counter_from("approximate"),
            renderer=Renderer(Render(), case.passages),
            scorer=scorer,
            budget=60,
            pin_overflow="degrade",
        )

    @pytest.fixture
    def before(self, case: Case, call: Call) -> Selection:
        """Return the selection that the stage gets: scored, everything kept."""
        return Score()(unscored(case), call)

    def test_only_kept_flags_order_and_scores_change(
        self, stage: Stage, before: Selection, call: Call
    ) -> None:
        """A stage is extractive: query, passages and spans are the same objects after it."""
        after = stage(before, call)
        assert after.passages is before.passages
        assert after.spans is before.spans
        assert sorted(after.order) == list(range(len(before.passages)))

    def test_never_keeps_more(self, stage: Stage, before: Selection, call: Call) -> None:
        """A stage that does not declare `restores` keeps a subset of what was kept."""
        after = stage(before, call)
        assert stage.restores or not (after.kept & ~before.kept).any()

    def test_names_every_drop(self, stage: Stage, before: Selection, call: Call) -> None:
        """Everything that a stage drops carries its name and a reason."""
        for drop in stage(before, call).dropped():
            assert drop.stage == stage.name
            assert drop.reason

    def test_leaves_nothing_orphaned(self, stage: Stage, before: Selection, call: Call) -> None:
        """A kept span has what it requires, and a frame has one that requires it."""
        after = stage(before, call)
        needs = np.flatnonzero(after.kept & (after.parents >= 0))
        assert after.kept[after.parents[needs]].all()
        lonely = set(np.flatnonzero(after.kept & after.is_frame & before.kept).tolist())
        assert lonely <= set(after.parents[needs].tolist())

    def test_is_deterministic(self, stage: Stage, before: Selection, call: Call) -> None:
        """The same selection gives the same result twice."""
        assert _key(stage(before, call)) == _key(stage(before, call))

    def test_leaves_its_input_alone(self, stage: Stage, before: Selection, call: Call) -> None:
        """A stage writes to nothing that it was given."""
        snapshot = copy.deepcopy(before)
        stage(before, call)
        assert _key(snapshot) == _key(before)
        assert snapshot.passages == before.passages

    def test_serves_many_threads(self, stage: Stage, before: Selection, call: Call) -> None:
        """Eight threads at once get what one gets alone."""
        alone = _key(stage(before, call))
        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(lambda _: _key(stage(before, call)), range(8)))
        assert results == [alone] * 8

    def test_spares_pinned_spans(self, stage: Stage, before: Selection, call: Call) -> None:
        """A pinned span survives every stage."""
        pinned = np.zeros_like(before.kept)
        pinned[::3] = True
        before = before.pin(pinned)
        assert stage(before, call).kept[before.pinned].all()

    def test_pickles(self, stage: Stage) -> None:
        """A stage travels between processes."""
        assert pickle.loads(pickle.dumps(stage)) == stage

    def test_round_trips_through_a_recipe(self, stage: Stage) -> None:
        """A stage written to recipe data and read back is equal."""
        if stage.name not in STAGES:
            pytest.skip("not registered, so no recipe can name it")
        recipe = parse({"scorer": "ctxpack-swift", "steps": ["score", stage]}, where="contract")
        assert parse(recipe.to_data(), where="contract").steps[1] == stage


def _key(selection: Selection) -> tuple[object, ...]:
    scores = (selection.passage_scores, selection.span_scores)
    return (
        selection.order,
        selection.kept.tobytes(),
        selection.pinned.tobytes(),
        selection.dropped(),
        *(None if array is None else array.tobytes() for array in scores),
    )
