"""The data that stages work on: passages, their spans, and which spans are still kept.

A `Selection` holds every span of every passage from the first stage to the last and is immutable.
A stage can only drop, restore, pin, reorder or re-score spans, because there is no method for
anything else: the output is verbatim, and nothing is lost silently, by construction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Real
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ctxpack.errors import ContractError, InputError, shown

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]

SpanKind = Literal[
    "sentence", "heading", "list_lead", "list_item", "table_header", "table_row", "code"
]

FRAME_KINDS: frozenset[SpanKind] = frozenset({"heading", "list_lead", "table_header"})
"""Kinds of spans that say little alone and are kept for the spans that require them."""

KEPT = -1
"""Value in `Selection.drop_of` of a span that is kept."""


@dataclass(frozen=True, slots=True)
class Passage:
    """One retrieved text.

    Args:
        text: what kept spans are cut from.
        id: the caller's identifier; it need not be unique, because ctxpack counts by position.
        title: shown by the renderer and read by scorers; it is not part of `text`.
        score: the retrieval score, on the retriever's own scale, NaN included; carried unchanged.
            Only `dedupe` looks at it, to choose between copies.
        metadata: carried unchanged; the mapping is copied, its values are not.

    Raises:
        InputError: `text`, `id` or `title` is not a string, `score` not a number, or `metadata` not
            a mapping.
    """

    text: str
    id: str | None = field(default=None, kw_only=True)
    title: str | None = field(default=None, kw_only=True)
    score: float | None = field(default=None, kw_only=True)
    metadata: Mapping[str, Any] = field(default_factory=dict, kw_only=True, hash=False)

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise InputError(f"Passage: `text` must be a string, got {shown(self.text)}")
        for name in ("id", "title"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise InputError(f"Passage: `{name}` must be a string or None, got {shown(value)}")
        if self.score is not None and not isinstance(self.score, Real):
            raise InputError(f"Passage: `score` must be a number or None, got {shown(self.score)}")
        if self.metadata is None:
            object.__setattr__(self, "metadata", {})
        elif not isinstance(self.metadata, Mapping):
            raise InputError(f"Passage: `metadata` must be a mapping, got {shown(self.metadata)}")
        else:
            object.__setattr__(self, "metadata", dict(self.metadata))


class Span(NamedTuple):
    """Half-open character offsets ``[start, end)`` of one sentence or block in a passage.

    Args:
        start: first character.
        end: one past the last character.
        kind: what the span is in the document.
        requires: index, within the same passage, of the earlier span that must be kept with this
            one (table header, list lead-in, heading), or None. The relation is a forest, and all
            spans that require a span, directly or not, follow it without a break.
    """

    start: int
    end: int
    kind: SpanKind = "sentence"
    requires: int | None = None


class SplitPassage(NamedTuple):
    """A passage and its spans, which cover every character of its text exactly once, in order."""

    passage: Passage
    spans: tuple[Span, ...]


def unsplit(passage: Passage) -> SplitPassage:
    """Return a passage as one span, or none when it has no text."""
    return SplitPassage(passage, (Span(0, len(passage.text)),) if passage.text else ())


class DropReason(NamedTuple):
    """Which stage dropped a span and why.

    Args:
        stage: name of the stage, as in a recipe.
        reason: a short code such as ``below_threshold``; each stage documents its own.
        merged_into: for duplicates, the index of the passage that keeps the text.
    """

    stage: str
    reason: str
    merged_into: int | None = None


class Drop(NamedTuple):
    """A stretch of a passage that was left out: ``passages[passage_index].text[start:end]``."""

    passage_index: int
    start: int
    end: int
    stage: str
    reason: str
    merged_into: int | None = None


@dataclass(frozen=True, eq=False)
class Selection:
    """All spans of all passages, their scores, and which are kept.

    Spans are numbered through all passages: passage ``i`` owns spans ``first[i]:first[i + 1]``.
    Make one with `Selection.of`; change one with its methods, which return a new one.

    Args:
        query: what the user asked.
        passages: as given, in input order.
        spans: of all passages, in document order.
        first: (n_passages + 1,) int64.
        parents: (n_spans,) int64, number of the span that each span requires, -1 for none.
        order: a permutation of the passage indices, the order of the output.
        drop_of: (n_spans,) int64, `KEPT` or an index into `drops`.
        pinned: (n_spans,) bool, spans that selection must keep.
        drops: the reasons met so far.
        passage_scores: (n_passages,) float32 in [0, 1], or None before scoring.
        span_scores: (n_spans,) float32 in [0, 1], or None before scoring.
        whole_passages: whether the last cut to the budget drops passages whole.
    """

    query: str
    passages: tuple[Passage, ...]
    spans: tuple[Span, ...]
    first: IntArray
    parents: IntArray
    order: tuple[int, ...]
    drop_of: IntArray
    pinned: BoolArray
    drops: tuple[DropReason, ...] = ()
    passage_scores: FloatArray | None = None
    span_scores: FloatArray | None = None
    whole_passages: bool = False

    def __post_init__(self) -> None:
        for array in (self.first, self.parents, self.drop_of, self.pinned):
            array.setflags(write=False)

    @classmethod
    def of(cls, query: str, split: Sequence[SplitPassage]) -> Selection:
        """Return a selection in which every span is kept and nothing is scored."""
        first = np.zeros(len(split) + 1, dtype=np.int64)
        np.cumsum([len(spans) for _, spans in split], out=first[1:])
        parents = [
            -1 if span.requires is None else int(base) + span.requires
            for base, (_, spans) in zip(first, split, strict=False)
            for span in spans
        ]
        n_spans = int(first[-1])
        return cls(
            query=query,
            passages=tuple(passage for passage, _ in split),
            spans=tuple(span for _, spans in split for span in spans),
            first=first,
            parents=np.array(parents, dtype=np.int64),
            order=tuple(range(len(split))),
            drop_of=np.full(n_spans, KEPT, dtype=np.int64),
            pinned=np.zeros(n_spans, dtype=np.bool_),
        )

    @cached_property
    def kept(self) -> BoolArray:
        """(n_spans,) bool, true where a span is kept; read-only."""
        kept: BoolArray = self.drop_of == KEPT
        kept.setflags(write=False)
        return kept

    @cached_property
    def passage_of(self) -> IntArray:
        """(n_spans,) int64, index of the passage that owns each span; read-only."""
        owner = np.repeat(np.arange(len(self.passages)), np.diff(self.first))
        owner.setflags(write=False)
        return owner

    @cached_property
    def is_frame(self) -> BoolArray:
        """(n_spans,) bool, true where a span only serves others; read-only.

        A heading, table header or list lead-in that others require is a frame; a list item with
        items of its own is not.
        """
        frame = np.zeros(len(self.spans), dtype=np.bool_)
        for number in np.unique(self.parents[self.parents >= 0]).tolist():
            frame[number] = self.spans[number].kind in FRAME_KINDS
        frame.setflags(write=False)
        return frame

    def text_of(self, span: int) -> str:
        """Return the characters of a span, given its number."""
        start, end, *_ = self.spans[span]
        return self.passages[int(self.passage_of[span])].text[start:end]

    def split(self, passage_index: int) -> SplitPassage:
        """Return a passage with its spans, as scorers take it."""
        begin, end = self.first[passage_index], self.first[passage_index + 1]
        return SplitPassage(self.passages[passage_index], self.spans[begin:end])

    def kept_passages(self) -> tuple[int, ...]:
        """Return the indices of passages that have a kept span, in output order."""
        alive = set(self.passage_of[self.kept].tolist())
        return tuple(index for index in self.order if index in alive)

    def with_required(self, mask: BoolArray) -> BoolArray:
        """Return `mask` (n_spans,) together with every span that a span in it requires."""
        closed = mask.copy()
        while True:
            wanted = self.parents[closed & (self.parents >= 0)]
            if closed[wanted].all():
                return closed
            closed[wanted] = True

    def drop(
        self, mask: BoolArray, *, stage: str, reason: str, merged_into: int | None = None
    ) -> Selection:
        """Return a selection without the spans in `mask` (n_spans,).

        What requires a dropped span goes with it (reason ``required_dropped``), and so does a frame
        that nothing kept requires any more (``orphaned``), unless it is pinned.
        Pinned spans are spared, and spans dropped before keep their record.
        """
        mask = mask & ~self.pinned
        kept = self.kept & ~mask
        drop_of, drops = self.drop_of, list(self.drops)
        drop_of = _record(drop_of, drops, self.kept & mask, DropReason(stage, reason, merged_into))
        has_parent = self.parents >= 0
        if has_parent.any():
            while (cut := kept & has_parent & ~kept[self.parents]).any():
                kept &= ~cut
                drop_of = _record(drop_of, drops, cut, DropReason(stage, "required_dropped"))
            while (orphans := self._orphans(kept)).any():
                kept &= ~orphans
                drop_of = _record(drop_of, drops, orphans, DropReason(stage, "orphaned"))
        return replace(self, drop_of=drop_of, drops=tuple(drops))

    def _orphans(self, kept: BoolArray) -> BoolArray:
        in_use = np.zeros(len(kept), dtype=np.bool_)
        in_use[self.parents[kept & (self.parents >= 0)]] = True
        return kept & self.is_frame & ~in_use & ~self.pinned

    def restore(self, mask: BoolArray) -> Selection:
        """Return a selection in which `mask` (n_spans,) and what it requires is kept again."""
        drop_of = np.where(self.with_required(mask), KEPT, self.drop_of)
        return replace(self, drop_of=drop_of)

    def pin(self, mask: BoolArray) -> Selection:
        """Return a selection in which `mask` (n_spans,), and what it requires, must be kept."""
        return replace(self, pinned=self.pinned | self.with_required(mask & self.kept))

    def unpin(self) -> Selection:
        """Return a selection in which no span must be kept."""
        return replace(self, pinned=np.zeros_like(self.pinned))

    def reorder(self, order: Sequence[int]) -> Selection:
        """Return a selection whose output has its passages in another order.

        Raises:
            ContractError: `order` is not a permutation of the passage indices.
        """
        if sorted(order) != list(range(len(self.passages))):
            raise ContractError(f"reorder: not a permutation of {len(self.passages)}: {order!r}")
        return replace(self, order=tuple(order))

    def with_scores(self, passage_scores: FloatArray, span_scores: FloatArray) -> Selection:
        """Return a selection with new scores.

        Args:
            passage_scores: (n_passages,) float32 in [0, 1].
            span_scores: (n_spans,) float32 in [0, 1].

        Raises:
            ContractError: wrong shape, not finite or outside [0, 1].
        """
        for name, scores, n in (
            ("passage_scores", passage_scores, len(self.passages)),
            ("span_scores", span_scores, len(self.spans)),
        ):
            if scores.shape != (n,):
                raise ContractError(f"scorer: `{name}` must have shape ({n},), got {scores.shape}")
            bad = ~((scores >= 0) & (scores <= 1))
            if bad.any():
                raise ContractError(
                    f"scorer: `{name}` must be in [0, 1], got {scores[bad][0]!r}"
                    f" at {int(np.flatnonzero(bad)[0])}"
                )
        return replace(self, passage_scores=passage_scores, span_scores=span_scores)

    def dropped(self) -> tuple[Drop, ...]:
        """Return what was left out, in input order; neighbours with one reason are one record."""
        records: list[Drop] = []
        for number in np.flatnonzero(~self.kept).tolist():
            index, span = int(self.passage_of[number]), self.spans[number]
            why = self.drops[self.drop_of[number]]
            last = records[-1] if records else None
            if last and last[0] == index and last.end == span.start and last[3:] == why:
                records[-1] = last._replace(end=span.end)
            else:
                records.append(Drop(index, span.start, span.end, *why))
        return tuple(records)


def _record(
    drop_of: IntArray, drops: list[DropReason], mask: BoolArray, why: DropReason
) -> IntArray:
    """Return `drop_of` with `mask` pointing at `why`, which is added to `drops` when new."""
    if not mask.any():
        return drop_of
    if why not in drops:
        drops.append(why)
    return np.where(mask, drops.index(why), drop_of)
