"""A model in training as a scorer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from ctxpack.scoring.base import PassageScores, TextSegment, best_of
from ctxpack.scoring.segments import WordPieces
from ctxpack.selection import SplitPassage
from ctxpack.train.step import Swift


class SwiftLogits:
    """Scores with a torch model; for evaluation during training."""

    def __init__(self, swift: Swift, pieces: WordPieces) -> None:
        self._swift = swift
        self._pieces = pieces

    @torch.no_grad()  # type: ignore[untyped-decorator]  # torch is Any to mypy
    def score(self, query: str, passages: Sequence[SplitPassage]) -> list[PassageScores]:
        """Return logits, not calibrated; ``-inf`` for what has no token."""
        parts = [self._segments(passage) for passage in passages]
        scores = self._scored(query, [segment for part in parts for segment in part])
        return [
            best_of(passage, part, islice(scores, len(part)), lowest=-np.inf)
            for passage, part in zip(passages, parts, strict=True)
        ]

    def _segments(self, passage: SplitPassage) -> list[TextSegment]:
        whole = TextSegment.of(passage)
        return [whole.part(start, end) for start, end in self._pieces.cuts(whole)]

    def _scored(
        self, query: str, segments: Sequence[TextSegment]
    ) -> Iterator[tuple[float, NDArray[np.float32]]]:
        """Yield the scores of every segment."""
        asked = self._pieces.query(query)
        read = [self._pieces.read(segment) for segment in segments]
        asking = [[0] if len(segment.spans) else [] for segment in read]
        logits = iter(self._swift.scored([asked], read, asking).logits)
        for text, segment in zip(segments, read, strict=True):
            found: NDArray[np.float32] = np.full(len(text.ends), -np.inf, np.float32)
            relevance = -np.inf
            if len(segment.spans):
                logit, spans = next(logits)
                relevance, found[segment.spans] = float(logit[0]), spans[0].cpu().numpy()
            yield relevance, found
