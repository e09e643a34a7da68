"""The step that asks again, with the best evidence found so far behind the query."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from ctxpack.scoring.base import extended, reads_evidence, under_title
from ctxpack.scoring.odds import log_odds, probabilities
from ctxpack.selection import Selection
from ctxpack.stages.base import Call, Stage
from ctxpack.stages.blend import blended, by_words
from ctxpack.stages.score import scored


class Hops(Stage):
    """Score again, with the best evidence so far behind the query.

    The answer to a question in two steps often stands in a passage that shares no word with the
    question, but with the evidence of its first step. The scores of spans are those of the last
    hop: the scorer knows the question and what was found. The log-odds of a passage are the mean
    over all hops, because what was found speaks for the passage it was found in, right or wrong.
    With a segment cache a hop costs no encoding.

    A hop that the deadline cuts short leaves the scores as they were. Nothing changes for a scorer
    that does not declare `reads_evidence`, such as ``lexical``, which hops by itself.

    Args:
        hops: scorings in all, the first included, 2 to 4; default 2.
        evidence: spans, 1 to 4, that stand behind the query, each under the title of its passage;
            default 2. They are the best by the model and the words of the call, as `blend` has it.

    Drops nothing.
    """

    name: ClassVar[str] = "hops"
    value_option: ClassVar[str | None] = "hops"
    needs_scores: ClassVar[bool] = True

    hops: int = Field(default=2, ge=2, le=4)
    evidence: int = Field(default=2, ge=1, le=4)

    def _apply(self, selection: Selection, call: Call) -> Selection:
        if not reads_evidence(call.scorer):
            return selection
        hops = [selection]
        for _ in range(1, self.hops):
            evidence = [] if call.expired() else found(hops[-1], call, self.evidence)
            if not evidence:
                break
            after = scored(hops[-1], call, query=extended(selection.query, evidence))
            if call.expired():
                break
            hops.append(after)
        return hops[0] if len(hops) == 1 else _together(hops)


def _together(hops: Sequence[Selection]) -> Selection:
    """Return the last of several scorings of the same passages, with the relevance of all."""
    last = hops[-1]
    columns = []
    for hop in hops:
        assert hop.passage_scores is not None
        columns.append(hop.passage_scores)
    relevance = np.zeros(len(last.passages), dtype=np.float32)
    asked = list(last.kept_passages())
    relevance[asked] = probabilities(log_odds(columns).mean(axis=1))[asked]
    assert last.span_scores is not None
    return last.with_scores(relevance, last.span_scores)


def found(selection: Selection, call: Call, count: int) -> list[str]:
    """Return the best kept spans that score above 0, at most `count`, each under its title.

    The best are those that `blend` would put first: what a model and the words of the call both
    speak for is seldom wrong. For a scorer that is not pointwise, those that score highest.
    """
    scores = selection.span_scores
    if scores is None or not count:
        return []
    if call.scorer.pointwise:
        scores = blended(scores, by_words(selection, call))
    ranked = np.argsort(-np.where(selection.kept, scores, 0), kind="stable")[:count]
    return [
        under_title(selection.passages[selection.passage_of[number]], selection.spans[number])
        for number in ranked.tolist()
        if selection.kept[number] and scores[number] > 0
    ]
