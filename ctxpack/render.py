"""How kept spans become the text that a model reads; the only place where text is joined."""

from __future__ import annotations

import copy
import re
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Literal, NamedTuple, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, field_validator

from ctxpack.selection import Passage, Selection

PieceKind = Literal["span", "title", "metadata", "separator", "gap", "citation"]


class Piece(NamedTuple):
    """Where a stretch of the output comes from; the texts of all pieces joined are the output.

    Args:
        kind: ``span`` is verbatim; ``title`` and ``metadata`` (the id too) are fields of the
            passage; ``separator`` is text of the template; ``gap`` stands for text left out.
        text_start: first character in the output.
        text_end: one past the last character in the output.
        passage_index: the passage it belongs to, None for a separator between passages.
        start: for a span its offset in the passage, for a gap that of the text left out.
        end: likewise, one past the last character; None for the other kinds.
    """

    kind: PieceKind
    text_start: int
    text_end: int
    passage_index: int | None = None
    start: int | None = None
    end: int | None = None


class Layout(Protocol):
    """How a framework that builds the prompt itself turns bodies into text.

    A body is the kept spans and gap marks of one passage. The budget holds for what `join` returns.
    """

    def join(self, bodies: Sequence[tuple[int, str]]) -> str:
        """Return what the model will read.

        Args:
            bodies: (passage index, body) of each kept passage, in output order. Plans are made with
                none, and with one passage twice.
        """
        ...


class Render(BaseModel):
    """Options of the text that a model reads.

    Args:
        template: text of one passage. ``{body}`` stands exactly once; ``{title}``, ``{id}`` and
            ``{metadata.KEY}`` are replaced by the passage's own. A line, or what stands beside the
            body on its line, is left out when every such field on it is empty.
        separator: stands between passages; white space that it begins with is not repeated when the
            passage before ends in it.
        gap: mark for text left out inside a passage; an empty string turns marks off.
        citations: start each passage with ``[1]``, ``[2]``, … in output order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    template: str = "{title}\n{body}"
    separator: str = "\n\n"
    gap: str = "[…]"
    citations: bool = False

    @field_validator("template")
    @classmethod
    def _check_template(cls, template: str) -> str:
        names = []
        for _, name, spec, conversion in string.Formatter().parse(template):
            if name is None:
                continue
            if name not in {"body", "title", "id"} and not name.startswith("metadata."):
                raise ValueError(f"unknown field {{{name}}}; known: body, title, id, metadata.KEY")
            if spec or conversion:
                raise ValueError(f"field {{{name}}} takes no format")
            names.append(name)
        if names.count("body") != 1:
            raise ValueError("must hold {body} exactly once")
        return template

    def field_of(self, passage: Passage, name: str) -> str:
        """Return the text of a template field; '' when the passage does not have it."""
        if not name:
            return ""
        if name == "title":
            return passage.title or ""
        if name == "id":
            return passage.id or ""
        value = passage.metadata.get(name.removeprefix("metadata."))
        return "" if value is None else str(value)


@dataclass(frozen=True, slots=True)
class Rendered:
    """The output: its text, where it comes from, and each passage's body.

    Args:
        text: what the model reads.
        pieces: of `text`; empty when a `Layout` joined it.
        bodies: (passage index, body) of each kept passage, in output order.
    """

    text: str
    pieces: tuple[Piece, ...]
    bodies: tuple[tuple[int, str], ...]


class Renderer:
    """Writes selections over one call's passages, with marks that no passage contains.

    Args:
        render: the options.
        passages: of the call. When one contains a mark, another form of the mark is used for the
            whole call, so that a passage cannot forge a citation or a gap.
        layout: joins the bodies instead of the template; then there is no title and no citation.
    """

    def __init__(
        self, render: Render, passages: Sequence[Passage], layout: Layout | None = None
    ) -> None:
        self.render = render
        self.layout = layout
        self._passages = passages
        self._head, self._tail = _around_body(render.template)
        texts = [passage.text for passage in passages]
        if layout is None:
            names = [name for line in self._head + self._tail for _, name in line if name]
            texts += [render.field_of(passage, name) for passage in passages for name in names]
        self.gap = _free_gap(render.gap, texts)
        self.citation = _free_citation(texts) if render.citations else _CITATION

    @property
    def changed_marks(self) -> tuple[str, ...]:
        """The marks in use that are not the configured ones."""
        marks = ((self.gap, self.render.gap), (self.citation, _CITATION))
        return tuple(mark.replace("{}", "n") for mark, wanted in marks if mark != wanted)

    @property
    def gap_text(self) -> str:
        """A gap mark as it stands in running text, for planning; '' when marks are off."""
        return f" {self.gap}" if self.gap else ""

    def without_gaps(self) -> Renderer:
        """Return a renderer that leaves text out without a mark."""
        unmarked = copy.copy(self)
        unmarked.gap = ""
        return unmarked

    def separator_cost(self, count: Callable[[str], int]) -> int:
        """Return what the frames of all passages together cost too much, for planning.

        That is a separator, which the first passage does not have. A layout may write text that
        belongs to no passage; then it is less than nothing.
        """
        if self.layout is None:
            return count(self.render.separator)
        # A layout keeps its separator as a margin. Frameworks differ in what they strip from a
        # body's ends; without it the last count cuts in one what it leaves in another.
        return -count(self.layout.join([]))

    def frame_cost(self, passage_index: int, count: Callable[[str], int]) -> int:
        """Return what one more passage costs beside its body, its separator included, for planning.

        Args:
            passage_index: of the passage.
            count: tokens of a text.
        """
        if self.layout is not None:
            bodies = [(passage_index, "x")] * 2
            none, one, two = (count(self.layout.join(bodies[:n])) for n in range(3))
            return max(0, max(one - none, two - one) - count("x"))
        tape = _Tape()
        tape.add("separator", self.render.separator)
        self._write_head(tape, passage_index, passage_index + 1)
        self._write_lines(tape, passage_index, self._tail)
        return count(tape.text())

    def write(self, selection: Selection) -> Rendered:
        """Return the text of the kept spans; '' when none is kept."""
        tape, bodies = _Tape(), []
        for rank, index in enumerate(selection.kept_passages(), start=1):
            if rank > 1:
                tape.add("separator", _missing(self.render.separator, tape.texts[-1]))
            self._write_head(tape, index, rank)
            body = len(tape.texts)
            self._write_body(tape, selection, index)
            bodies.append((index, tape.text(body)))
            self._write_lines(tape, index, self._tail)
        if self.layout is not None:
            return Rendered(self.layout.join(bodies) if bodies else "", (), tuple(bodies))
        return Rendered(tape.text(), tuple(tape.pieces), tuple(bodies))

    def _write_head(self, tape: _Tape, index: int, rank: int) -> None:
        if self.render.citations:
            tape.add("citation", self.citation.format(rank) + " ", index)
        self._write_lines(tape, index, self._head)

    def _write_body(self, tape: _Tape, selection: Selection, index: int) -> None:
        """Write the kept spans of a passage, with marks where text between them is left out."""
        text, last_end = selection.passages[index].text, None
        begin, end = selection.first[index : index + 2].tolist()
        for number in np.flatnonzero(selection.kept[begin:end]).tolist():
            span = selection.spans[begin + number]
            if last_end is not None and last_end != span.start and self.gap:
                lead = "" if text[last_end - 1].isspace() else " "
                tail = "\n" if text[span.start - 1] in "\r\n" else " "
                tape.add("gap", f"{lead}{self.gap}{tail}", index, last_end, span.start)
            tape.add("span", text[span.start : span.end], index, span.start, span.end)
            last_end = span.end

    def _write_lines(self, tape: _Tape, index: int, lines: Lines) -> None:
        """Write part of the template, without the lines on which every field is empty."""
        for line in lines:
            values = [self.render.field_of(self._passages[index], name) for _, name in line]
            if any(values) or not any(name for _, name in line):
                for (literal, name), value in zip(line, values, strict=True):
                    if literal:
                        tape.add("separator", literal, index)
                    if value:
                        tape.add("title" if name == "title" else "metadata", value, index)


_CITATION = "[{}]"


Lines = list[list[tuple[str, str]]]
"""Of a template: (literal, field name after it) pairs, the name '' where no field follows."""


class _Tape:
    """Text under construction, with the pieces that it is made of."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.pieces: list[Piece] = []
        self._length = 0

    def text(self, begin: int = 0) -> str:
        """Return the pieces from number `begin` on, joined."""
        return "".join(self.texts[begin:])

    def add(
        self,
        kind: PieceKind,
        text: str,
        passage_index: int | None = None,
        start: int | None = None,
        end: int | None = None,
    ) -> None:
        if text:
            text_end = self._length + len(text)
            self.pieces.append(Piece(kind, self._length, text_end, passage_index, start, end))
            self.texts.append(text)
            self._length = text_end


