"""Second hops: questions asked again with evidence behind them, found rightly or wrongly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ctxpack.scoring.segments import EVIDENCE_WINDOW, Query, Segment
from ctxpack.train.batches import Batch

SINGLE_HOP = 0.15
"""Share of questions with a single evidence span that are asked again."""
ONE_RIGHT, RIGHT_AND_WRONG, TWO_RIGHT = 0.55, 0.2, 0.15
"""Shares of what a question is asked again with; the rest is evidence for nothing."""
NEAREST = 0.7
"""How often right evidence is the span that shares most words with the question."""


class _Place(NamedTuple):
    """A span of a batch: unit, and span within its segment."""

    unit: int
    span: int


def second_hops(
    batch: Batch,
    segments: Sequence[Segment],
    queries: Sequence[Query],
    rng: np.random.Generator,
) -> tuple[Batch, list[Query]]:
    """Return the batch with some questions asked a second time, and all of its queries.

    A question that needs several spans is always asked again, others now and then, so that the
    model learns both to follow evidence and not to be led astray by it. The copy has its
    question's pairs: what is evidence stays evidence.

    Args:
        batch: the first hops.
        segments: of its units.
        queries: of its questions.
        rng: source of chance.
    """
    pairs = [list(part) for part in batch.pairs]
    questions, asked = list(batch.questions), list(queries)
    for number, query in enumerate(queries):
        right, wrong = _places(batch, segments, number, query)
        several = len(right) > 1 and not batch.questions[number].any_of
        if not several and rng.random() >= SINGLE_HOP:
            continue
        found = _drawn(right, wrong, rng)
        if not found:
            continue
        for part in pairs:
            part += [pair._replace(question=len(asked)) for pair in part if pair.question == number]
        questions.append(batch.questions[number])
        asked.append(_told(query, [(segments[place.unit], place.span) for place in found]))
    return replace(batch, questions=questions, pairs=pairs), asked


def _places(
    batch: Batch, segments: Sequence[Segment], number: int, query: Query
) -> tuple[list[_Place], list[_Place]]:
    """Return the evidence of a question and what might be taken for it, nearest first."""
    shared: dict[_Place, int] = {}
    right: list[_Place] = []
    wrong: list[_Place] = []
    for unit, part in enumerate(batch.pairs):
        for pair in part:
            if pair.question != number or pair.labels is None:
                continue
            for span, label in enumerate(pair.labels):
                place = _Place(unit, span)
                (right if label else wrong).append(place)
                inside = segments[unit].nodes == 1 + span
                words = np.intersect1d(segments[unit].words[inside], query.words)
                shared[place] = int((words != 0).sum())
    right.sort(key=lambda place: -shared[place])
    wrong.sort(key=lambda place: -shared[place])
    return right, wrong[:3]


def _drawn(right: list[_Place], wrong: list[_Place], rng: np.random.Generator) -> list[_Place]:
    first = 0 if rng.random() < NEAREST or not right else int(rng.integers(len(right)))
    astray = wrong[int(rng.integers(len(wrong)))] if wrong else None
    draw = rng.random()
    if right and draw < ONE_RIGHT:
        return [right[first]]
    if right and astray and draw < ONE_RIGHT + RIGHT_AND_WRONG:
        both = [right[first], astray]
        return both if rng.random() < 0.5 else both[::-1]
    if len(right) > 1 and draw < ONE_RIGHT + RIGHT_AND_WRONG + TWO_RIGHT:
        return [right[i] for i in rng.permutation(len(right))[:2]]
    return [astray] if astray else []


def _told(query: Query, found: list[tuple[Segment, int]]) -> Query:
    """Return the query with the spans behind it, each under its passage's title."""
    room = (EVIDENCE_WINDOW - 1) // len(found)
    parts = [_tokens(segment, span) for segment, span in found]
    return query.with_evidence(
        np.concatenate([ids[:room] for ids, _ in parts]),
        np.concatenate([words[:room] for _, words in parts]),
    )


def _tokens(segment: Segment, span: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return ids and words of a title and a span."""
    special = (segment.ids == segment.ids[0]) | (segment.ids == segment.ids[-1])
    chosen = ((segment.nodes == 0) & ~special) | (segment.nodes == 1 + span)
    return segment.ids[chosen], segment.words[chosen]
