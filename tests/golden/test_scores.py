"""Scores of the bundled models, pinned: a change of weights, tokenizer or graph is seen here.

``python tests/golden/test_scores.py`` pins them again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctxpack.scoring.base import PassageScores
from ctxpack.scoring.bundled import BUNDLED
from ctxpack.scoring.manifest import Manifest
from ctxpack.selection import Passage, SplitPassage
from ctxpack.sentences import split

HERE = Path(__file__).parent
QUERY = "When was the harbour bridge at Lund opened to traffic?"
PASSAGES = (
    Passage(
        "The harbour bridge at Lund was designed by Karin Ek. Work began in 1928."
        " It was opened to traffic on 4 May 1931, two years late.",
        title="Lund harbour",
    ),
    Passage(
        "Lund is a town of 9,000 people. Its fish market is the oldest on the coast.", title="Lund"
    ),
    Passage(
        "The bridge of Tarn carries a railway."
        " It was opened in 1902 and rebuilt after the flood of 1954."
    ),
    Passage("Bread is baked from flour, water and salt. Let the dough rest for an hour."),
)
TOLERANCE = 0.02
"""Between processors: int8 products are exact, float32 ones around them are not."""

MODELS = pytest.mark.parametrize("name", BUNDLED)


def scores(name: str) -> list[PassageScores]:
    """Return what a model says of the passages."""
    splits = [SplitPassage(passage, split(passage.text)) for passage in PASSAGES]
    return BUNDLED[name]().score(QUERY, splits)


def pinned(name: str) -> dict[str, Any]:
    """Return what it said when its weights came into the package."""
    found: dict[str, Any] = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
    return found


@MODELS
def test_version_is_the_pinned_one(name: str) -> None:
    """New weights come with new golden scores."""
    assert Manifest.load(name).version == pinned(name)["version"]


@MODELS
def test_scores_are_the_pinned_ones(name: str) -> None:
    """Relevance and spans of a few passages, within the tolerance."""
    for found, wanted in zip(scores(name), pinned(name)["passages"], strict=True):
        np.testing.assert_allclose(found.relevance, wanted["relevance"], atol=TOLERANCE)
        np.testing.assert_allclose(found.spans, wanted["spans"], atol=TOLERANCE)


def pin(name: str) -> None:
    """Write what a model says now."""
    found = {
        "version": Manifest.load(name).version,
        "passages": [
            {"relevance": round(one.relevance, 4), "spans": [round(float(v), 4) for v in one.spans]}
            for one in scores(name)
        ],
    }
    (HERE / f"{name}.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    for each in BUNDLED:
        pin(each)
