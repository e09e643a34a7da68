"""The step that weighs the words of the whole call into the scores of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Final

from ctxpack.scoring.lexical import Lexical
from ctxpack.scoring.odds import weighed
from ctxpack.selection import FloatArray, Selection
from ctxpack.stages.base import Call, Stage
from ctxpack.stages.score import scored

WEIGHTS: Final[Mapping[str, float]] = {
    "span": 0.82,
    "words": 0.46,
    "constant": 0.24,
}
"""What the log-odds of a span's two scores count: its own, and that of `by_words`.

Fitted by ``python -m ctxpack.bench.fit_blend DATA`` on one half of the development records of seven
data sets, which count equally. The second hop there has evidence that these weights chose, so the
command may move them a little when it is run again.
"""


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
        return selection.with_scores(passage_scores, blended(scores, by_words(selection, call)))


def blended(scores: FloatArray, words: FloatArray) -> FloatArray:
    """Return (n_spans,) scores of a model with those of `by_words` weighed in; 0 stays 0."""
    return weighed((scores, words), WEIGHTS)


def by_words(selection: Selection, call: Call) -> FloatArray:
    """Return (n_spans,) float32 scores in [0, 1] by the words of the call.

    They are computed when they are first asked for in a call; 0 for passages without a kept span.
    """
    if not call.words:
        words = replace(call, scorer=Lexical(), expires_at=None)
        scores = scored(selection, words, query=selection.query).span_scores
        assert scores is not None
        call.words.append(scores)
    return call.words[0]
