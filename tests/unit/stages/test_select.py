from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from ctxpack.selection import Passage, Span, SplitPassage
from ctxpack.stages.select import Select

LIST = SplitPassage(
    Passage("Three colours: red green blue"),
    (Span(0, 15, "list_lead"), Span(15, 19, "list_item", 0), Span(19, 29, "list_item", 0)),
)


def kept_by(stage: Select, selection, call) -> list[int]:
    """Return the numbers of the spans that `stage` keeps."""
    return np.flatnonzero(stage(selection, call).kept).tolist()


def test_takes_the_most_score_that_fits(make, call_for) -> None:
    """Two short spans beat a long one that scores more than either."""
    selection = make("A b c d. ", "E f. ", "G h. ", scores=[[0.9], [0.5], [0.6]])
    after = Select()(selection, call_for(selection, budget=4))
    assert after.dropped() == ((0, 0, 9, "select", "over_budget", None),)


def test_keeps_all_that_fits(make, call_for) -> None:
    """With room for everything, spans that score 0 stay too."""
    selection = make("A. B. ", scores=[[0.0, 0.9]])
    assert kept_by(Select(), selection, call_for(selection, budget=2)) == [0, 1]


def test_no_budget_keeps_all(make, call_for) -> None:
    """Without a budget nothing is too long."""
    selection = make("A. B. ", scores=[[0.1, 0.2]])
    assert kept_by(Select(), selection, call_for(selection)) == [0, 1]


def test_budget_of_zero_keeps_nothing(make, call_for) -> None:
    """0 is a budget, and nothing fits into it."""
    selection = make("A. B. ", scores=[[0.1, 0.2]])
    assert kept_by(Select(), selection, call_for(selection, budget=0)) == []


def test_min_utility_drops_without_need(make, call_for) -> None:
    """A span that scores too low goes although there is room; one on the limit stays."""
    selection = make("A. B. ", scores=[[0.3, 0.29]])
    after = Select(min_utility=0.3)(selection, call_for(selection))
    assert after.dropped() == ((0, 3, 6, "select", "below_min_utility", None),)


def test_pays_for_what_a_span_requires(make, call_for) -> None:
    """A list item comes with its lead-in, or not at all."""
    selection = make(LIST, "One two. ", scores=[[0.0, 0.9, 0.1], [0.5]])
    assert kept_by(Select(), selection, call_for(selection, budget=3)) == [0, 1]
    assert kept_by(Select(), selection, call_for(selection, budget=2)) == [3]


def test_does_not_judge_a_lead_in_by_its_score(make, call_for) -> None:
    """A required span stays below the limit as long as one that requires it stays."""
    selection = make(LIST, scores=[[0.0, 0.9, 0.1]])
    assert kept_by(Select(min_utility=0.5), selection, call_for(selection)) == [0, 1]


def test_leaves_pinned_spans_over_the_budget(make, call_for) -> None:
    """Pinned spans that alone do not fit stay; the rest goes."""
    selection = make("A b c. D. ", scores=[[0.1, 0.9]])
    selection = selection.pin(np.array([True, False]))
    assert kept_by(Select(), selection, call_for(selection, budget=1)) == [0]


def test_unscored_spans_are_cut_from_the_end(make, call_for) -> None:
    """Without scores the beginning of the output stays."""
    selection = make("A. B. ", "C. D. ").reorder([1, 0])
    assert kept_by(Select(), selection, call_for(selection, budget=2)) == [2, 3]


def test_passages_stay_whole(make, call_for) -> None:
    """By passage, the passages of the highest total score stay, with all their kept spans."""
    selection = make("A. B. ", "C. D. ", "E. F. ", scores=[[0.1, 0.2], [0.9, 0.0], [0.3, 0.3]])
    after = Select(unit="passage")(selection, call_for(selection, budget=5))
    assert after.dropped() == ((0, 0, 6, "select", "over_budget", None),)


def test_a_passage_is_worth_its_own_score(make, call_for) -> None:
    """By passage, the score of the passage counts, not those of its spans."""
    selection = make("A. ", "B. ").with_scores(np.float32([0.1, 0.2]), np.float32([0.9, 0.1]))
    assert kept_by(Select(unit="passage"), selection, call_for(selection, budget=1)) == [1]


def test_unscored_passages_are_cut_from_the_end(make, call_for) -> None:
    """By passage, without scores, the beginning of the output stays."""
    selection = make("A. B. ", "C. ", "D. ").reorder([2, 0, 1])
    assert kept_by(Select(unit="passage"), selection, call_for(selection, budget=2)) == [2, 3]


def test_a_passage_costs_its_gaps(make, call_for) -> None:
    """By passage, the mark of a gap inside is paid for."""
    selection = make("A. B b b. C. ", scores=[[0.9, 0.9, 0.9]])
    selection = selection.drop(np.array([0, 1, 0], dtype=bool), stage="test", reason="test")
    stage = Select(unit="passage")
    assert kept_by(stage, selection, call_for(selection, budget=3)) == [0, 2]
    assert kept_by(stage, selection, call_for(selection, budget=2)) == []


def test_min_utility_of_passages(make, call_for) -> None:
    """By passage, it is the passage that must score enough."""
    selection = make("A. B. ", "C. ", scores=[[0.1, 0.9], [0.4]])
    stage = Select(unit="passage", min_utility=0.5)
    assert kept_by(stage, selection, call_for(selection)) == [0, 1]


def test_a_pin_keeps_its_passage_whole(make, call_for) -> None:
    """By passage, a pinned span holds its passage, and the others give way."""
    selection = make("A. B. ", "C. D. ", scores=[[0.1, 0.1], [0.9, 0.9]])
    selection = selection.pin(np.array([True, False, False, False]))
    stage = Select(unit="passage")
    assert kept_by(stage, selection, call_for(selection, budget=2)) == [0, 1]


@pytest.mark.parametrize("options", [{"unit": "word"}, {"min_utility": -0.1}, {"budget": 9}])
def test_refuses_wrong_options(options) -> None:
    """The unit is a span or a passage, the limit in [0, 1], and the budget is the call's."""
    with pytest.raises(ValidationError):
        Select(**options)
