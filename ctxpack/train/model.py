"""The two halves of ctxpack-swift in torch: the query-independent encoder and the light head.

The encoder turns a text into one small vector a token, with no knowledge of the other side. The
head reads the vectors and the words of a query and of a segment, in four steps: how close tokens
are (late interaction, MaxSim: Khattab & Zaharia, "ColBERT", 2020) and which words they share,
weighted by rarity; one cross-attention layer from the segment's tokens to the query's; one vector
a node (a span, or node 0 for the title and the segment as a whole); one self-attention layer over
nodes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertModel

WIDTH = 128
"""Dimensions of a token vector."""
N_HEADS = 4
N_VIEWS = 4
"""Ways in which a query's tokens are weighted for MaxSim."""
N_TOKEN_FEATURES = 4
N_NODE_FEATURES = 16 + 3 * N_VIEWS


class QuerySide(NamedTuple):
    """Queries as the head reads them, padded to the longest.

    Args:
        vectors: (n_queries, n_query_tokens, WIDTH), rows of length 1, 0 where padded.
        words: (n_queries, n_query_tokens) int64 word keys.
        rarity: (n_queries, n_query_tokens) in [0, 1], of the word that starts here, else 0.
        mask: (n_queries, n_query_tokens), 1 for a token, 0 for padding.
    """

    vectors: Tensor
    words: Tensor
    rarity: Tensor
    mask: Tensor


class SegmentSide(NamedTuple):
    """One segment as the head reads it.

    Args:
        vectors: (n_tokens, WIDTH), rows of length 1.
        words: (n_tokens,) int64 word keys.
        members: (n_nodes, n_tokens), 1 where a token belongs to a node; node 0 holds the title and
            the special tokens.
    """

    vectors: Tensor
    words: Tensor
    members: Tensor


class Encoder(nn.Module):  # type: ignore[misc]  # torch is Any to mypy
    """Token vectors of texts: the base's hidden states, projected and scaled to length 1."""

    def __init__(self, base: BertModel) -> None:
        super().__init__()
        self.base = base
        self.segment = nn.Linear(base.config.hidden_size, WIDTH, bias=False)
        self.query = nn.Linear(base.config.hidden_size, WIDTH, bias=False)

    def forward(self, ids: Tensor, mask: Tensor, *, is_query: bool) -> Tensor:
        """Return (n_texts, n_tokens, WIDTH) unit vectors for padded ids (n_texts, n_tokens)."""
        states = self.base(input_ids=ids, attention_mask=mask).last_hidden_state
        project = self.query if is_query else self.segment
        return functional.normalize(project(states).float(), dim=-1)


class Head(nn.Module):  # type: ignore[misc]  # torch is Any to mypy
    """Logits of a segment and of its spans for several queries."""

    def __init__(self) -> None:
        super().__init__()
        self.views = nn.Linear(WIDTH + 1, N_VIEWS)
        self.ask = nn.Linear(WIDTH, WIDTH)
        self.key = nn.Linear(WIDTH, WIDTH)
        self.value = nn.Linear(WIDTH, WIDTH)
        self.match_bias = nn.Parameter(torch.full((N_HEADS,), 2.0))
        self.token_features = nn.Linear(N_TOKEN_FEATURES, WIDTH)
        self.token_norm = nn.LayerNorm(WIDTH)
        self.token_mix = _feed_forward(2 * WIDTH)
        self.pool = nn.Linear(WIDTH, N_HEADS)
        self.node_features = _feed_forward(WIDTH, N_NODE_FEATURES)
        self.neighbours = nn.Linear(2 * WIDTH, WIDTH)
        self.node_norm = nn.LayerNorm(WIDTH)
        self.node_attention = nn.Linear(WIDTH, 3 * WIDTH)
        self.node_mix_norm = nn.LayerNorm(WIDTH)
        self.node_mix = _feed_forward(2 * WIDTH)
        self.span_out = nn.Linear(WIDTH, 1)
        self.segment_out = nn.Linear(WIDTH, 1)

    def forward(self, query: QuerySide, segment: SegmentSide) -> tuple[Tensor, Tensor]:
        """Return relevance logits (n_queries,) and span logits (n_queries, n_nodes - 1)."""
        close = query.vectors @ segment.vectors.T
        same = (query.words[:, :, None] == segment.words) & (query.words[:, :, None] != 0)
        same = same.to(close.dtype)
        tokens = self._tokens(query, segment, close, same)
        nodes = self._pooled(tokens, segment.members)
        features = torch.cat(
            (
                _overlap(query, segment, same),
                self._max_sim(query, segment.members, close),
                _shape(query, segment.members),
            ),
            dim=-1,
        )
        nodes = self._mixed(nodes + self.node_features(features))
        return self.segment_out(nodes[:, 0]).squeeze(-1), self.span_out(nodes[:, 1:]).squeeze(-1)

    def _tokens(
        self, query: QuerySide, segment: SegmentSide, close: Tensor, same: Tensor
    ) -> Tensor:
        """Return (n_queries, n_tokens, WIDTH): what each token is in the light of the query."""
        weighted = same * query.rarity[:, :, None]
        features = torch.stack(
            (close.amax(1), weighted.amax(1), same.amax(1), _phrases(query, weighted)), dim=-1
        )
        bias = (query.mask[:, None, None] - 1) * 1e4
        bias = bias + self.match_bias[:, None, None] * weighted.transpose(1, 2)[:, None]
        attended = _attend(
            self.ask(segment.vectors)[None],
            self.key(query.vectors),
            self.value(query.vectors),
            bias,
        )
        tokens = self.token_norm(segment.vectors + attended + self.token_features(features))
        return tokens + self.token_mix(tokens)

    def _pooled(self, tokens: Tensor, members: Tensor) -> Tensor:
        """Return (n_queries, n_nodes, WIDTH), tokens weighted within their node by each head."""
        weights = self.pool(tokens).transpose(1, 2)
        weights = (weights[:, :, None] + (members - 1) * 1e4).softmax(-1)
        parts = tokens.unflatten(-1, (N_HEADS, -1)).transpose(1, 2)
        return (weights @ parts).transpose(1, 2).flatten(2)

    def _max_sim(self, query: QuerySide, members: Tensor, close: Tensor) -> Tensor:
        """Return (n_queries, n_nodes, 3 * N_VIEWS): MaxSim of node, neighbourhood and segment."""
        weights = self.views(torch.cat((query.vectors, query.rarity[..., None]), dim=-1))
        weights = (weights + (query.mask[..., None] - 1) * 1e4).softmax(1)
        best = (close[:, :, None] + (members - 1) * 4).amax(-1)
        around = torch.maximum(best, torch.maximum(*_shifted(best)))
        everywhere = best.amax(-1, keepdim=True).expand_as(best)
        return torch.cat(
            [view.transpose(1, 2) @ weights for view in (best, around, everywhere)], -1
        )

    def _mixed(self, nodes: Tensor) -> Tensor:
        """Return nodes that know of each other."""
        before, after = _shifted(nodes.transpose(1, 2))
        sides = torch.cat((before, after), dim=1).transpose(1, 2)
        nodes = self.node_norm(nodes + self.neighbours(sides))
        ask, key, value = self.node_attention(nodes).chunk(3, dim=-1)
        nodes = self.node_mix_norm(nodes + _attend(ask, key, value, None))
        return nodes + self.node_mix(nodes)


