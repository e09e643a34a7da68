"""A fair queue in front of one scorer, for programs that call it from many threads.

As many threads as there are processors do the work, one segment or passage at a time, and the
calls take turns at them. Without it every caller brings a thread of its own: more threads than
processors, and memory for as many passes of the model.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, cast

from ctxpack.errors import RecipeError
from ctxpack.process import PerProcess
from ctxpack.scoring.around import AroundScorer
from ctxpack.scoring.base import (
    PassageScores,
    ScoreCall,
    Scorer,
    SegmentScorer,
    TextSegment,
    from_segments,
    has_segments,
)
from ctxpack.scoring.turns import Turns
from ctxpack.selection import SplitPassage

_ENCODINGS_A_TURN = 8
"""Encoded segments scored in one turn: together they take less time than to encode one."""


class GroupingScorer(SegmentScorer, Protocol):
    """A `SegmentScorer` that encodes several segments in one pass, for devices that gain by it."""

    def group_of(self, segment: TextSegment) -> Hashable:
        """Return what segments must share to be encoded in one pass, such as the token count.

        `encode` gives every segment of such a pass the bytes that it has when encoded alone.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is done at a time, and how long it may wait.

    Args:
        workers: most segments or passages that are worked on at a time; None for as many as the
            processors that this process may use.
        calls: most calls that take turns; the next ones stand in line, first come, first served.
            Who scores encoded segments stands in no line: that is light work.
        timeout_s: most seconds that a call waits for its results; None for no limit. It then
            raises `QueueError`, and what waits of it is not begun.
        batch: most segments that a `GroupingScorer` encodes in one pass.
        batch_wait_ms: how long such a pass waits for more segments while there is nothing else to
            do.

    Raises:
        RecipeError: a number is out of range.
    """

    workers: int | None = None
    calls: int = 16
    timeout_s: float | None = None
    batch: int = 1
    batch_wait_ms: float = 0.0

    def __post_init__(self) -> None:
        for name in ("workers", "calls", "batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise RecipeError(f"batching: `{name}` must be at least 1, got {value!r}")
        for name in ("timeout_s", "batch_wait_ms"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise RecipeError(f"batching: `{name}` must be at least 0, got {value!r}")


class BatchingScorer(AroundScorer):
    """Shares a pointwise scorer between concurrent calls; scores are the same to the byte.

    Passages are scored one by one, in turns over the calls. A call blocks until it has all scores.
    It ends early when a passage of it raises, when it is interrupted, or when its time is over, and
    then takes its waiting passages along. Nothing here knows of a pipeline's ``deadline_ms``: where
    there is one, the pipeline asks for a few passages at a time, and a call is late by their turns
    at most.

    Args:
        scorer: what scores.
        limits: how much at a time.

    Raises:
        RecipeError: the scorer looks at the whole call, or must encode in batches and cannot.
    """

    def __init__(self, scorer: Scorer, *, limits: Limits | None = None) -> None:
        if not scorer.pointwise:
            raise RecipeError(
                f"batching: a scorer must be pointwise to share work between calls, got {scorer!r}"
            )
        super().__init__(scorer)
        self.limits = Limits() if limits is None else limits
        if self.limits.batch > 1 and not hasattr(scorer, "group_of"):
            raise RecipeError(f"batching: `batch` must be 1 for {scorer!r}, which has no groups")
        # A fork copies neither threads nor the calls that wait for them.
        self._turns = PerProcess(self._new_turns)

    @property
    def fingerprint(self) -> bytes:
        """The scorer's, because nothing here changes a score; an `AttributeError` without one."""
        fingerprint: bytes = self.scorer.fingerprint  # type: ignore[attr-defined]
        return fingerprint

    @property
    def n_waiting(self) -> int:
        """How many passages or segments no worker has begun, in this process."""
        return self._turns.get().n_waiting

    def score(self, query: str, passages: Sequence[SplitPassage]) -> list[PassageScores]:
        """Return scores for every passage, in the order given.

        Raises:
            QueueError: the call has waited for too long, or `close` was called meanwhile.
            Exception: what the scorer raises.
        """
        return self.score_many([(query, passages)])[0]

    def score_many(self, calls: Sequence[ScoreCall]) -> list[list[PassageScores]]:
        """Return `score` of every call, in order; they take turns as one call."""
        pairs = [(query, passage) for query, passages in calls for passage in passages]
        scores = iter(self._turns.get().take(self._score, pairs, timeout_s=self.limits.timeout_s))
        return [[next(scores) for _ in passages] for _, passages in calls]

    def close(self) -> None:
        """End the calls that wait with a `QueueError`, then release what the scorer loaded.

        A later call loads it again.
        """
        turns = self._turns.pop()
        if turns is not None:
            turns.close()
        self.scorer.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), limits=self.limits), (self.scorer,)

    def __repr__(self) -> str:
        given = "" if self.limits == Limits() else f", limits={self.limits!r}"
        return f"{type(self).__name__}({self.scorer!r}{given})"

    def _new_turns(self) -> Turns:
        return Turns(
            _processors() if self.limits.workers is None else self.limits.workers,
            n_calls=self.limits.calls,
            max_batch=self.limits.batch,
            max_wait_s=self.limits.batch_wait_ms / 1000,
        )

    def _score(self, pairs: list[tuple[str, SplitPassage]]) -> list[PassageScores]:
        return [scores for query, one in pairs for scores in self.scorer.score(query, [one])]


