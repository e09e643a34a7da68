"""Augmentation of names: in a batch, rare names stand for others, the same in all of its texts.

A thousand questions that need two passages are soon known by the names in them. Renamed, they
must be answered from what the texts say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ctxpack.scoring.rarity import RarityTable
from ctxpack.scoring.segments import Query, Segment, Tokens
from ctxpack.train.pieces import continuations, word_pieces

MIN_SEEN = 2
"""Fewest places within sentences that tell whether a word is a name."""
MIN_CAPITAL = 0.9
"""Share of them at which it begins with a capital letter."""
MIN_RARITY = 0.5
"""Least rarity of a name that is replaced: what the base knows of common ones is kept."""
RENAMED = 0.6
"""Share of the names of a renamed batch that are replaced."""
ENDS = frozenset(".!?:;|\"'“”‘’([{-–—*\n")
"""Marks behind which a capital letter says nothing."""

Ints = NDArray[np.int64]


class Spellings:
    """Which words begin with a capital letter within sentences.

    Args:
        continues: (n_vocabulary,) see `pieces.continuations`.
    """

    def __init__(self, continues: NDArray[np.bool_]) -> None:
        self._continues = continues
        self._places: dict[int, int] = {}
        self._capitals: dict[int, int] = {}
        self._ids: dict[int, Ints] = {}

    @classmethod
    def of(cls, texts: Iterable[str]) -> Self:
        """Return the spellings in texts."""
        found, pieces = cls(continuations()), word_pieces()
        for text in texts:
            found.add(text, pieces.tokens(text))
        return found

    def add(self, text: str, tokens: Tokens) -> None:
        """Count the words of a text, given its word pieces."""
        for at in np.flatnonzero(tokens.words).tolist():
            start = int(tokens.starts[at])
            before = text[max(start - 3, 0) : start].rstrip(" ")[-1:]
            if not before or before in ENDS or not text[start].isalpha():
                continue
            key = int(tokens.words[at])
            self._places[key] = self._places.get(key, 0) + 1
            self._capitals[key] = self._capitals.get(key, 0) + text[start].isupper()
            if key not in self._ids:
                self._ids[key] = tokens.ids[at : _end(tokens.ids, at, self._continues)]

    def names(self, rarity: RarityTable) -> Names:
        """Return the names that are rare enough to be replaced, in the order of their keys."""
        found = [
            key
            for key, seen in sorted(self._places.items())
            if seen >= MIN_SEEN and self._capitals[key] >= MIN_CAPITAL * seen
        ]
        keys = np.array(found, np.int64)
        keys = keys[rarity(keys) >= MIN_RARITY]
        return Names(keys, [self._ids[key] for key in keys.tolist()], self._continues)


class _Name(NamedTuple):
    """A name.

    Args:
        key: of the word.
        ids: its word pieces.
    """

    key: int
    ids: Ints


class Names:
    """Names that may stand for one another.

    Args:
        keys: (n_names,) sorted word keys.
        ids: word pieces of each.
        continues: (n_vocabulary,) see `pieces.continuations`.
    """

    def __init__(self, keys: Ints, ids: Sequence[Ints], continues: NDArray[np.bool_]) -> None:
        self.keys = keys
        self._ids = ids
        self._continues = continues

    def renamed(
        self, segments: Sequence[Segment], queries: Sequence[Query], rng: np.random.Generator
    ) -> tuple[list[Segment], list[Query]]:
        """Return the texts of a batch, with `RENAMED` of the names in them replaced by others.

        Args:
            segments: of the batch; a renamed one may have more tokens than the window.
            queries: of the batch.
            rng: source of chance.
        """
        texts = [text.words for text in segments] + [text.words for text in queries]
        words = np.unique(np.concatenate(texts))
        here = np.intersect1d(words, self.keys)
        chosen = here[rng.random(len(here)) < RENAMED].tolist()
        foreign = np.flatnonzero(~np.isin(self.keys, here))
        donors = rng.permutation(foreign)[: len(chosen)].tolist()
        other = {
            key: _Name(int(self.keys[donor]), self._ids[donor])
            for key, donor in zip(chosen, donors, strict=False)
        }
        return (
            [self._segment(segment, other) for segment in segments],
            [self._query(query, other) for query in queries],
        )

    def _segment(self, whole: Segment, other: Mapping[int, _Name]) -> Segment:
        ids, words, nodes = self._replaced(whole.ids, whole.words, whole.nodes, other)
        return replace(whole, ids=ids, words=words, nodes=nodes)

    def _query(self, whole: Query, other: Mapping[int, _Name]) -> Query:
        return Query(*self._replaced(whole.ids, whole.words, whole.told, other))

    def _replaced(
        self, ids: Ints, words: Ints, marks: Ints, other: Mapping[int, _Name]
    ) -> tuple[Ints, Ints, Ints]:
        """Return ids, word keys and marks with names replaced; a name has the marks of its word."""
        parts: list[tuple[Ints, Ints, Ints]] = []
        done = 0
        for at in np.flatnonzero(words).tolist():
            name = other.get(int(words[at]))
            if name is None:
                continue
            key = np.zeros(len(name.ids), np.int64)
            key[0] = name.key
            parts.append((ids[done:at], words[done:at], marks[done:at]))
            parts.append((name.ids, key, np.full(len(key), marks[at])))
            done = _end(ids, at, self._continues)
        parts.append((ids[done:], words[done:], marks[done:]))
        new_ids, new_words, new_marks = map(np.concatenate, zip(*parts, strict=True))
        return new_ids, new_words, new_marks


def _end(ids: Ints, at: int, continues: NDArray[np.bool_]) -> int:
    """Return the place behind the word that starts at a place."""
    end = at + 1
    while end < len(ids) and continues[ids[end]]:
        end += 1
    return end
