"""The last count decides, whatever was planned."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ctxpack import Passage, Selection, Span
from ctxpack.budget import fit
from ctxpack.render import Render, Renderer
from ctxpack.scoring.lexical import Lexical
from ctxpack.selection import SplitPassage
from ctxpack.stages.base import Call
from ctxpack.tokens import counter_from


def call_for(selection: Selection, budget: int, count: Callable[[str], int] = len) -> Call:
    """Return a call without a template, in the unit of `count`."""
    renderer = Renderer(Render(template="{body}"), selection.passages)
    return Call(
        counter=counter_from(count),
        renderer=renderer,
        scorer=Lexical(),
        budget=budget,
        pin_overflow="degrade",
    )


def selection_of(*texts: str, scores: list[float] | None = None) -> Selection:
    """Return one passage whose spans are `texts`, scored."""
    ends = np.cumsum([len(text) for text in texts]).tolist()
    spans = tuple(Span(end - len(text), end) for text, end in zip(texts, ends, strict=True))
    selection = Selection.of("q", [SplitPassage(Passage("".join(texts)), spans)])
    if scores is None:
        return selection
    return selection.with_scores(np.ones(1, np.float32), np.array(scores, np.float32))


def test_the_least_useful_span_goes_first() -> None:
    """What does not fit is dropped by utility, not by position."""
    selection = selection_of("a" * 20, "b" * 20, "c" * 20, scores=[0.9, 0.1, 0.8])
    fitted = fit(selection, call_for(selection, 50))
    assert fitted.selection.kept.tolist() == [True, False, True]
    assert fitted.token_count <= 50


def test_unscored_text_loses_its_end() -> None:
    """Without scores the beginning is kept."""
    selection = selection_of("aaaa ", "bbbb ", "cccc ")
    assert fit(selection, call_for(selection, 11)).rendered.text == "aaaa bbbb "


def test_a_counter_that_charges_for_whole_texts_is_obeyed() -> None:
    """A count that parts do not add up to still ends within the budget."""
    selection = selection_of(*["word "] * 50, scores=[0.5] * 50)
    call = call_for(selection, 60, lambda text: len(text) + 17 * bool(text))
    assert 0 < fit(selection, call).token_count <= 60


def test_pinned_spans_between_cheap_gaps_do_not_loop() -> None:
    """Filling a gap and cutting it again ends."""
    selection = selection_of("aaaa ", "b", "b", "b", " ", "cccc", scores=[0.9, 0, 0, 0, 0, 0.9])
    pinned = selection.pin(np.array([True, False, False, False, False, True]))
    assert fit(pinned, call_for(pinned, 5, lambda text: len(text.split()) * 3)).token_count <= 5


@pytest.mark.parametrize(
    ("filler", "body"), [("b ", "aaaa b cccc"), ("bbbbbbbb ", "aaaa […] cccc")]
)
def test_a_gap_cheaper_to_fill_than_to_mark_is_filled(filler: str, body: str) -> None:
    """A mark stands only where it saves something."""
    selection = selection_of("aaaa ", filler, "cccc", scores=[0.9, 0.1, 0.9])
    selection = selection.drop(np.array([False, True, False]), stage="s", reason="r")
    assert fit(selection, call_for(selection, 99)).rendered.text == body


def test_duplicates_are_no_fillers() -> None:
    """Text that stands elsewhere in the output does not come back to fill a gap."""
    selection = selection_of("aaaa ", "b ", "cccc", scores=[0.9, 0.1, 0.9])
    dropped = np.array([False, True, False])
    selection = selection.drop(dropped, stage="s", reason="duplicate", merged_into=0)
    assert fit(selection, call_for(selection, 99)).rendered.text == "aaaa […] cccc"
