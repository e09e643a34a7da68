from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

import numpy as np
import pytest

from ctxpack import Passage, Pipeline
from ctxpack.scoring.base import ConfiguredScorer, PassageScores, Scorer
from ctxpack.scoring.lexical import Lexical
from ctxpack.scoring.mixed import Mixed
from ctxpack.selection import SplitPassage
from ctxpack.sentences import split
from ctxpack.testing.scorers import ScorerContract

ENGLISH = "The library closes at four on Saturdays. Nobody may take magazines home."
GERMAN = "Die Bibliothek schließt samstags um vier Uhr. Zeitschriften darf niemand ausleihen."


class Constant(ConfiguredScorer):
    """Gives every passage and span the same score."""

    name = "constant"
    pointwise = True
    operating_points = MappingProxyType({"faithful": 0.1, "balanced": 0.4, "aggressive": 0.8})
    languages = frozenset({"en"})
    value: float = 0.9

    def score(self, query: str, passages: Sequence[SplitPassage]) -> list[PassageScores]:
        """Return the score for everything."""
        return [
            PassageScores(self.value, np.full(len(spans), self.value, dtype=np.float32))
            for _, spans in passages
        ]


class Coarse(Constant):
    """The same, with other operating points."""

    operating_points = MappingProxyType({"faithful": 0.2, "balanced": 0.5, "aggressive": 0.6})


class TestMixed(ScorerContract):
    @pytest.fixture
    def scorer(self) -> Scorer:
        """Return a scorer that knows ASCII texts only, with the lexical one for others."""
        return Mixed(Constant(), Lexical(), knows=str.isascii)


@pytest.mark.parametrize(
    ("value", "moved"), [(0.0, 0.0), (0.2, 0.1), (0.5, 0.4), (0.55, 0.6), (0.6, 0.8), (1.0, 1.0)]
)
def test_scores_keep_their_place_between_operating_points(value: float, moved: float) -> None:
    """A score at a named threshold of its own scorer is at the same one of the first scorer."""
    mixed = Mixed(Constant(), Coarse(value=value), knows=str.isascii)
    (scores,) = mixed.score("query", [SplitPassage(Passage(GERMAN), split(GERMAN))])
    assert scores.relevance == pytest.approx(moved)
    assert scores.spans.tolist() == pytest.approx([moved, moved])


def test_english_passages_keep_their_scorer() -> None:
    """Under `language: mixed` only the other passages go to the lexical scorer."""
    recipe = {"scorer": Constant(), "language": "mixed", "steps": ["score"]}
    pipeline = Pipeline.from_recipe(recipe)
    packed = pipeline.compress("When does the library close?", [ENGLISH, GERMAN])
    first, second = packed.passages
    assert first.score == pytest.approx(0.9)
    assert second.score != pytest.approx(0.9)
    note = "scorer: lexical for 1 of 2 passages, which are not English"
    assert packed.report["notes"] == [note]
    assert packed.sufficiency is None


def test_a_query_that_is_not_english_is_never_mixed() -> None:
    """The model knows no passage for it, in whatever language."""
    recipe = {"scorer": Constant(), "language": "mixed", "steps": ["score"]}
    packed = Pipeline.from_recipe(recipe).compress("Wann schließt die Bibliothek?", [ENGLISH])
    note = "scorer: lexical, because query or passages are not English"
    assert packed.report["notes"] == [note]
