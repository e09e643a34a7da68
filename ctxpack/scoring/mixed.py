"""A scorer for passages in several languages: each passage by a scorer that knows its language."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ctxpack.scoring.base import PassageScores, ScoreCall, Scorer, name_of
from ctxpack.selection import FloatArray, SplitPassage


class Mixed:
    """Scores by two scorers on one scale, that of the first.

    The second one sees the whole call, and its scores are moved to where the first one's operating
    points are, linearly between them, so that a named threshold means the same for both. Not
    pointwise: neither a cache nor a second hop asks it.

    Args:
        scorer: scores the passages whose language it knows.
        other: scores the others; has operating points of the same names.
        knows: returns whether `scorer` knows the language of a text.
    """

    pointwise = False

    def __init__(self, scorer: Scorer, other: Scorer, *, knows: Callable[[str], bool]) -> None:
        self._scorer, self._other, self._knows = scorer, other, knows

    @property
    def name(self) -> str:
        """Those of both scorers, for reports."""
        return f"{name_of(self._scorer)}, {name_of(self._other)}"

    @property
    def operating_points(self) -> Mapping[str, float]:
        """Those of the first scorer."""
        return self._scorer.operating_points

    def score(self, query: str, passages: Sequence[SplitPassage]) -> list[PassageScores]:
        """Return scores for every passage, in the order given."""
        known = [self._knows(passage.text) for passage, _ in passages]
        own = [passage for passage, is_known in zip(passages, known, strict=True) if is_known]
        scores = iter(self._scorer.score(query, own))
        others = self._other.score(query, passages)
        return [
            next(scores) if is_known else self._moved(other)
            for is_known, other in zip(known, others, strict=True)
        ]

    def score_many(self, calls: Sequence[ScoreCall]) -> list[list[PassageScores]]:
        """Return `score` of every call, in order."""
        return [self.score(query, passages) for query, passages in calls]

    def warm_up(self) -> None:
        """Load what both load."""
        self._scorer.warm_up()
        self._other.warm_up()

    def close(self) -> None:
        """Release what both hold."""
        self._scorer.close()
        self._other.close()

    def _moved(self, scores: PassageScores) -> PassageScores:
        """Return the other scorer's scores on the scale of the first."""
        points = sorted((at, name) for name, at in self._other.operating_points.items())
        here = [0.0, *(at for at, _ in points), 1.0]
        there = [0.0, *(self._scorer.operating_points[name] for _, name in points), 1.0]
        spans: FloatArray = np.interp(scores.spans, here, there).astype(np.float32)
        return PassageScores(float(np.interp(scores.relevance, here, there)), spans)
