"""Augmentation: titles left out and queries cut down to their telling words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ctxpack.scoring.segments import Query, Segment

TITLE_DROPPED = 0.15
"""Share of segments that lose their title."""
KEYWORDS_ONLY = 0.1
"""Share of queries that lose their most common words."""
WORDS_DROPPED = 0.1
"""Share of queries that lose one word in five, whichever."""
COMMON = 0.35
"""Rarity below which a word is left out of a keyword query."""


def segment(whole: Segment, rng: np.random.Generator) -> Segment:
    """Return the segment, now and then without its title."""
    if rng.random() >= TITLE_DROPPED:
        return whole
    keep = whole.nodes > 0
    keep[[0, -1]] = True
    return Segment(whole.ids[keep], whole.words[keep], whole.nodes[keep], whole.spans)


def query(whole: Query, rarity: NDArray[np.float32], rng: np.random.Generator) -> Query:
    """Return the query, now and then without some words.

    Args:
        whole: the query.
        rarity: (n_tokens,) of its words, 0 where no word starts.
        rng: source of chance.
    """
    draw = rng.random()
    if draw < KEYWORDS_ONLY:
        dropped = (whole.words != 0) & (rarity < COMMON)
    elif draw < KEYWORDS_ONLY + WORDS_DROPPED:
        dropped = (whole.words != 0) & (rng.random(len(whole.words)) < 0.2)
    else:
        return whole
    # Continuations go with the word that they continue.
    word = np.maximum.accumulate(np.where(whole.words != 0, np.arange(len(whole.words)), 0))
    keep = ~dropped[word] | (whole.ids == whole.ids[0]) | (whole.ids == whole.ids[-1])
    if keep.sum() < 4:
        return whole
    return Query(whole.ids[keep], whole.words[keep], whole.told[keep])
