"""Titles and words left out: what is scored stays scored."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from ctxpack.scoring.segments import Segment
from ctxpack.selection import Passage, SplitPassage
from ctxpack.sentences import split
from ctxpack.train import augment
from ctxpack.train.mixture import Augment
from ctxpack.train.pieces import continuations, word_pieces

TEXT = "Oats, unquestionably, are sown in the spring of every year. No. Nobody sows in August."


def segment() -> Segment:
    """Return a segment of three spans under a title; the second is one word."""
    (found,) = word_pieces().segments(
        SplitPassage(Passage(TEXT, title="Sowing of oats"), split(TEXT))
    )
    return found


def changed(seed: int, **shares: float) -> Segment:
    """Return the segment, augmented in no other way than is said."""
    only = Augment(**{"untitled": 0.0, "keywords": 0.0, "gaps": 0.0, **shares})
    return augment.segment(segment(), only, np.random.default_rng(seed))


def tokens(of: Segment) -> list[list[int]]:
    """Return ``[id, word, node]`` of every token."""
    found: list[list[int]] = np.stack((of.ids, of.words, of.nodes), axis=1).tolist()
    return found


def test_thinned_segment_keeps_every_span() -> None:
    """A word goes with all of its pieces; every span, the marks and the order stay."""
    whole, continues = segment(), continuations()
    inside = set(zip(whole.ids, whole.ids[1:], strict=False))
    lost = set()
    for seed in range(60):
        thin = changed(seed, thinned=1.0)
        assert set(thin.nodes.tolist()) == set(whole.nodes.tolist())
        assert thin.spans.tolist() == whole.spans.tolist()
        assert (thin.ids == whole.ids[-1]).sum() == (whole.ids == whole.ids[-1]).sum()
        rest = iter(tokens(whole))
        assert all(token in rest for token in tokens(thin)), "in the order of the whole"
        before = set(zip(thin.ids, thin.ids[1:], strict=False))
        assert all(pair in inside for pair in before if continues[pair[1]])
        lost |= set(whole.words.tolist()) - set(thin.words.tolist())
    assert len(lost) > 10


def test_untitled_segment_loses_only_its_title() -> None:
    """Marks at both ends and all spans stay."""
    whole, bare = segment(), changed(0, untitled=1.0)
    inside = whole.nodes > 0
    assert bare.ids[1:-1].tolist() == whole.ids[inside].tolist()
    assert (bare.ids[0], bare.ids[-1]) == (whole.ids[0], whole.ids[-1])


def test_no_share_changes_nothing() -> None:
    """Segments stay what they were for a mixture that asks for nothing."""
    assert changed(0).ids.tolist() == segment().ids.tolist()
