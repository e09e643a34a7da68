"""Augmentation: titles and words left out, and queries cut down to their telling words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ctxpack.scoring.segments import Query, Segment
from ctxpack.train.mixture import Augment

COMMON = 0.35
"""Rarity below which a word is left out of a keyword query."""
LOST_OF_QUERY, LOST_OF_SEGMENT = 0.2, 0.1
"""Shares of the words that are left out where chance says which."""


def segment(whole: Segment, shares: Augment, rng: np.random.Generator) -> Segment:
    """Return the segment, now and then without its title, or without some words."""
    if rng.random() < shares.untitled:
        keep = whole.nodes > 0
        keep[[0, -1]] = True
        whole = _part(whole, keep)
    if shares.thinned and rng.random() < shares.thinned:
        dropped = (whole.words != 0) & (rng.random(len(whole.words)) < LOST_OF_SEGMENT)
        keep = _kept(whole, dropped)
        remaining = np.bincount(whole.nodes[keep], minlength=int(whole.nodes.max()) + 1)
        whole = _part(whole, keep | (remaining == 0)[whole.nodes])  # no span is lost
    return whole


def query(
    whole: Query, rarity: NDArray[np.float32], shares: Augment, rng: np.random.Generator
) -> Query:
    """Return the query, now and then without some words.

    Args:
        whole: the query.
        rarity: (n_tokens,) of its words, 0 where no word starts.
        shares: how many queries are cut down.
        rng: source of chance.
    """
    draw = rng.random()
    if draw < shares.keywords:
        dropped = (whole.words != 0) & (rarity < COMMON)
    elif draw < shares.keywords + shares.gaps:
        dropped = (whole.words != 0) & (rng.random(len(whole.words)) < LOST_OF_QUERY)
    else:
        return whole
    keep = _kept(whole, dropped)
    if keep.sum() < 4:
        return whole
    return Query(whole.ids[keep], whole.words[keep], whole.told[keep])


def _kept(text: Query | Segment, dropped: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return (n_tokens,): what stays where words are dropped, with all up to the next word."""
    word = np.maximum.accumulate(np.where(text.words != 0, np.arange(len(text.words)), 0))
    marks = (text.ids == text.ids[0]) | (text.ids == text.ids[-1])
    kept: NDArray[np.bool_] = ~dropped[word] | marks
    return kept


def _part(whole: Segment, keep: NDArray[np.bool_]) -> Segment:
    return Segment(whole.ids[keep], whole.words[keep], whole.nodes[keep], whole.spans)
