"""How likely it is that the passages of a call hold an answer at all."""

from __future__ import annotations

from ctxpack.scoring.base import Scorer
from ctxpack.selection import FloatArray


def sufficiency(scorer: Scorer, passage_scores: FloatArray | None) -> float | None:
    """Return the highest score of a passage, in [0, 1]; 0 without passages.

    None before scoring, and for a scorer that is not pointwise: it compares the passages of a call
    with each other, so that the best of them scores high even where none is good.

    Give it the scores for the query alone: that of a second hop holds evidence, which its own
    passage matches. It is as good a probability as the scorer's relevance, and tells a part of an
    answer from a whole one as badly; docs/benchmarks.md has numbers.

    Args:
        scorer: what gave the scores.
        passage_scores: (n_passages,) float32 in [0, 1], None when nothing scored them.
    """
    if passage_scores is None or not scorer.pointwise:
        return None
    return float(passage_scores.max(initial=0.0))
