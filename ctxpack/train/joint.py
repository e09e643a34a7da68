"""ctxpack-mini in torch: query and segment are read together from the middle layers on.

The lower layers, which no training changes, read each side alone, as those of ctxpack-swift do;
the upper ones read both as one sequence (MacAvaney et al., "Efficient Document Re-Ranking for
Transformers by Precomputing Term Representations", 2020). What comes out is a vector a token, as
before, and the same head reads it: relevance and keep scores of a passage come from one pass
(Chirkova et al., "Provence", 2025).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertModel

from ctxpack.scoring.segments import Query, Segment
from ctxpack.train.model import Encoder
from ctxpack.train.padding import padded
from ctxpack.train.step import Scores, Swift

N_APART = 3
"""Layers that read query and segment apart."""


class JointEncoder(Encoder):
    """Token vectors of a query and a segment that have read each other."""

    def __init__(self, base: BertModel) -> None:
        super().__init__(base)
        self.asking = nn.Parameter(torch.zeros(base.config.hidden_size))
        """Added to the states of a query's tokens where the two are joined."""

    @torch.no_grad()  # type: ignore[untyped-decorator]  # torch is Any to mypy
    def apart(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return (n_texts, n_tokens, hidden size) states of padded ids (n_texts, n_tokens)."""
        return self._through(self.base.embeddings(input_ids=ids), mask, slice(N_APART))

    def together(self, states: Tensor, mask: Tensor, is_query: Tensor) -> Tensor:
        """Return (n_pairs, n_tokens, WIDTH) unit vectors.

        Args:
            states: (n_pairs, n_tokens, hidden size) by `apart`, a query's before its segment's.
            mask: (n_pairs, n_tokens), 1 for a token, 0 for padding.
            is_query: (n_pairs, n_tokens) bool.
        """
        states = states + is_query[..., None] * self.asking
        states = self._through(states, mask, slice(N_APART, None))
        vectors = torch.where(is_query[..., None], self.query(states), self.segment(states))
        return functional.normalize(vectors.float(), dim=-1)

    def _through(self, states: Tensor, mask: Tensor, layers: slice) -> Tensor:
        bias = (mask[:, None, None].to(states.dtype) - 1) * 1e4
        for layer in self.base.encoder.layer[layers]:
            states = layer(states, bias)
        return states


class Mini(Swift):
    """Encoder and head that score a query and a segment together."""

    encoder: JointEncoder

    def scored(
        self,
        queries: Sequence[Query],
        segments: Sequence[Segment],
        asking: Sequence[Sequence[int]],
    ) -> Scores:
        """See `Swift.scored`; every pair is read by itself."""
        texts = [*(query.ids for query in queries), *(segment.ids for segment in segments)]
        table, places = self._apart(texts)
        pairs = [(query, unit) for unit, part in enumerate(asking) for query in part]
        n_asking = [len(queries[query].ids) for query, _ in pairs]
        joined = [
            np.concatenate((places[query], places[len(queries) + unit])) for query, unit in pairs
        ]
        found: dict[int, tuple[Tensor, Tensor]] = {}
        for rows, chosen, mask in padded(joined):
            is_query = (
                torch.arange(chosen.shape[1]) < torch.tensor([n_asking[r] for r in rows])[:, None]
            )
            with self.autocast():
                vectors = self.encoder.together(table[chosen], mask, is_query)
            for row, own in zip(rows, vectors, strict=True):
                query, unit = pairs[row]
                split, end = n_asking[row], len(joined[row])
                asked = self.query_side([queries[query]], own[None, :split])
                found[row] = self.head(asked, self.segment_side(segments[unit], own[split:end]))
        logits, at = [], 0
        for part in filter(len, asking):
            own = [found[row] for row in range(at, at + len(part))]
            logits.append((torch.cat([one[0] for one in own]), torch.cat([one[1] for one in own])))
            at += len(part)
        return Scores(logits, None)

    def _apart(self, texts: Sequence[NDArray[np.int64]]) -> tuple[Tensor, list[NDArray[np.int64]]]:
        """Return the states of all texts' tokens, after a row for padding, and each text's rows."""
        ends = np.cumsum([len(text) for text in texts])
        places = [
            np.arange(end - len(text), end) + 1 for text, end in zip(texts, ends, strict=True)
        ]
        table = torch.zeros(int(ends[-1]) + 1, self.encoder.base.config.hidden_size)
        for rows, ids, mask in padded(texts):
            with self.autocast():
                states = self.encoder.apart(ids, mask)
            for row, own in zip(rows, states, strict=True):
                table[torch.as_tensor(places[row])] = own[: len(texts[row])].float()
        return table, places
