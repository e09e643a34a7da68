"""Small selections with scores set by hand, and calls that count words."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from types import MappingProxyType

import numpy as np
import pytest

from ctxpack.render import Render, Renderer
from ctxpack.scoring.base import ConfiguredScorer, PassageScores
from ctxpack.selection import Passage, Selection, Span, SplitPassage
from ctxpack.stages.base import Call

Scores = Sequence[Sequence[float]]
Make = Callable[..., Selection]
MakeCall = Callable[..., Call]


class LengthScorer(ConfiguredScorer):
    """Scores a span by its characters over 100; a passage by its best span."""

    name = "length"
    pointwise = True
    operating_points = MappingProxyType({"faithful": 0.2, "balanced": 0.5, "aggressive": 0.8})

    def score(self, query: str, passages: Sequence[SplitPassage]) -> list[PassageScores]:
        """Return the scores."""
        lengths = [[span.end - span.start for span in spans] for _, spans in passages]
        spans = [np.array(length, dtype=np.float32) / 100 for length in lengths]
        return [PassageScores(float(max(score, default=0)), score) for score in spans]


class WordCounter:
    """Counts the words between white space."""

    name = "words"
    exact = True

    def count(self, text: str) -> int:
        """Return the words of one text."""
        return len(text.split())

    def count_many(self, texts: Sequence[str]) -> list[int]:
        """Return the words of each text."""
        return [self.count(text) for text in texts]


def sentences(text: str) -> SplitPassage:
    """Return a passage of `text` that ends a span after each full stop and its white space."""
    ends = [match.end() for match in re.finditer(r"[.。]\s*|.$", text, re.DOTALL)]
    spans = map(Span, [0, *ends[:-1]], ends)
    return SplitPassage(Passage(text), tuple(spans))


@pytest.fixture(scope="session")
def make() -> Make:
    """Return a function that makes a selection.

    It takes texts, whose spans are their sentences, and split passages; ``scores`` is one list of
    span scores for each passage, which scores its best span.
    """

    def make(*passages: str | SplitPassage, scores: Scores | None = None) -> Selection:
        split = [sentences(p) if isinstance(p, str) else p for p in passages]
        selection = Selection.of("query", split)
        if scores is None:
            return selection
        return selection.with_scores(
            np.array([max(part, default=0) for part in scores], dtype=np.float32),
            np.array([score for part in scores for score in part], dtype=np.float32),
        )

    return make


@pytest.fixture
def call_for() -> MakeCall:
    """Return a function that makes the call of a selection, of fields of `Call`."""

    def make(selection: Selection, **fields: object) -> Call:
        call: dict[str, object] = {
            "counter": WordCounter(),
            "renderer": Renderer(Render(), selection.passages),
            "scorer": LengthScorer(),
        }
        return Call(**(call | fields))  # type: ignore[arg-type]

    return make
