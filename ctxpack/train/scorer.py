"""A model in training as a scorer."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ctxpack.scoring.base import PassageScores
from ctxpack.scoring.segments import WordPieces
from ctxpack.scoring.swift import Logits
from ctxpack.selection import SplitPassage
from ctxpack.train.step import Swift


class SwiftLogits:
    """Scores with a torch model; for evaluation during training."""

    def __init__(self, swift: Swift, pieces: WordPieces) -> None:
        self._swift = swift
        self._pieces = pieces

    @torch.no_grad()  # type: ignore[untyped-decorator]  # torch is Any to mypy
    def logits(self, query: str, passages: Sequence[SplitPassage]) -> list[Logits]:
        """Return the logits of every passage."""
        asked = self._swift.queries([self._pieces.query(query)])
        segments = [self._pieces.segments(passage) for passage in passages]
        sides = iter(self._swift.segments([segment for part in segments for segment in part]))
        found = []
        for passage, part in zip(passages, segments, strict=True):
            best = Logits.nothing(len(passage.spans))
            for segment in part:
                relevance, spans = self._swift.head(asked, next(sides))
                best = best.best_with(segment.spans, relevance[0], spans[0].cpu().numpy())
            found.append(best)
        return found

    def score(self, query: str, passages: Sequence[SplitPassage]) -> list[PassageScores]:
        """Return logits, not calibrated."""
        return [
            PassageScores(part.relevance, part.spans.astype("f4"))
            for part in self.logits(query, passages)
        ]
