"""The data model: read-only passages, spans that are kept or dropped, never invented."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ctxpack import Passage, Selection, Span
from ctxpack.errors import ContractError, InputError
from ctxpack.selection import Drop, SplitPassage

ROWS = SplitPassage(
    Passage("head|row1|row2|tail"),
    (
        Span(0, 5, "table_header"),
        Span(5, 10, "table_row", requires=0),
        Span(10, 15, "table_row", requires=0),
        Span(15, 19),
    ),
)
PLAIN = SplitPassage(Passage("One. Two."), (Span(0, 5), Span(5, 9)))


@pytest.fixture
def selection() -> Selection:
    """Return a table and two plain sentences, all kept."""
    return Selection.of("q", [ROWS, PLAIN])


def mask(*numbers: int) -> np.ndarray:
    """Return the mask of some of the six spans."""
    return np.isin(np.arange(6), numbers)


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"id": 7}, "`id` must be a string or None, got 7"),
        ({"title": b"x"}, "`title` must be a string or None, got b'x'"),
        ({"score": "0.5"}, "`score` must be a number or None, got '0.5'"),
        ({"metadata": [1]}, r"`metadata` must be a mapping, got \[1\]"),
    ],
)
def test_a_passage_checks_its_fields(options: dict[str, object], rule: str) -> None:
    """A field of the wrong type is refused with its rule and value."""
    with pytest.raises(InputError, match=rule):
        Passage("text", **options)  # type: ignore[arg-type]


def test_a_passage_must_be_text() -> None:
    """Bytes or None are no text."""
    with pytest.raises(InputError, match="`text` must be a string, got None"):
        Passage(None)  # type: ignore[arg-type]


def test_a_passage_is_frozen_and_has_its_own_metadata() -> None:
    """Neither assignment nor a later change of the caller's mapping changes a passage."""
    metadata = {"page": 1}
    passage = Passage("text", metadata=metadata)
    metadata["page"] = 2
    assert passage.metadata == {"page": 1}
    with pytest.raises(dataclasses.FrozenInstanceError):
        passage.text = "other"  # type: ignore[misc]


def test_a_span_goes_with_what_it_requires(selection: Selection) -> None:
    """Dropping a table header drops its rows, under a reason of their own."""
    after = selection.drop(mask(0), stage="s", reason="r")
    assert after.kept.tolist() == [False, False, False, True, True, True]
    assert after.dropped() == (Drop(0, 0, 5, "s", "r"), Drop(0, 5, 15, "s", "required_dropped"))


def test_a_header_without_rows_is_dropped(selection: Selection) -> None:
    """A frame that nothing kept requires any more is an orphan."""
    after = selection.drop(mask(1, 2), stage="s", reason="r")
    assert not after.kept[0]
    assert after.dropped()[0].reason == "orphaned"


def test_a_list_item_stands_without_its_items() -> None:
    """A required span that is no frame says something alone, so it stays."""
    items = (Span(0, 4, "list_item"), Span(4, 8, "list_item", requires=0))
    selection = Selection.of("q", [SplitPassage(Passage("- a\n- b\n"), items)])
    after = selection.drop(np.array([False, True]), stage="s", reason="r")
    assert after.kept.tolist() == [True, False]


def test_pinned_spans_survive(selection: Selection) -> None:
    """A pin holds the span and what it requires, until it is taken off."""
    pinned = selection.pin(mask(2))
    after = pinned.drop(mask(0, 1, 2, 3, 4, 5), stage="s", reason="r")
    assert after.kept.tolist() == [True, False, True, False, False, False]
    assert not after.unpin().drop(after.kept, stage="s", reason="r").kept.any()


def test_restoring_a_row_restores_its_header(selection: Selection) -> None:
    """What comes back brings what it requires."""
    none = selection.drop(selection.kept, stage="s", reason="r")
    assert none.restore(mask(2)).kept.tolist() == [True, False, True, False, False, False]


def test_neighbours_with_one_reason_are_one_record(selection: Selection) -> None:
    """A passage dropped whole is one record, and so are neighbouring spans."""
    after = selection.drop(mask(4, 5), stage="s", reason="r", merged_into=0)
    assert after.dropped() == (Drop(1, 0, 9, "s", "r", 0),)


def test_an_order_is_a_permutation(selection: Selection) -> None:
    """A passage can neither stand twice nor vanish by reordering."""
    assert selection.reorder([1, 0]).kept_passages() == (1, 0)
    with pytest.raises(ContractError, match="not a permutation"):
        selection.reorder([0, 0])


@pytest.mark.parametrize("bad", [np.nan, 1.5, -0.1])
def test_scores_are_finite_and_in_range(selection: Selection, bad: float) -> None:
    """A scorer's NaN or out-of-range score is refused where it enters."""
    scores = np.array([0, 0, bad, 0, 0, 0], dtype=np.float32)
    with pytest.raises(ContractError, match=r"`span_scores` must be in \[0, 1\].* at 2"):
        selection.with_scores(np.zeros(2, dtype=np.float32), scores)
