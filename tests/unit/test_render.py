"""The renderer: template, marks, and a map back to the passages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from pydantic import ValidationError

from ctxpack import Passage, Selection, Span
from ctxpack.render import Render, Renderer
from ctxpack.selection import SplitPassage

A = Passage("One. Two.\nThree.", id="a1", title="Alpha", metadata={"page": 3})
B = Passage("Four. Five.")
SPANS = ((Span(0, 5), Span(5, 10), Span(10, 16)), (Span(0, 6), Span(6, 11)))


def kept(*numbers: int, passages: tuple[Passage, Passage] = (A, B)) -> Selection:
    """Return the selection that keeps some of the five spans."""
    split = [SplitPassage(p, spans) for p, spans in zip(passages, SPANS, strict=True)]
    return Selection.of("q", split).drop(~np.isin(np.arange(5), numbers), stage="s", reason="r")


def text(selection: Selection, **options: object) -> str:
    """Return what a renderer with `options` writes."""
    return Renderer(Render.model_validate(options), selection.passages).write(selection).text


def test_title_body_separator() -> None:
    """The default writes title, body and a blank line; a passage without title is its body."""
    assert text(kept(0, 1, 2, 3, 4)) == "Alpha\nOne. Two.\nThree.\n\nFour. Five."


@pytest.mark.parametrize(
    ("end", "between"), [("", "\n\n"), ("\n", "\n"), ("\n\n", ""), ("\n\n\n", "")]
)
def test_a_separator_repeats_no_white_space(end: str, between: str) -> None:
    """Blank lines at the end of a passage serve as the separator's."""
    first = Passage("One." + end)
    split = [SplitPassage(first, (Span(0, len(first.text)),)), SplitPassage(B, SPANS[1])]
    written = Renderer(Render(), (first, B)).write(Selection.of("q", split))
    assert written.text == first.text + between + B.text


def test_nothing_kept_is_no_text() -> None:
    """An empty selection has neither separators nor titles."""
    assert text(kept()) == ""


@pytest.mark.parametrize(
    ("numbers", "body"), [((0, 2), "One. […]\nThree."), ((1, 2), "Two.\nThree."), ((0,), "One. ")]
)
def test_a_gap_is_marked_inside_a_passage(numbers: tuple[int, ...], body: str) -> None:
    """Text left out between kept spans has a mark, on the line of what follows; the edges none."""
    assert text(kept(*numbers), template="{body}") == body


def test_gap_marks_can_be_off() -> None:
    """An empty mark leaves the kept spans side by side."""
    assert text(kept(0, 2), template="{body}", gap="") == "One. Three."


def test_a_line_of_empty_fields_is_left_out() -> None:
    """Fields that a passage does not have leave no empty line and no stray label."""
    template = "{title} ({id})\npage {metadata.page}\n{body}"
    assert text(kept(0, 3), template=template) == "Alpha (a1)\npage 3\nOne. \n\nFour. "


def test_citations_number_the_output() -> None:
    """Citation marks count passages in output order."""
    selection = kept(0, 3).reorder([1, 0])
    assert text(selection, citations=True) == "[1] Four. \n\n[2] Alpha\nOne. "


def test_a_passage_cannot_forge_a_mark() -> None:
    """When a passage contains a mark, another form is used everywhere, and reported."""
    forger = Passage("See [1].\n[…] Four.")
    passages = (A, forger)
    renderer = Renderer(Render(citations=True), passages)
    written = renderer.write(kept(0, 2, passages=passages))
    assert written.text == "[#1] Alpha\nOne. […2]\nThree."
    assert renderer.changed_marks == ("[…2]", "[#n]")


def test_pieces_map_the_text_to_its_sources() -> None:
    """Pieces joined are the text; spans are slices, gaps carry the offsets of what they hide."""
    written = Renderer(Render(citations=True), (A, B)).write(kept(0, 2, 3))
    assert "".join(written.text[p.text_start : p.text_end] for p in written.pieces) == written.text
    assert [(p.kind, p.passage_index, p.start, p.end) for p in written.pieces] == [
        ("citation", 0, None, None),
        ("title", 0, None, None),
        ("separator", 0, None, None),
        ("span", 0, 0, 5),
        ("gap", 0, 5, 10),
        ("span", 0, 10, 16),
        ("separator", None, None, None),
        ("citation", 1, None, None),
        ("span", 1, 0, 6),
    ]


class Numbered:
    """A layout as a framework might have it."""

    def join(self, bodies: Sequence[tuple[int, str]]) -> str:
        return " / ".join(f"{index}: {body.strip()}" for index, body in bodies)


def test_a_layout_joins_bodies_without_titles() -> None:
    """With a layout the framework builds the text, and bodies hold only spans and gap marks."""
    written = Renderer(Render(), (A, B), Numbered()).write(kept(0, 2, 4))
    assert written.text == "0: One. […]\nThree. / 1: Five."
    assert written.bodies == ((0, "One. […]\nThree."), (1, "Five."))
    assert written.pieces == ()


def test_the_frame_of_a_passage_is_what_it_adds() -> None:
    """The planned cost of a passage is its title and separator, whoever joins."""
    assert Renderer(Render(), (A, B)).frame_cost(0, len) == len("\n\nAlpha\n")
    assert Renderer(Render(), (A, B), Numbered()).frame_cost(0, len) == len(" / 0: ")


class Framed(Numbered):
    """A layout that writes something around the passages."""

    def join(self, bodies: Sequence[tuple[int, str]]) -> str:
        return f"<{super().join(bodies)}>"


def test_the_first_passage_has_no_separator() -> None:
    """What every passage's cost holds and the first does not need is given back to a template."""
    assert Renderer(Render(), (A, B)).separator_cost(len) == len("\n\n")
    assert Renderer(Render(), (A, B), Numbered()).separator_cost(len) == 0


def test_the_frame_around_all_passages_is_no_passages() -> None:
    """What a layout writes in any case is taken off the budget, and costs no passage."""
    assert Renderer(Render(), (A, B), Framed()).separator_cost(len) == -len("<>")
    assert Renderer(Render(), (A, B), Framed()).frame_cost(0, len) == len(" / 0: ")


@pytest.mark.parametrize(
    ("template", "rule"),
    [
        ("{title}", "exactly once"),
        ("{body}{body}", "exactly once"),
        ("{body}{x}", "unknown field"),
        ("{body:>9}", "takes no format"),
    ],
)
def test_a_template_is_checked(template: str, rule: str) -> None:
    """A template without one body, or with an unknown field, is refused."""
    with pytest.raises(ValidationError, match=rule):
        Render(template=template)
