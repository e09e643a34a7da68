"""A scorer whose scores a test can predict."""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import MappingProxyType

import numpy as np
import pytest

from ctxpack.scoring.base import ConfiguredScorer, PassageScores
from ctxpack.selection import SplitPassage


class WordScorer(ConfiguredScorer):
    """Scores 0.9 where a word of the query occurs, else 0.1; a passage by its best span."""

    name = "words"
    pointwise = True
    operating_points = MappingProxyType({"faithful": 0.05, "balanced": 0.5, "aggressive": 0.8})

    def score(self, query: str, passages: Sequence[SplitPassage]) -> list[PassageScores]:
        """Return scores of 0.9 and 0.1."""
        wanted = set(re.findall(r"\w+", query.lower()))
        results = []
        for passage, spans in passages:
            texts = [passage.text[span.start : span.end].lower() for span in spans]
            scores = [0.9 if wanted & set(re.findall(r"\w+", text)) else 0.1 for text in texts]
            found = np.array(scores, dtype=np.float32)
            results.append(PassageScores(float(max(scores, default=0.0)), found))
        return results


@pytest.fixture
def scorer() -> WordScorer:
    """Return the scorer."""
    return WordScorer()
