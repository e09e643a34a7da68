"""Slices of what is kept."""

from __future__ import annotations

import pytest

from ctxpack import Passage, Pipeline
from ctxpack.tokens import counter_from

WORDS = counter_from(lambda text: len(text.split()))
TEXT = "# Boats\n\nThey leave at noon. They are red.\n\n# Hats\n\nNobody wears hats here."


@pytest.fixture
def pipeline() -> Pipeline:
    """Return a pipeline that keeps everything."""
    return Pipeline.from_recipe({"scorer": "lexical", "steps": []})


def sliced(pipeline: Pipeline, text: str, most: int) -> list[str]:
    """Return the texts of the slices of one text."""
    ((*slices,),) = pipeline.compress("-", [text]).slices(WORDS, most=most)
    return [text[start:end] for start, end in slices]


@pytest.mark.parametrize("most", [1, 4, 7, 12, 100])
def test_slices_are_the_text(pipeline: Pipeline, most: int) -> None:
    """Of a text that is kept whole, slices are all of it."""
    assert "".join(sliced(pipeline, TEXT, most)) == TEXT


def test_no_slice_ends_behind_a_heading(pipeline: Pipeline) -> None:
    """A heading stays with what it leads, and starts a slice when the last is half full."""
    assert [part.split()[0] for part in sliced(pipeline, TEXT, 12)] == ["#", "#"]
    assert not any(part.rstrip().endswith("Hats") for part in sliced(pipeline, TEXT, 10))


def test_a_slice_does_not_span_a_gap() -> None:
    """What stands around text that was dropped is in two slices, however short."""
    pipeline = Pipeline.from_recipe(
        {"scorer": "lexical", "steps": ["score", {"prune": {"threshold": 0.3, "window": 0}}]}
    )
    text = "The wall is old. Boats leave at noon. The wall stands."
    packed = pipeline.compress("wall", [Passage(text), Passage("No boat leaves. The wall.")])
    slices = packed.slices(WORDS, most=100)
    assert slices == [[*passage.spans] for passage in packed.passages]
    assert len(slices[0]) == 2
