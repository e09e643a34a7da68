"""What a scorer is: relevance of passages and of their spans to a query."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict

from ctxpack.selection import FloatArray, SplitPassage


class PassageScores(NamedTuple):
    """Scores of one passage, higher is better.

    Args:
        relevance: of the whole passage, in [0, 1].
        spans: (n_spans,) float32 in [0, 1], one score per span of the passage.
    """

    relevance: float
    spans: FloatArray


ScoreCall = tuple[str, Sequence[SplitPassage]]


class Scorer(Protocol):
    """Scores passages and their spans against a query; safe to call from many threads."""

    @property
    def pointwise(self) -> bool:
        """Whether the scores of a passage depend on (query, passage) alone.

        Only such a scorer may be cached, or batched with other calls.
        """
        ...

    @property
    def operating_points(self) -> Mapping[str, float]:
        """Thresholds on span scores by name (``faithful``, ``balanced``, ``aggressive``)."""
        ...

    def score(self, query: str, passages: Sequence[SplitPassage]) -> list[PassageScores]:
        """Return scores for every passage, in the order given."""
        ...

    def score_many(self, calls: Sequence[ScoreCall]) -> list[list[PassageScores]]:
        """Return `score` of every call, in order; the same numbers as one by one."""
        ...

    def warm_up(self) -> None:
        """Load what scoring needs, so that the first call is not slower than the others."""
        ...

    def close(self) -> None:
        """Release what `warm_up` or a call loaded; a later call loads it again."""
        ...


class ConfiguredScorer(BaseModel, ABC):
    """Base of scorers that a recipe can name: frozen options, nothing loaded on construction."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: ClassVar[str]
    pointwise: ClassVar[bool]
    operating_points: ClassVar[Mapping[str, float]]

    @abstractmethod
    def score(self, query: str, passages: Sequence[SplitPassage]) -> list[PassageScores]:
        """Return scores for every passage, in the order given."""

    def score_many(self, calls: Sequence[ScoreCall]) -> list[list[PassageScores]]:
        """Return `score` of every call, in order."""
        return [self.score(query, passages) for query, passages in calls]

    def warm_up(self) -> None:
        """Load nothing: there is nothing to load."""

    def close(self) -> None:
        """Release nothing: there is nothing to release."""