class BatchingSegmentScorer(BatchingScorer):
    """A `BatchingScorer` that is a `SegmentScorer`, for one that is.

    Segments are encoded one by one or, by a `GroupingScorer`, together with segments of the same
    group, and scored a few at a time.
    """

    scorer: SegmentScorer

    def __init__(self, scorer: SegmentScorer, *, limits: Limits | None = None) -> None:
        super().__init__(scorer, limits=limits)

    def segments(self, passages: Sequence[SplitPassage]) -> list[list[TextSegment]]:
        """Return the scorer's segments of every passage, made in the caller's thread."""
        return self.scorer.segments(passages)

    def encode(self, segments: Sequence[TextSegment]) -> list[bytes]:
        """Return the encoding of every segment, in order.

        Raises:
            QueueError: the call has waited for too long, or `close` was called meanwhile.
            Exception: what the scorer raises.
        """
        group_of = cast(GroupingScorer, self.scorer).group_of if self.limits.batch > 1 else None
        return self._turns.get().take(
            self.scorer.encode, segments, group_of=group_of, timeout_s=self.limits.timeout_s
        )

    def score_encoded(self, query: str, encodings: Sequence[bytes]) -> list[PassageScores]:
        """Return the scores of every segment, in order.

        Raises:
            QueueError: the call has waited for too long, or `close` was called meanwhile.
            Exception: what the scorer raises.
        """
        turns = [
            encodings[first : first + _ENCODINGS_A_TURN]
            for first in range(0, len(encodings), _ENCODINGS_A_TURN)
        ]
        scored = self._turns.get().take(
            lambda parts: [self.scorer.score_encoded(query, part) for part in parts],
            turns,
            light=True,
            timeout_s=self.limits.timeout_s,
        )
        return [scores for part in scored for scores in part]

    def score_many(self, calls: Sequence[ScoreCall]) -> list[list[PassageScores]]:
        """Return `score` of every call, in order."""
        return [self._by_segments(query, passages) for query, passages in calls]

    def _by_segments(self, query: str, passages: Sequence[SplitPassage]) -> list[PassageScores]:
        return from_segments(
            passages,
            self.segments(passages),
            lambda segments: self.score_encoded(query, self.encode(segments)),
        )


def batching(scorer: Scorer, *, limits: Limits | None = None) -> BatchingScorer:
    """Return a scorer that shares `scorer`: a `SegmentScorer` when it is one.

    Raises:
        RecipeError: see `BatchingScorer`.
    """
    if has_segments(scorer):
        return BatchingSegmentScorer(scorer, limits=limits)
    return BatchingScorer(scorer, limits=limits)


def _processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
