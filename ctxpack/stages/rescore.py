"""The step that asks a second, slower scorer about the best passages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Final, NamedTuple

import numpy as np
from pydantic import Field, InstanceOf

from ctxpack.scoring.base import ConfiguredScorer, Scorer, extended, reads_evidence
from ctxpack.scoring.bundled import Mini
from ctxpack.scoring.odds import weighed
from ctxpack.selection import BoolArray, FloatArray, Selection
from ctxpack.stages.base import Call, Stage
from ctxpack.stages.hops import found
from ctxpack.stages.score import scored

WEIGHTS: Final[Mapping[str, Mapping[str, float]]] = {
    "span": {"own": 0.6, "second": 0.5, "constant": -0.2},
    "passage": {"own": 0.24, "second": 0.95, "constant": -0.9},
}
"""What the log-odds of a span's, and of a passage's, two scores count: its own, and the second's.

Fitted by ``python -m ctxpack.bench.fit_rescore DATA`` on one half of the development records of
seven data sets, which count equally.
"""


class Again(NamedTuple):
    """What the second scorer says of some passages and of their spans.

    Args:
        passages: (n_passages,) bool, which it was asked about.
        passage_scores: (n_passages,) float32, 0 for the others.
        span_scores: (n_spans,) float32, 0 for those of the others.
    """

    passages: BoolArray
    passage_scores: FloatArray
    span_scores: FloatArray


class Rescore(Stage):
    """Ask a second scorer about the best passages, and weigh what it says into their scores.

    The first scorer reads every passage, the second, which knows better and takes longer, only the
    passages that matter. The log-odds of a span and of a passage are a weighted sum of both
    scorers'. The other passages keep their scores, as does what has score 0, because there was
    nothing to score.

    Passages are taken by passage score, best first, equal ones by position, until the next one
    would pass `tokens`. A passage is never cut: if the best one alone is longer, nothing changes,
    and the report says so.

    Nothing changes for a first scorer that looks at the whole call, such as ``lexical``, which
    also has the calls in other languages, nor where the second scorer does not know the language.
    What the deadline cuts short leaves the scores as they were.

    A named threshold of a later `prune` stays the first scorer's. With the weights that are fitted
    for the bundled models it then keeps fewer spans: see the decision about this step.

    Args:
        scorer: the second scorer, a pointwise one; default ``ctxpack-mini``.
        tokens: most tokens, 1 or more, that the texts of its passages have together; default 2000.
        evidence: spans, 0 to 4, that stand behind the query as in `hops`, if the second scorer
            reads evidence; default 2; 0 asks the plain query.

    Drops nothing.
    """

    name: ClassVar[str] = "rescore"
    value_option: ClassVar[str | None] = "tokens"
    needs_scores: ClassVar[bool] = True

    scorer: InstanceOf[ConfiguredScorer] = Field(default_factory=Mini)
    tokens: int = Field(default=2000, ge=1)
    evidence: int = Field(default=2, ge=0, le=4)

    def check(self, scorer: Scorer) -> None:
        """Check that the second scorer scores passages one by one."""
        if not self.scorer.pointwise:
            raise ValueError(
                f"`scorer` must be pointwise; {self.scorer.name!r} looks at the whole call"
            )

    def again(self, selection: Selection, call: Call) -> Again | None:
        """Return what the second scorer says of the best passages of a scored selection.

        None if it is not asked, or the deadline passes meanwhile.
        """
        scorer = call.others.get(self.scorer, self.scorer)
        if not scorer.pointwise:
            call.notes.append(f"rescore: not done, {self.scorer.name} does not know the language")
            return None
        best = self._best(selection, call)
        if not best or call.expired():
            return None
        evidence = found(selection, call, self.evidence) if reads_evidence(scorer) else []
        query = extended(selection.query, evidence) if evidence else selection.query
        after = scored(selection, replace(call, scorer=scorer), query=query, passages=best)
        if call.expired():
            return None
        asked = np.zeros(len(selection.passages), dtype=np.bool_)
        asked[best] = True
        assert after.passage_scores is not None
        assert after.span_scores is not None
        return Again(asked, after.passage_scores, after.span_scores)

    def _apply(self, selection: Selection, call: Call) -> Selection:
        passages, spans = selection.passage_scores, selection.span_scores
        if passages is None or spans is None or not call.scorer.pointwise:
            return selection
        again = self.again(selection, call)
        if again is None:
            return selection
        call.rescored_by.append(self.scorer.name)
        of_passages = weighed((passages, again.passage_scores), WEIGHTS["passage"])
        of_spans = weighed((spans, again.span_scores), WEIGHTS["span"])
        return selection.with_scores(
            np.where(again.passages, of_passages, passages),
            np.where(again.passages[selection.passage_of], of_spans, spans),
        )

    def _best(self, selection: Selection, call: Call) -> list[int]:
        """Return the indices of the best passages that have at most `tokens` together."""
        scores = selection.passage_scores
        assert scores is not None
        ranked = sorted(selection.kept_passages(), key=lambda index: (-scores[index], index))
        counts = call.counter.count_many([selection.passages[index].text for index in ranked])
        best = ranked[: int((np.cumsum(counts) <= self.tokens).sum())]
        if ranked and not best:
            call.notes.append(f"rescore: not done, {counts[0]} tokens in the best passage")
        return best