def _feed_forward(hidden: int, width_in: int = WIDTH) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width_in, hidden), nn.GELU(), nn.Linear(hidden, WIDTH))


def _attend(ask: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    """Return multi-head attention of (n, n_asking, WIDTH) on (n, n_keys, WIDTH)."""
    ask, key, value = (
        part.unflatten(-1, (N_HEADS, -1)).transpose(1, 2) for part in (ask, key, value)
    )
    logits = ask @ key.transpose(2, 3) / (WIDTH / N_HEADS) ** 0.5
    if bias is not None:
        logits = logits + bias
    return (logits.softmax(-1) @ value).transpose(1, 2).flatten(2)


def _shifted(nodes: Tensor) -> tuple[Tensor, Tensor]:
    """Return (n, width, n_nodes) moved by one node each way; node 0 has no neighbours."""
    spans = nodes[..., 1:]
    before = functional.pad(spans[..., :-1], (2, 0))
    after = functional.pad(spans[..., 1:], (1, 1))
    return before, after


def _phrases(query: QuerySide, weighted: Tensor) -> Tensor:
    """Return (n_queries, n_tokens): rarity of the query's word pairs that stand here in a row."""
    pairs = torch.minimum(weighted[:, :-1, :-1], weighted[:, 1:, 1:]).amax(1)
    return torch.maximum(functional.pad(pairs, (0, 1)), functional.pad(pairs, (1, 0)))


def _overlap(query: QuerySide, segment: SegmentSide, same: Tensor) -> Tensor:
    """Return (n_queries, n_nodes, 11): which of the query's words a node and its surroundings hold.

    Shares are of the query's words weighted by rarity.
    """
    counts = same @ segment.members.T
    has = counts.clamp(max=1)
    before, after = _shifted(has)
    title = has[..., :1]
    near = torch.maximum(has, torch.maximum(before, after))
    everywhere = has.amax(-1, keepdim=True).expand_as(has)
    is_word = (query.words != 0).to(has.dtype)

    def share(part: Tensor, weight: Tensor) -> Tensor:
        total = weight.sum(1, keepdim=True).clamp(min=1e-3)
        return (part.transpose(1, 2) @ (weight / total)[..., None]).squeeze(-1)

    rarity = query.rarity
    own, whole = share(has, rarity), share(everywhere, rarity)
    rarest = rarity.amax(1).clamp(min=1e-3)[:, None]
    phrase = torch.minimum(
        rarity[:, :-1, None] * same[:, :-1, :-1], rarity[:, 1:, None] * same[:, 1:, 1:]
    ).amax(1)
    phrase = functional.pad(phrase, (0, 1))[:, None] * segment.members
    return torch.stack(
        (
            own,
            share(torch.maximum(has, title), rarity),
            share(torch.maximum(near, title), rarity),
            whole,
            share(title, rarity).expand_as(own),
            share(has, is_word),
            share(has, rarity**3),
            share(near, rarity**3),
            (has * rarity[..., None]).amax(1) / rarest,
            share(torch.log1p(counts), rarity),
            phrase.amax(-1),
        ),
        dim=-1,
    )


def _shape(query: QuerySide, members: Tensor) -> Tensor:
    """Return (n_queries, n_nodes, 5): length and place of a node, length and rarity of a query."""
    n_nodes = members.shape[0]
    place = torch.arange(n_nodes, dtype=members.dtype) / n_nodes
    nodes = torch.stack((torch.log1p(members.sum(1)) / 5, place, 1 / (1 + n_nodes * place)), dim=-1)
    n_words = (query.words != 0).to(members.dtype).sum(1)
    asked = torch.stack((torch.log1p(n_words) / 4, query.rarity.sum(1) / (n_words + 1)), dim=-1)
    n_queries = asked.shape[0]
    return torch.cat(
        (nodes.expand(n_queries, -1, -1), asked[:, None].expand(-1, n_nodes, -1)), dim=-1
    )
