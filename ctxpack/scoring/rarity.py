"""How telling a word is: a table fixed with the model, never computed from a call."""

from __future__ import annotations

import numpy as np

from ctxpack.selection import FloatArray, IntArray


class RarityTable:
    """Rarity of words by key, ``log(n / df) / log(n)`` over the ``n`` segments of the training set.

    Args:
        keys: (n_words,) int64, sorted word keys (see `segments.word_key`).
        rarity: (n_words,) float32 in [0, 1].
    """

    def __init__(self, keys: IntArray, rarity: FloatArray) -> None:
        self.keys = keys
        self.rarity = rarity

    def __call__(self, words: IntArray) -> FloatArray:
        """Return rarities in the shape of `words`: 1 for a word unseen, 0 where no word starts."""
        place = np.searchsorted(self.keys, words).clip(max=len(self.keys) - 1)
        known = self.keys[place] == words
        rarity = np.where(known, self.rarity[place], np.float32(1))
        return np.where(words == 0, np.float32(0), rarity)
