"""The step that scores passages and spans against the query."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ctxpack.errors import ContractError
from ctxpack.scoring.base import PassageScores
from ctxpack.selection import Selection, SplitPassage
from ctxpack.stages.base import Call, Stage

# Passages scored between two looks at the clock, when a call has a deadline.
_SLICE = 4


class Score(Stage):
    """Score every passage that has a kept span, whole, dropped spans included.

    There are no options. The other passages and their spans have score 0, and so have those that
    the deadline leaves unscored: passages are scored in input order, and the call's notes then
    hold ``deadline``. When it has passed before the first score, the selection stays as it is.

    Drops nothing.
    """

    name: ClassVar[str] = "score"

    def _apply(self, selection: Selection, call: Call) -> Selection:
        return scored(selection, call, query=selection.query)


def scored(
    selection: Selection, call: Call, *, query: str, passages: Sequence[int] | None = None
) -> Selection:
    """Return the selection with the scores of a query; see `Score` for what a deadline does.

    Args:
        selection: what to score.
        call: has the scorer.
        query: what the scorer is asked.
        passages: indices of those to score; None for all that have a kept span.

    Raises:
        ContractError: the scorer returned another number of results, or of scores.
    """
    if passages is None:
        passages = np.unique(selection.passage_of[selection.kept]).tolist()
    sliced = call.expires_at is not None and call.scorer.pointwise
    size = _SLICE if sliced else max(1, len(passages))
    passage_scores = np.zeros(len(selection.passages), dtype=np.float32)
    span_scores = np.zeros(len(selection.spans), dtype=np.float32)
    for done in range(0, len(passages), size):
        if call.expired():
            if done == 0:
                return selection
            break
        part = {index: selection.split(index) for index in passages[done : done + size]}
        for index, scores in zip(part, _scores(query, part, call), strict=True):
            passage_scores[index] = scores.relevance
            span_scores[selection.first[index] : selection.first[index + 1]] = scores.spans
    return selection.with_scores(passage_scores, span_scores)


def _scores(query: str, part: dict[int, SplitPassage], call: Call) -> list[PassageScores]:
    """Return the checked scores of the passages in `part`, in order."""
    results = call.scorer.score(query, list(part.values()))
    if len(results) != len(part):
        raise ContractError(f"scorer: must score {len(part)} passages, got {len(results)}")
    for (index, split), (_, spans) in zip(part.items(), results, strict=True):
        if np.shape(spans) != (len(split.spans),):
            raise ContractError(
                f"scorer: `spans` of passage {index} must have shape ({len(split.spans)},),"
                f" got {np.shape(spans)}"
            )
    return results
