"""What a scorer around another says of itself."""

from __future__ import annotations

from collections.abc import Mapping

from ctxpack.scoring.base import Scorer, languages_of, name_of, reads_evidence


class AroundScorer:
    """Base of scorers around a pointwise one: they are called and described as that one is.

    Args:
        scorer: the scorer inside.
    """

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer

    @property
    def pointwise(self) -> bool:
        """True: no other scorer is accepted inside."""
        return True

    @property
    def name(self) -> str:
        """The scorer's inside, for reports."""
        return name_of(self.scorer)

    @property
    def operating_points(self) -> Mapping[str, float]:
        """Thresholds of the scorer inside."""
        return self.scorer.operating_points

    @property
    def languages(self) -> frozenset[str] | None:
        """Those of the scorer inside."""
        return languages_of(self.scorer)

    @property
    def reads_evidence(self) -> bool:
        """Whether the scorer inside knows the query of a second hop."""
        return reads_evidence(self.scorer)

    def warm_up(self) -> None:
        """Load what the scorer inside needs."""
        self.scorer.warm_up()
