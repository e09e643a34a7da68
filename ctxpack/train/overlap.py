"""Keeping evaluation data out of training: shared queries and shared text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from zlib import crc32

from ctxpack.train.records import normalised

N_GRAM = 13
"""Words in a row that count as shared text."""
LIMIT = 0.25
"""Share of a passage's n-grams in evaluation data from which it is left out."""


class EvaluationIndex:
    """Queries and word n-grams of every evaluation record.

    Args:
        raws: the evaluation records.
        only_gold: take the n-grams of gold passages alone.
    """

    def __init__(self, raws: Iterable[dict[str, Any]], *, only_gold: bool = False) -> None:
        self._queries: set[str] = set()
        self._grams: set[int] = set()
        for raw in raws:
            self._queries.add(normalised(raw["query"]))
            for passage in raw["passages"]:
                if passage["gold"] or not only_gold:
                    self._grams.update(_grams(passage["text"]))

    def admit(self, raw: dict[str, Any]) -> dict[str, Any] | None:
        """Return a raw record without the distractors that share text with evaluation data.

        A record goes as a whole (None) when its query or one of its gold passages is shared.
        """
        if normalised(raw["query"]) in self._queries:
            return None
        shared = [self._shares(passage["text"]) for passage in raw["passages"]]
        if all(shared) or any(
            p["gold"] and bad for p, bad in zip(raw["passages"], shared, strict=True)
        ):
            return None
        passages = [p for p, bad in zip(raw["passages"], shared, strict=True) if not bad]
        return {**raw, "passages": passages}

    def _shares(self, text: str) -> bool:
        grams = _grams(text)
        return bool(grams) and len(grams & self._grams) >= LIMIT * len(grams)


def _grams(text: str) -> set[int]:
    words = normalised(text).split()
    # A checksum is enough: with 5 million n-grams one in a thousand is met by accident.
    return {
        crc32(" ".join(words[start : start + N_GRAM]).encode())
        for start in range(len(words) - N_GRAM + 1)
    }
