from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from ctxpack.selection import Passage, Selection, SplitPassage
from ctxpack.stages.base import Stage
from ctxpack.stages.dedupe import Dedupe
from ctxpack.stages.order import Order
from ctxpack.stages.prune import Prune
from ctxpack.stages.rerank import Rerank
from ctxpack.stages.score import Score
from ctxpack.stages.select import Select

STAGES = [
    Dedupe(),
    Dedupe(threshold=0.5, min_chars=1),
    Score(),
    Rerank(),
    Rerank(top_k=1, threshold=0.2),
    Prune(),
    Prune(threshold=0.9, window=1, min_evidence=2, pins=("b.", "é"), pin_kinds=("code",)),
    Select(),
    Select(unit="passage", min_utility=0.3),
    Order(),
    Order(by="score"),
    Order(by="edges"),
]
TEXTS = (
    "Ünï cödé. 👩‍👩‍👧 b. ",
    "灯塔建于1911年。博物馆免费。",
    "ลอง \ud800. \x00 c.",
    "Ünï cödé. 👩‍👩‍👧 b. ",
    "a. ",
)
pytestmark = pytest.mark.parametrize("stage", STAGES, ids=repr)


@pytest.fixture
def odd(make) -> Selection:
    """Return a scored selection of odd characters and a passage without spans."""
    scores = [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.9, 0.1], [0.5], []]
    return make(*TEXTS, SplitPassage(Passage(""), ()), scores=scores)


def state(selection: Selection) -> tuple[object, ...]:
    """Return all that a stage may change, comparable."""
    arrays = (selection.passage_scores, selection.span_scores)
    scores = [None if array is None else array.tolist() for array in arrays]
    return selection.order, selection.dropped(), selection.pinned.tolist(), scores


def test_is_deterministic(stage: Stage, odd, call_for) -> None:
    """The same selection gives the same result twice."""
    call = call_for(odd, budget=4)
    assert state(stage(odd, call)) == state(stage(odd, call))


def test_leaves_its_input_alone(stage: Stage, odd, call_for) -> None:
    """A stage writes to nothing that it was given."""
    before = copy.deepcopy(odd)
    stage(odd, call_for(odd, budget=4))
    assert state(odd) == state(before)
    assert odd.parents.tolist() == before.parents.tolist()


def test_pickles(stage: Stage) -> None:
    """A stage travels between processes."""
    assert pickle.loads(pickle.dumps(stage)) == stage


def test_round_trips_through_json(stage: Stage) -> None:
    """A stage written as JSON and read back is equal."""
    assert type(stage).model_validate_json(stage.model_dump_json()) == stage


@pytest.mark.parametrize("passages", [(), (SplitPassage(Passage(""), ()),) * 2], ids=len)
@pytest.mark.parametrize("budget", [None, 0])
def test_nothing_in_nothing_out(stage: Stage, make, call_for, passages, budget) -> None:
    """Without spans a stage has nothing to drop, and does not fail."""
    selection = make(*passages, scores=[[]] * len(passages))
    assert stage(selection, call_for(selection, budget=budget)).dropped() == ()


def test_spares_pinned_spans(stage: Stage, odd, call_for) -> None:
    """A pinned span is not dropped, not even without room for it."""
    pinned = odd.pin(np.ones_like(odd.kept))
    assert stage(pinned, call_for(pinned, budget=0)).kept.all()


def test_is_at_peace_with_no_scores(stage: Stage, make, call_for) -> None:
    """A stage after a deadline that left nothing scored keeps the first span."""
    selection = make(*TEXTS[:2])
    assert stage(selection, call_for(selection, budget=5)).kept[0]
