"""What scorers share: parts of passages, scores from segments, fingerprints."""

from __future__ import annotations

import numpy as np
import pytest

from ctxpack.scoring.base import (
    ConfiguredScorer,
    PassageScores,
    TextSegment,
    _version_of,
    best_of,
    fingerprint_of,
)
from ctxpack.selection import Passage, Span, SplitPassage

PASSAGE = SplitPassage(Passage("abcdefghi"), (Span(0, 3), Span(3, 6), Span(6, 9)))


@pytest.mark.parametrize(
    ("cut", "text", "ends", "first"),
    [
        ((0, 9), "abcdefghi", (3, 6, 9), 0),
        ((0, 6), "abcdef", (3, 6), 0),
        ((3, 9), "defghi", (3, 6), 1),
        ((2, 4), "cd", (1, 2), 0),
        ((4, 5), "e", (1,), 1),
    ],
)
def test_part_has_the_spans_that_it_is_of(
    cut: tuple[int, int], text: str, ends: tuple[int, ...], first: int
) -> None:
    """A cut span counts, with the end that it has in the part."""
    assert TextSegment.of(PASSAGE).part(*cut) == TextSegment("", text, ends, first)


def test_scores_are_the_best_of_the_segments() -> None:
    """Of a span in two segments, and of the passage; what is in none has the lowest score."""
    whole = TextSegment.of(PASSAGE)
    parts = [whole.part(0, 3), whole.part(0, 6)]
    scores = [
        PassageScores(0.5, np.array([0.75], np.float32)),
        PassageScores(0.25, np.array([0.5, 0.125], np.float32)),
    ]
    relevance, spans = best_of(PASSAGE, parts, scores)
    assert (relevance, spans.tolist()) == (0.5, [0.75, 0.125, 0.0])
    assert spans.dtype == np.float32


class Plain(ConfiguredScorer):
    """A scorer with an option."""

    name = "plain"
    pointwise = True
    operating_points = {"balanced": 0.5}  # noqa: RUF012 - declared as a class variable
    option: int = 1

    def score(self, query: object, passages: object) -> list[PassageScores]:
        """Return nothing."""
        return []


class Other(Plain):
    """Another class with the same option."""


def test_fingerprint_changes_with_all_that_changes_scores() -> None:
    """Class, options, and whatever else an author names."""
    scorers = (Plain(), Plain(option=2), Other())
    prints = [*(one.fingerprint for one in scorers), fingerprint_of(Plain(), "weights")]
    prints += [fingerprint_of(Plain(), "wei", "ghts")]
    assert len(set(prints)) == 5
    assert Plain().fingerprint == Plain(option=1).fingerprint


def test_fingerprint_has_the_options_of_a_scorer_inside() -> None:
    """An option may be a scorer whose class the field does not name."""

    class Outer(Plain):
        inner: ConfiguredScorer

    assert Outer(inner=Plain()).fingerprint != Outer(inner=Plain(option=2)).fingerprint


def test_fingerprint_changes_with_the_version_of_a_base(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a scorer inherits, and ctxpack does for it, may change its scores."""
    prints = []
    for version in ("1.0", "2.0"):
        monkeypatch.setattr("ctxpack.__version__", version)
        _version_of.cache_clear()
        prints.append(Plain().fingerprint)
    monkeypatch.undo()
    _version_of.cache_clear()
    assert prints[0] != prints[1]


def test_fingerprint_changes_with_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package's version is in the fingerprint of its scorers."""
    before = Plain().fingerprint
    monkeypatch.setattr("ctxpack.scoring.base._version_of", lambda module: "2.0")
    assert Plain().fingerprint != before
