"""The step that weighs the words of the whole call into the scores of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from ctxpack.scoring.lexical import Lexical
from ctxpack.selection import FloatArray, Selection
from ctxpack.stages.base import Call, Stage
from ctxpack.stages.score import scored

WEIGHTS: Final[Mapping[str, float]] = {
    "span": 0.73,
    "words": 0.57,
    "constant": 0.39,
}
"""What the log-odds of a span's two scores count; see `features`.

Fitted by ``python -m ctxpack.bench.fit_blend DATA`` on one half of the development records of seven
data sets, which count equally.
"""

_LEAST = 1e-6


class Blend(Stage):
    """Weigh the words of the whole call into the scores of spans.

    A pointwise scorer sees a passage alone. It cannot know which of the query's words are rare in
    this call, nor that a good span names the title of another passage: the lexical scorer can. The
    log-odds of a span are a weighted sum of its own and the lexical scorer's. There are no options.
    Passage scores stay; what has score 0, because it was not scored, too.

    Nothing changes after the deadline, or for a scorer that has seen the whole call itself, such as
    ``lexical``.

    Drops nothing.
    """

    name: ClassVar[str] = "blend"
    needs_scores: ClassVar[bool] = True

    def _apply(self, selection: Selection, call: Call) -> Selection:
        scores, passage_scores = selection.span_scores, selection.passage_scores
        if not call.scorer.pointwise or scores is None or passage_scores is None or call.expired():
            return selection
        *weights, constant = WEIGHTS.values()
        evidence = features(selection, call) @ np.array(weights) + constant
        blended = (1 / (1 + np.exp(-evidence))).astype(np.float32)
        return selection.with_scores(passage_scores, np.where(scores > 0, blended, 0))


def features(selection: Selection, call: Call) -> NDArray[np.float64]:
    """Return (n_spans, 2) log-odds: of each span by its score, and by the words of the call."""
    words = replace(call, scorer=Lexical(), expires_at=None)
    by_words = scored(selection, words, query=selection.query)
    assert selection.span_scores is not None
    assert by_words.span_scores is not None
    columns = (selection.span_scores, by_words.span_scores)
    return np.stack([_log_odds(column) for column in columns], axis=1)


def _log_odds(scores: FloatArray) -> NDArray[np.float64]:
    bounded = np.clip(scores.astype(np.float64), _LEAST, 1 - _LEAST)
    return np.log(bounded) - np.log1p(-bounded)