def _around_body(template: str) -> tuple[Lines, Lines]:
    """Return the lines before and after the body; its own line is a part of each."""
    head: Lines = []
    tail: Lines = []
    part = head
    for line in template.splitlines(keepends=True):
        fields = [(text, name or "") for text, name, *_ in string.Formatter().parse(line)]
        names = [name for _, name in fields]
        if "body" in names:
            cut = names.index("body")
            part.append([*fields[:cut], (fields[cut][0], "")])
            part, fields = tail, fields[cut + 1 :]
        part.append(fields)
    nothing = ("", "")
    head, tail = ([[f for f in line if f != nothing] for line in part] for part in (head, tail))
    return [line for line in head if line], [line for line in tail if line]


def _missing(separator: str, before: str) -> str:
    """Return `separator` without the white space at its start in which `before` ends."""
    blank = len(separator) - len(separator.lstrip())
    return next(separator[n:] for n in range(blank, -1, -1) if before.endswith(separator[:n]))


def _free_gap(mark: str, texts: Sequence[str]) -> str:
    """Return `mark`, numbered when a text contains it: ``'[…]'``, else ``'[…2]'``, and so on."""
    if not any(mark in text for text in texts if mark):
        return mark
    head, tail = mark[:-1], mark[-1]
    numbered = re.compile(rf"{re.escape(head)}(\d+){re.escape(tail)}", re.ASCII)
    taken = {number for text in texts for number in numbered.findall(text)}
    free = next(number for number in count(2) if str(number) not in taken)
    return f"{head}{free}{tail}"


def _free_citation(texts: Sequence[str]) -> str:
    """Return a citation form that no text contains: ``'[{}]'``, else ``'[#{}]'``, and so on."""
    taken = {hashes for text in texts for hashes in re.findall(r"\[(#*)\d+\]", text)}
    return "[" + next("#" * n for n in count() if "#" * n not in taken) + "{}]"
