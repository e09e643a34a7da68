"""BM25 over a fixed collection: the miner of negatives and the baseline of the evaluation."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

K1 = 0.9
B = 0.4
"""As in Anserini's defaults for passages, and as in the making of the shared data."""


class Bm25:
    """An inverted index over texts given as lists of words."""

    def __init__(self, texts: Sequence[Sequence[str | int]]) -> None:
        lengths = np.array([len(words) for words in texts], dtype=np.float64)
        norm = K1 * (1 - B + B * lengths / max(lengths.mean(), 1.0))
        postings: defaultdict[str | int, list[tuple[int, int]]] = defaultdict(list)
        for number, words in enumerate(texts):
            for word, count in Counter(words).items():
                postings[word].append((number, count))
        self._n = len(texts)
        self._postings = {}
        for word, pairs in postings.items():
            numbers, counts = np.array(pairs).T
            idf = np.log1p((self._n - len(pairs) + 0.5) / (len(pairs) + 0.5))
            self._postings[word] = (numbers, idf * counts * (K1 + 1) / (counts + norm[numbers]))

    def scores(self, query: Sequence[str | int]) -> NDArray[np.float64]:
        """Return (n_texts,) scores, at least 0."""
        scores = np.zeros(self._n)
        for word in set(query):
            if word in self._postings:
                numbers, weights = self._postings[word]
                scores[numbers] += weights
        return scores
