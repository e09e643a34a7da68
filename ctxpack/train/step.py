"""One forward pass over a batch of texts: encode every text once, score every pair."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ctxpack.scoring.segments import Segment, Tokens
from ctxpack.train.batches import Batch
from ctxpack.train.losses import Scored, probability, ranking
from ctxpack.train.model import Encoder, Head, QuerySide, SegmentSide

STEP = 16
"""Texts are padded to a multiple of this, so that few kernels are compiled for the encoder."""
CHUNK_TOKENS = 1280
"""Padded tokens that the encoder reads at a time; texts of like length go together."""
PROBABILITY_WEIGHT = 0.2
"""Of the two binary losses, against 1 for the two rankings."""

Rarity = Callable[[NDArray[np.int64]], NDArray[np.float32]]
Autocast = Callable[[], AbstractContextManager[object]]


class Swift:
    """Encoder and head with what they need to read texts.

    Args:
        encoder: see `Encoder`.
        head: see `Head`.
        rarity: word keys to rarity in [0, 1], 0 where the key is 0.
        autocast: context in which the encoder runs.
    """

    def __init__(self, encoder: Encoder, head: Head, rarity: Rarity, autocast: Autocast) -> None:
        self.encoder = encoder
        self.head = head
        self._rarity = rarity
        self.autocast = autocast

    def queries(self, queries: Sequence[Tokens]) -> QuerySide:
        """Return the queries as the head reads them."""
        n_tokens = max(len(query.ids) for query in queries)
        words = np.zeros((len(queries), n_tokens), np.int64)
        mask = np.zeros((len(queries), n_tokens), np.float32)
        for row, query in enumerate(queries):
            words[row, : len(query.words)] = query.words
            mask[row, : len(query.words)] = 1
        vectors = torch.zeros(len(queries), n_tokens, self.encoder.query.out_features)
        for rows, part in self._encoded([query.ids for query in queries], is_query=True):
            vectors[rows, : part.shape[1]] = part[:, :n_tokens]
        return QuerySide(
            vectors * torch.as_tensor(mask)[..., None],
            torch.as_tensor(words),
            torch.as_tensor(self._rarity(words)),
            torch.as_tensor(mask),
        )

    def segments(self, segments: Sequence[Segment]) -> list[SegmentSide]:
        """Return segments as the head reads them, in the order given."""
        sides: dict[int, SegmentSide] = {}
        for rows, part in self._encoded([segment.ids for segment in segments], is_query=False):
            for row, vectors in zip(rows, part, strict=True):
                segment = segments[row]
                nodes = torch.as_tensor(segment.nodes)
                members = (nodes == torch.arange(len(segment.spans) + 1)[:, None]).float()
                words = torch.as_tensor(segment.words)
                sides[row] = SegmentSide(vectors[: len(nodes)], words, members)
        return [sides[row] for row in range(len(segments))]

    def _encoded(
        self, texts: Sequence[NDArray[np.int64]], *, is_query: bool
    ) -> Iterator[tuple[list[int], Tensor]]:
        """Yield (text numbers, their padded vectors), texts of like length together."""
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        while order:
            n_tokens = -(-len(texts[order[-1]]) // STEP) * STEP
            rows = order[-max(1, CHUNK_TOKENS // n_tokens) :]
            del order[-len(rows) :]
            ids = np.zeros((len(rows), n_tokens), np.int64)
            mask = np.zeros((len(rows), n_tokens), np.int64)
            for place, row in enumerate(rows):
                ids[place, : len(texts[row])] = texts[row]
                mask[place, : len(texts[row])] = 1
            with self.autocast():
                vectors = self.encoder(
                    torch.as_tensor(ids), torch.as_tensor(mask), is_query=is_query
                )
            yield rows, vectors


def losses(
    swift: Swift, batch: Batch, segments: Sequence[Segment], queries: Sequence[Tokens]
) -> dict[str, Tensor]:
    """Return the named losses of a batch; ``total`` is what is minimised.

    Args:
        swift: the model.
        batch: which pairs are scored, and their labels.
        segments: of the batch's units, perhaps augmented.
        queries: of the batch's questions, perhaps augmented.
    """
    sides, asked = swift.segments(segments), swift.queries(queries)
    relevance, spans = [], []
    for side, pairs in zip(sides, batch.pairs, strict=True):
        if not pairs:
            continue
        chosen = torch.tensor([pair.question for pair in pairs])
        asking = QuerySide(*(part[chosen] for part in asked))
        # In float32: its shapes all differ, and a bfloat16 kernel is compiled for every shape.
        segment_logits, span_logits = swift.head(asking, side)
        relevant = torch.tensor([float(pair.relevant) for pair in pairs])
        relevance.append(Scored(chosen, segment_logits, relevant))
        known = {row: pair.labels for row, pair in enumerate(pairs) if pair.labels is not None}
        if known:
            rows = list(known)
            labels = torch.as_tensor(np.stack(list(known.values())))
            question = chosen[rows][:, None].expand_as(labels)
            spans.append(Scored(question.flatten(), span_logits[rows].flatten(), labels.flatten()))
    return _combined(batch, _joined(relevance), _joined(spans))


def _combined(batch: Batch, relevance: Scored, spans: Scored) -> dict[str, Tensor]:
    any_of = torch.tensor([question.any_of for question in batch.questions])
    n = len(batch.questions)
    named = {
        "passage_rank": ranking(relevance, any_of),
        "span_rank": ranking(spans, any_of),
        "relevance": probability(relevance, n),
        "evidence": probability(spans, n),
    }
    total = named["passage_rank"] + named["span_rank"]
    total = total + PROBABILITY_WEIGHT * (named["relevance"] + named["evidence"])
    return {"total": total, **named}


def _joined(parts: list[Scored]) -> Scored:
    return Scored(*(torch.cat(column) for column in zip(*parts, strict=True)))
