"""One forward pass over a batch of texts: encode every text once, score every pair."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ctxpack.scoring.segments import Query, Segment
from ctxpack.train.batches import Batch
from ctxpack.train.losses import TEMPERATURE, Scored, agreement, distillation, probability, ranking
from ctxpack.train.model import (
    Encoder,
    Head,
    QuerySide,
    SegmentSide,
    query_vectors,
    segment_vector,
)
from ctxpack.train.padding import padded

WEIGHTS = {
    "passage_rank": 1.0,
    "span_rank": 1.0,
    "relevance": 0.2,
    "evidence": 0.2,
    "distilled": 0.5,
    "order": 0.2,
    "taught_passages": 0.5,
    "taught_spans": 0.5,
}
"""What each loss counts."""

Rarity = Callable[[NDArray[np.int64]], NDArray[np.float32]]
Autocast = Callable[[], AbstractContextManager[object]]
Logits = list[tuple[Tensor, Tensor]]
"""For every segment that a query is scored against, in order: of relevance (n_asking,) and of spans
(n_asking, n_spans)."""
Extra = Callable[[Logits], dict[str, Tensor]]
"""Further losses of a batch, by name."""


class Lesson(NamedTuple):
    """A batch as it is learnt from.

    Args:
        batch: which pairs are scored, and their labels.
        segments: of the batch's units, perhaps augmented.
        queries: of the batch's questions, perhaps augmented.
    """

    batch: Batch
    segments: Sequence[Segment]
    queries: Sequence[Query]

    @property
    def asking(self) -> list[list[int]]:
        """For each segment, the queries that are scored against it."""
        return [[pair.question for pair in pairs] for pairs in self.batch.pairs]


class Scores(NamedTuple):
    """What a model says of the segments of a batch.

    Args:
        logits: see `Logits`.
        cosines: (n_queries, n_segments) of mean vectors; None where the sides are read together.
    """

    logits: Logits
    cosines: Tensor | None


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

    def scored(
        self,
        queries: Sequence[Query],
        segments: Sequence[Segment],
        asking: Sequence[Sequence[int]],
    ) -> Scores:
        """Return what the model says of segments.

        Args:
            queries: what is asked.
            segments: what is scored.
            asking: for each segment, numbers of the queries that are scored against it.
        """
        asked, sides = self.queries(queries), self.segments(segments)
        # In float32: its shapes all differ, and a bfloat16 kernel is compiled for every shape.
        logits = [
            self.head(QuerySide(*(part[torch.tensor(chosen)] for part in asked)), side)
            for side, chosen in zip(sides, asking, strict=True)
            if len(chosen)
        ]
        return Scores(
            logits, query_vectors(asked) @ torch.stack([segment_vector(s) for s in sides]).T
        )

    def queries(self, queries: Sequence[Query]) -> QuerySide:
        """Return the queries as the head reads them."""
        n_tokens = max(len(query.ids) for query in queries)
        vectors = torch.zeros(len(queries), n_tokens, self.encoder.query.out_features)
        for rows, part in self.encoded([query.ids for query in queries], is_query=True):
            vectors[rows, : part.shape[1]] = part[:, :n_tokens]
        return self.query_side(queries, vectors)

    def query_side(self, queries: Sequence[Query], vectors: Tensor) -> QuerySide:
        """Return queries with vectors (n_queries, n_query_tokens, WIDTH) as the head reads them."""
        words = np.zeros(vectors.shape[:2], np.int64)
        told = np.zeros(vectors.shape[:2], np.float32)
        mask = np.zeros(vectors.shape[:2], np.float32)
        for row, query in enumerate(queries):
            words[row, : len(query.words)] = query.words
            told[row, : len(query.told)] = query.told
            mask[row, : len(query.words)] = 1
        return QuerySide(
            vectors * torch.as_tensor(mask)[..., None],
            *map(torch.as_tensor, (words, self._rarity(words), told, mask)),
        )

    def segments(self, segments: Sequence[Segment]) -> list[SegmentSide]:
        """Return segments as the head reads them, in the order given."""
        sides: dict[int, SegmentSide] = {}
        for rows, part in self.encoded([segment.ids for segment in segments], is_query=False):
            for row, vectors in zip(rows, part, strict=True):
                segment = segments[row]
                sides[row] = self.segment_side(segment, vectors[: len(segment.ids)])
        return [sides[row] for row in range(len(segments))]

    def segment_side(self, segment: Segment, vectors: Tensor) -> SegmentSide:
        """Return a segment with vectors (n_tokens, WIDTH) as the head reads it."""
        nodes = torch.as_tensor(segment.nodes)
        members = (nodes == torch.arange(len(segment.spans) + 1)[:, None]).float()
        words, rarity = map(torch.as_tensor, (segment.words, self._rarity(segment.words)))
        return SegmentSide(vectors, words, rarity, members)

    def encoded(
        self, texts: Sequence[NDArray[np.int64]], *, is_query: bool
    ) -> Iterator[tuple[list[int], Tensor]]:
        """Yield (text numbers, their padded vectors), texts of like length together."""
        for rows, ids, mask in padded(texts):
            with self.autocast():
                yield rows, self.encoder(ids, mask, is_query=is_query)


def losses(
    swift: Swift, lesson: Lesson, cosines: Tensor | None, extra: Extra | None = None
) -> dict[str, Tensor]:
    """Return the named losses of a batch; ``total`` is what is minimised.

    Args:
        swift: the model.
        lesson: what is learnt from.
        cosines: (n, n_units), the base's own of the first n questions with every unit; None where
            they are not distilled.
        extra: gives further losses, named in `WEIGHTS`.
    """
    batch = lesson.batch
    found = swift.scored(lesson.queries, lesson.segments, lesson.asking)
    relevance, spans, irrelevant = [], [], []
    for unit, (segment_logits, span_logits) in zip(
        (unit for unit, pairs in enumerate(batch.pairs) if pairs), found.logits, strict=True
    ):
        pairs = batch.pairs[unit]
        chosen = torch.tensor([pair.question for pair in pairs])
        relevant = torch.tensor([float(pair.relevant) for pair in pairs])
        relevance.append(Scored(chosen, segment_logits, relevant))
        if cosines is not None:
            wrong = (relevant == 0) & (chosen < len(cosines))
            near = cosines[chosen[wrong], unit] / TEMPERATURE
            irrelevant.append(Scored(chosen[wrong], segment_logits[wrong], near))
        known = {row: pair.labels for row, pair in enumerate(pairs) if pair.labels is not None}
        if known:
            rows = list(known)
            labels = torch.as_tensor(np.stack(list(known.values())))
            question = chosen[rows][:, None].expand_as(labels)
            spans.append(Scored(question.flatten(), span_logits[rows].flatten(), labels.flatten()))
    named = _named(batch, _joined(relevance), _joined(spans))
    if found.cosines is not None and cosines is not None:
        named["distilled"] = distillation(found.cosines[: len(cosines)], cosines)
        # What is not relevant keeps the order that the base sees in it.
        named["order"] = agreement(_joined(irrelevant), len(batch.questions))
    if extra is not None:
        named |= extra(found.logits)
    total = sum(WEIGHTS[name] * loss for name, loss in named.items())
    return {"total": total, **named}


def _named(batch: Batch, relevance: Scored, spans: Scored) -> dict[str, Tensor]:
    any_of = torch.tensor([question.any_of for question in batch.questions])
    n = len(batch.questions)
    return {
        "passage_rank": ranking(relevance, any_of),
        "span_rank": ranking(spans, any_of),
        "relevance": probability(relevance, n),
        "evidence": probability(spans, n),
    }


def _joined(parts: list[Scored]) -> Scored:
    return Scored(*(torch.cat(column) for column in zip(*parts, strict=True)))
