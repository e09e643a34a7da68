from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from ctxpack.errors import RecipeError
from ctxpack.selection import Passage, Span, SplitPassage
from ctxpack.stages.prune import Prune

TABLE = SplitPassage(
    Passage("# T\nhead\nrow 1\nrow 2\nEnd."),
    (
        Span(0, 4, "heading"),
        Span(4, 9, "table_header", 0),
        Span(9, 15, "table_row", 1),
        Span(15, 21, "table_row", 1),
        Span(21, 25, "sentence", 0),
    ),
)
FIVE = "One. Two. Three. Four. Five. "


def kept_by(stage: Prune, selection, call_for) -> list[int]:
    """Return the numbers of the spans that `stage` keeps."""
    return np.flatnonzero(stage(selection, call_for(selection)).kept).tolist()


def test_keeps_what_reaches_the_threshold(make, call_for) -> None:
    """A span on the threshold stays, one below goes, and the record says why."""
    selection = make("One. Two. ", scores=[[0.3, 0.29]])
    after = Prune(threshold=0.3)(selection, call_for(selection))
    assert after.dropped() == ((0, 5, 10, "prune", "below_threshold", None),)


def test_knows_the_scorers_operating_points(make, call_for) -> None:
    """A threshold may be a name that the scorer gives a number."""
    selection = make("One. Two. ", scores=[[0.5, 0.4]])
    assert kept_by(Prune(threshold="balanced"), selection, call_for) == [0]
    assert kept_by(Prune(threshold="faithful"), selection, call_for) == [0, 1]


def test_names_the_operating_points_it_knows(make, call_for) -> None:
    """A name that the scorer does not have is an error of the recipe."""
    selection = make("One. ", scores=[[0.5]])
    known = r"`threshold` .*\(faithful, balanced, aggressive\), got 'balance'"
    with pytest.raises(RecipeError, match=known):
        Prune(threshold="balance")(selection, call_for(selection))


def test_zero_drops_nothing(make, call_for) -> None:
    """A threshold of 0 keeps everything."""
    selection = make(FIVE, TABLE, scores=[[0.0] * 5, [0.0] * 5])
    assert Prune(threshold=0)(selection, call_for(selection)).kept.all()


def test_window_keeps_neighbours(make, call_for) -> None:
    """Spans within the window of a good one stay, in its passage only."""
    selection = make(FIVE, FIVE, FIVE, scores=[[0, 0, 0, 0, 0.9], [0] * 5, [0.9, 0, 0, 0, 0]])
    assert kept_by(Prune(threshold=0.5, window=2), selection, call_for) == [2, 3, 4, 10, 11, 12]


def test_window_does_not_bring_back(make, call_for) -> None:
    """A neighbour that an earlier stage dropped stays dropped."""
    selection = make("One. Two. Three. ", scores=[[0.1, 0.9, 0.1]])
    selection = selection.drop(np.array([1, 0, 0], dtype=bool), stage="test", reason="test")
    assert kept_by(Prune(threshold=0.5, window=5), selection, call_for) == [1, 2]


def test_min_evidence_keeps_the_best_of_the_call(make, call_for) -> None:
    """The best spans stay although below the threshold; of equal ones the earlier."""
    selection = make("One. Two. ", "Three. Four. ", scores=[[0.1, 0.3], [0.3, 0.4]])
    assert kept_by(Prune(threshold=0.9, min_evidence=2), selection, call_for) == [1, 3]


def test_min_evidence_adds_nothing_to_enough(make, call_for) -> None:
    """Spans that reach the threshold count as evidence."""
    selection = make("One. Two. Three. ", scores=[[0.9, 0.8, 0.1]])
    assert kept_by(Prune(threshold=0.5, min_evidence=2), selection, call_for) == [0, 1]


def test_a_kept_row_brings_its_header_and_heading(make, call_for) -> None:
    """A span stays together with what it requires, whatever that scored."""
    selection = make(TABLE, scores=[[0, 0, 0, 0.9, 0]])
    assert kept_by(Prune(threshold=0.5), selection, call_for) == [0, 1, 3]


def test_a_heading_does_not_stay_for_its_own_score(make, call_for) -> None:
    """A required span that nothing kept requires goes, and is no evidence."""
    selection = make(TABLE, scores=[[0.9, 0.9, 0.1, 0.2, 0.1]])
    assert kept_by(Prune(threshold=0.5), selection, call_for) == []
    assert kept_by(Prune(threshold=0.5, min_evidence=1), selection, call_for) == [0, 1, 3]


def test_pins_by_pattern(make, call_for) -> None:
    """A span that a pattern is found in stays and is pinned, with what it requires."""
    selection = make(TABLE, scores=[[0.0] * 5])
    after = Prune(threshold=0.5, pins=(r"row \d", "absent"))(selection, call_for(selection))
    assert after.kept.tolist() == after.pinned.tolist() == [True, True, True, True, False]


def test_pins_by_kind(make, call_for) -> None:
    """A span of a pinned kind stays, though nothing kept requires it."""
    selection = make(TABLE, scores=[[0.0] * 5])
    assert kept_by(Prune(threshold=0.5, pin_kinds=("heading",)), selection, call_for) == [0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 1.5}, r"threshold\n.*must be a number in \[0, 1\] or the name of an"),
        ({"threshold": float("nan")}, "must be a number in"),
        ({"threshold": True}, "must be a number in"),
        ({"threshold": None}, "must be a number in"),
        ({"window": -1}, "window"),
        ({"min_evidence": 0.5}, "min_evidence"),
        ({"pins": ("a", "(")}, r"must be regular expressions; '\('"),
        ({"pin_kinds": ("paragraph",)}, "pin_kinds"),
    ],
)
def test_refuses_wrong_options(options, message) -> None:
    """An option outside its range is named in the error."""
    with pytest.raises(ValidationError, match=message):
        Prune(**options)
