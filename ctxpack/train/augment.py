"""Augmentation: titles left out and queries cut down to their telling words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ctxpack.scoring.segments import Query, Segment
from ctxpack.train.mixture import Augment

COMMON = 0.35
"""Rarity below which a word is left out of a keyword query."""


def segment(whole: Segment, shares: Augment, rng: np.random.Generator) -> Segment:
    """Return the segment, now and then without its title."""
    if rng.random() >= shares.untitled:
        return whole
    keep = whole.nodes > 0
    keep[[0, -1]] = True
    return Segment(whole.ids[keep], whole.words[keep], whole.nodes[keep], whole.spans)


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
        dropped = (whole.words != 0) & (rng.random(len(whole.words)) < 0.2)
    else:
        return whole
    # Continuations go with the word that they continue.
    word = np.maximum.accumulate(np.where(whole.words != 0, np.arange(len(whole.words)), 0))
    keep = ~dropped[word] | (whole.ids == whole.ids[0]) | (whole.ids == whole.ids[-1])
    if keep.sum() < 4:
        return whole
    return Query(whole.ids[keep], whole.words[keep], whole.told[keep])
