"""Scores of the bundled model, pinned: a change of weights, tokenizer or graph is seen here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ctxpack.scoring.bundled import Swift
from ctxpack.scoring.manifest import Manifest
from ctxpack.scoring.swift import NAME
from ctxpack.selection import Passage, SplitPassage
from ctxpack.sentences import split

GOLDEN = json.loads((Path(__file__).parent / "swift_scores.json").read_text(encoding="utf-8"))
TOLERANCE = 0.02
"""Between processors: int8 products are exact, float32 ones around them are not."""


def test_version_is_the_pinned_one() -> None:
    """New weights come with new golden scores."""
    assert Manifest.load(NAME).version == GOLDEN["version"]


def test_scores_are_the_pinned_ones() -> None:
    """Relevance and spans of a few passages, within the tolerance."""
    passages = [
        SplitPassage(Passage(part["text"], title=part["title"]), split(part["text"]))
        for part in GOLDEN["passages"]
    ]
    for found, part in zip(
        Swift().score(GOLDEN["query"], passages), GOLDEN["passages"], strict=True
    ):
        np.testing.assert_allclose(found.relevance, part["relevance"], atol=TOLERANCE)
        np.testing.assert_allclose(found.spans, part["spans"], atol=TOLERANCE)
