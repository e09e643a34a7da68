"""Forms that ctxpack-swift could have: other heads, fewer layers, query and segment together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ctxpack.scoring.rarity import RarityTable
from ctxpack.scoring.segments import Segment
from ctxpack.train.fit import Run
from ctxpack.train.mixture import FitSettings
from ctxpack.train.model import N_HEADS, WIDTH, Head, QuerySide, SegmentSide, feed_forward
from ctxpack.train.step import Swift
from ctxpack.train.weights import fresh


class NoCross(Head):
    """A head without the layer in which a segment's tokens attend to the query's."""

    def _attended(self, tokens: Tensor, query: Tensor, bias: Tensor) -> Tensor:
        return torch.zeros(())


class TwoCross(Head):
    """A head with a second layer in which a segment's tokens attend to the query's."""

    def __init__(self, prior: float = 0.0) -> None:
        super().__init__(prior)
        self.cross = nn.MultiheadAttention(WIDTH, N_HEADS, batch_first=True)
        self.cross_norm = nn.LayerNorm(WIDTH)
        self.cross_mix = feed_forward(2 * WIDTH)

    def _tokens(self, query: QuerySide, segment: SegmentSide, close: Tensor, parts: Any) -> Tensor:
        tokens = super()._tokens(query, segment, close, parts)
        vectors = query.vectors + query.told[..., None] * self.told
        attended, _ = self.cross(
            tokens, vectors, vectors, key_padding_mask=query.mask == 0, need_weights=False
        )
        tokens = self.cross_norm(tokens + attended)
        return tokens + self.cross_mix(tokens)


class NoWords(Head):
    """A head that is not told which words query and segment share."""

    def forward(self, query: QuerySide, segment: SegmentSide) -> tuple[Tensor, Tensor]:
        """See `Head.forward`."""
        blank = segment._replace(words=torch.zeros_like(segment.words))
        found: tuple[Tensor, Tensor] = super().forward(query, blank)
        return found


class SpanVectors(Head):
    """A head that reads one vector a node, the mean of its tokens' vectors, and all words."""

    def forward(self, query: QuerySide, segment: SegmentSide) -> tuple[Tensor, Tensor]:
        """See `Head.forward`."""
        nodes = functional.normalize(segment.members @ segment.vectors, dim=-1)
        spread = segment._replace(vectors=segment.members.T @ nodes)
        found: tuple[Tensor, Tensor] = super().forward(query, spread)
        return found


class Candidate(NamedTuple):
    """A form.

    Args:
        head: the kind of its head.
        n_layers: of the base that are kept; the lower three never learn.
        joint: whether it is ctxpack-mini's form, see `ctxpack.train.joint`.
    """

    head: type[Head] = Head
    n_layers: int = 6
    joint: bool = False

    def settings(self, steps: int) -> FitSettings:
        """Return how it is trained."""
        return FitSettings(
            joint=self.joint,
            steps=steps,
            head_only_steps=steps // 7,
            batch_tokens=1500,
            batch_queries=1 if self.joint else 12,
        )

    def token_bytes(self, segments: Sequence[Segment], hidden_size: int) -> float:
        """Return what a token takes in a store, a mean over segments, headers left out.

        A vector is int8 with a scale of four bytes, a word key has four bytes and a node two. Of
        the joint form, the states of the lower layers are stored.
        """
        n_vectors = n_tokens = sum(len(segment.ids) for segment in segments)
        if self.head is SpanVectors:
            n_vectors = sum(1 + len(segment.spans) for segment in segments)
        width = hidden_size if self.joint else WIDTH
        words = 0 if self.head is NoWords else 4
        return round(n_vectors * (width + 4) / n_tokens + words + 2, 1)


CANDIDATES = {
    "shipped": Candidate(),
    "no-cross": Candidate(NoCross),
    "two-cross": Candidate(TwoCross),
    "layer-3": Candidate(n_layers=3),
    "layer-3-two-cross": Candidate(TwoCross, n_layers=3),
    "span-vectors": Candidate(SpanVectors),
    "no-words": Candidate(NoWords),
    "joint": Candidate(joint=True),
}


class Trial(Run):
    """The training of a candidate; for the arguments see `Run`."""

    def __init__(
        self, candidate: Candidate, steps: int, directory: Path, base: Path, rarity: RarityTable
    ) -> None:
        self._candidate = candidate
        super().__init__(directory, base, candidate.settings(steps), rarity)

    def _fresh(self, base: Path) -> Swift:
        settings, candidate = self.settings, self._candidate
        swift = fresh(
            base, self._rarity, settings.frozen_layers, joint=settings.joint, head=candidate.head
        )
        encoder = swift.encoder.base.encoder
        encoder.layer = encoder.layer[: candidate.n_layers]
        return swift
