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
N_TOKEN_FEATURES = 8
N_OVERLAP = 14
N_NODE_FEATURES = 2 * N_OVERLAP + 6 * N_VIEWS + 4 + 5 + 1
PRIOR = 6.0
"""What a cosine of 1 between a question and a segment adds to the log-odds of relevance."""


class QuerySide(NamedTuple):
    """Queries as the head reads them, padded to the longest.

    A query is a question; at a second hop, evidence that was found for it follows.

    Args:
        vectors: (n_queries, n_query_tokens, WIDTH), rows of length 1, 0 where padded.
        words: (n_queries, n_query_tokens) int64 word keys.
        rarity: (n_queries, n_query_tokens) in [0, 1], of the word that starts here, else 0.
        told: (n_queries, n_query_tokens), 1 for a token of found evidence, else 0.
        mask: (n_queries, n_query_tokens), 1 for a token, 0 for padding.
    """

    vectors: Tensor
    words: Tensor
    rarity: Tensor
    told: Tensor
    mask: Tensor


class SegmentSide(NamedTuple):
    """One segment as the head reads it.

    Args:
        vectors: (n_tokens, WIDTH), rows of length 1.
        words: (n_tokens,) int64 word keys.
        rarity: (n_tokens,) in [0, 1], of the word that starts here, else 0.
        members: (n_nodes, n_tokens), 1 where a token belongs to a node; node 0 holds the title and
            the special tokens.
    """

    vectors: Tensor
    words: Tensor
    rarity: Tensor
    members: Tensor


class _Part(NamedTuple):
    """One half of the queries, the questions or the evidence: 0 at the other half's tokens.

    Args:
        words: (n_queries, n_query_tokens), 1 where a word starts.
        rarity: (n_queries, n_query_tokens).
        same: (n_queries, n_query_tokens, n_tokens), 1 where a query's word and a segment's are one.
        mask: (n_queries, n_query_tokens), 1 for a token.
        present: (n_queries, 1), 1 where the half has a token.
    """

    words: Tensor
    rarity: Tensor
    same: Tensor
    mask: Tensor
    present: Tensor

    @classmethod
    def of(cls, query: QuerySide, same: Tensor, mask: Tensor) -> _Part:
        """Return the half of the queries that `mask` marks."""
        words = (query.words != 0).to(mask.dtype) * mask
        return cls(
            words, query.rarity * mask, same * mask[:, :, None], mask, mask.amax(1, keepdim=True)
        )

    def nearest(self, close: Tensor) -> Tensor:
        """Return (n_queries, n_tokens): how close each of the segment's tokens is to the half."""
        return (close + (self.mask[:, :, None] - 1) * 4).amax(1) * self.present

    def pooled(self, vectors: Tensor) -> Tensor:
        """Return (n_queries, WIDTH) unit vectors, the mean over the half, or 0."""
        return functional.normalize((vectors * self.mask[..., None]).sum(1), dim=-1)


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


def query_vectors(query: QuerySide) -> Tensor:
    """Return (n_queries, WIDTH) unit vectors, each the mean of a query's tokens."""
    return functional.normalize(query.vectors.sum(1), dim=-1)


def segment_vector(segment: SegmentSide) -> Tensor:
    """Return (WIDTH,) of length 1, the mean of the segment's tokens."""
    return functional.normalize(segment.vectors.sum(0), dim=-1)


class Head(nn.Module):  # type: ignore[misc]  # torch is Any to mypy
    """Logits of a segment and of its spans for several queries.

    Args:
        prior: what a cosine of 1 between the mean vectors of a question and of a segment adds to
            the relevance: `PRIOR` where those keep the cosines of a base that ranks passages.
    """

    def __init__(self, prior: float = 0.0) -> None:
        super().__init__()
        self.prior = prior
        self.views = nn.Linear(WIDTH + 1, N_VIEWS)
        self.told_views = nn.Linear(WIDTH + 1, N_VIEWS)
        self.told = nn.Parameter(torch.zeros(WIDTH))
        self.ask = nn.Linear(WIDTH, WIDTH)
        self.key = nn.Linear(WIDTH, WIDTH)
        self.value = nn.Linear(WIDTH, WIDTH)
        self.match_bias = nn.Parameter(torch.full((N_HEADS,), 2.0))
        self.told_bias = nn.Parameter(torch.full((N_HEADS,), 2.0))
        self.token_features = nn.Linear(N_TOKEN_FEATURES, WIDTH)
        self.token_norm = nn.LayerNorm(WIDTH)
        self.token_mix = feed_forward(2 * WIDTH)
        self.pool = nn.Linear(WIDTH, N_HEADS)
        self.node_features = feed_forward(WIDTH, N_NODE_FEATURES)
        self.neighbours = nn.Linear(2 * WIDTH, WIDTH)
        self.node_norm = nn.LayerNorm(WIDTH)
        self.node_attention = nn.Linear(WIDTH, 3 * WIDTH)
        self.node_mix_norm = nn.LayerNorm(WIDTH)
        self.node_mix = feed_forward(2 * WIDTH)
        self.span_out = nn.Linear(WIDTH, 1)
        self.segment_out = nn.Linear(WIDTH, 1)

    def forward(self, query: QuerySide, segment: SegmentSide) -> tuple[Tensor, Tensor]:
        """Return relevance logits (n_queries,) and span logits (n_queries, n_nodes - 1)."""
        close = query.vectors @ segment.vectors.T
        same = (query.words[:, :, None] == segment.words) & (query.words[:, :, None] != 0)
        same = same.to(close.dtype)
        asked = _Part.of(query, same, query.mask * (1 - query.told))
        told = _Part.of(query, same, query.mask * query.told)
        tokens = self._tokens(query, segment, close, (asked, told))
        nodes = self._pooled(tokens, segment.members)
        cosines = _cosines(query, segment, (asked, told))
        features = torch.cat(
            (
                _overlap(asked, segment),
                _overlap(told, segment),
                self._max_sim(query, segment.members, close, (asked, told)),
                cosines,
                _shape(asked, segment.members),
                told.present[:, None].expand(-1, segment.members.shape[0], -1),
            ),
            dim=-1,
        )
        nodes = self._mixed(nodes + self.node_features(features))
        relevance = self.segment_out(nodes[:, 0]).squeeze(-1)
        if self.prior:
            relevance = relevance + self.prior * cosines[:, 0, 1]
        return relevance, self.span_out(nodes[:, 1:]).squeeze(-1)

    def _tokens(
        self, query: QuerySide, segment: SegmentSide, close: Tensor, parts: tuple[_Part, _Part]
    ) -> Tensor:
        """Return (n_queries, n_tokens, WIDTH): what each token is in the light of the query."""
        bias = (query.mask[:, None, None] - 1) * 1e4
        found = []
        for part, weight in zip(parts, (self.match_bias, self.told_bias), strict=True):
            weighted = part.same * part.rarity[:, :, None]
            found += [part.nearest(close), weighted.amax(1), _phrases(weighted)]
            bias = bias + weight[:, None, None] * weighted.transpose(1, 2)[:, None]
        found += [parts[0].same.amax(1), segment.rarity.expand_as(found[0])]
        vectors = query.vectors + query.told[..., None] * self.told
        attended = self._attended(segment.vectors, vectors, bias)
        features = self.token_features(torch.stack(found, dim=-1))
        tokens = self.token_norm(segment.vectors + attended + features)
        return tokens + self.token_mix(tokens)

    def _attended(self, tokens: Tensor, query: Tensor, bias: Tensor) -> Tensor:
        """Return (n_queries, n_tokens, WIDTH): what the segment's tokens find in the query."""
        return _attend(self.ask(tokens)[None], self.key(query), self.value(query), bias)

    def _pooled(self, tokens: Tensor, members: Tensor) -> Tensor:
        """Return (n_queries, n_nodes, WIDTH), tokens weighted within their node by each head."""
        weights = self.pool(tokens).transpose(1, 2)
        weights = (weights[:, :, None] + (members - 1) * 1e4).softmax(-1)
        parts = tokens.unflatten(-1, (N_HEADS, -1)).transpose(1, 2)
        return (weights @ parts).transpose(1, 2).flatten(2)

    def _max_sim(
        self, query: QuerySide, members: Tensor, close: Tensor, parts: tuple[_Part, _Part]
    ) -> Tensor:
        """Return (n_queries, n_nodes, 6 * N_VIEWS): MaxSim of node, neighbourhood and segment.

        First of the questions, then of the evidence.
        """
        best = (close[:, :, None] + (members - 1) * 4).amax(-1)
        around = torch.maximum(best, torch.maximum(*_shifted(best)))
        everywhere = best.amax(-1, keepdim=True).expand_as(best)
        known = torch.cat((query.vectors, query.rarity[..., None]), dim=-1)
        found = []
        for part, views in zip(parts, (self.views, self.told_views), strict=True):
            weights = (views(known) + (part.mask[..., None] - 1) * 1e4).softmax(1)
            weights = weights * part.present[..., None]
            found += [view.transpose(1, 2) @ weights for view in (best, around, everywhere)]
        return torch.cat(found, -1)

    def _mixed(self, nodes: Tensor) -> Tensor:
        """Return nodes that know of each other."""
        before, after = _shifted(nodes.transpose(1, 2))
        sides = torch.cat((before, after), dim=1).transpose(1, 2)
        nodes = self.node_norm(nodes + self.neighbours(sides))
        ask, key, value = self.node_attention(nodes).chunk(3, dim=-1)
        nodes = self.node_mix_norm(nodes + _attend(ask, key, value, None))
        return nodes + self.node_mix(nodes)


def feed_forward(hidden: int, width_in: int = WIDTH) -> nn.Sequential:
    """Return two layers from `width_in` over `hidden` to `WIDTH` dimensions."""
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


def _phrases(weighted: Tensor) -> Tensor:
    """Return (n_queries, n_tokens): rarity of the query's word pairs that stand here in a row."""
    pairs = _pairs(weighted)
    return torch.maximum(pairs, functional.pad(pairs[:, :-1], (1, 0)))


def _pairs(weighted: Tensor) -> Tensor:
    """Return (n_queries, n_tokens): rarity of the query's word pairs that begin here."""
    pairs = torch.minimum(weighted[:, :-1, :-1], weighted[:, 1:, 1:]).amax(1)
    return functional.pad(pairs, (0, 1))


def _overlap(part: _Part, segment: SegmentSide) -> Tensor:
    """Return (n_queries, n_nodes, N_OVERLAP): which of a half's words a node's surroundings hold.

    Shares are weighted by rarity: of the half's words, and at the end of the title's and of the
    node's own.
    """
    members, same, rarity = segment.members, part.same, part.rarity
    counts = same @ members.T
    has = counts.clamp(max=1)
    before, after = _shifted(has)
    title = has[..., :1]
    near = torch.maximum(has, torch.maximum(before, after))
    everywhere = has.amax(-1, keepdim=True).expand_as(has)

    def share(found: Tensor, weight: Tensor) -> Tensor:
        total = weight.sum(1, keepdim=True).clamp(min=1e-3)
        return (found.transpose(1, 2) @ (weight / total)[..., None]).squeeze(-1)

    own, whole = share(has, rarity), share(everywhere, rarity)
    rarest = rarity.amax(1).clamp(min=1e-3)[:, None]
    weight = segment.rarity * members
    covered = same.amax(1) @ weight.T / weight.sum(1).clamp(min=1e-3)
    in_title = covered[:, :1].expand_as(own)
    return torch.stack(
        (
            own,
            share(torch.maximum(has, title), rarity),
            share(torch.maximum(near, title), rarity),
            whole,
            share(title, rarity).expand_as(own),
            share(has, part.words),
            share(has, rarity**3),
            share(near, rarity**3),
            (has * rarity[..., None]).amax(1) / rarest,
            share(torch.log1p(counts), rarity),
            (_pairs(same * rarity[:, :, None])[:, None] * members).amax(-1),
            covered,
            in_title,
            in_title**3,
        ),
        dim=-1,
    )


def _cosines(query: QuerySide, segment: SegmentSide, parts: tuple[_Part, _Part]) -> Tensor:
    """Return (n_queries, n_nodes, 4): cosines of each half with the node and with the segment.

    First those of the questions.
    """
    nodes = functional.normalize(segment.members @ segment.vectors, dim=-1)
    halves = [part.pooled(query.vectors) for part in parts]
    found = []
    for half in halves:
        own = half @ nodes.T
        found += [own, (half @ segment_vector(segment))[:, None].expand_as(own)]
    return torch.stack(found, dim=-1)


def _shape(asked: _Part, members: Tensor) -> Tensor:
    """Return (n_queries, n_nodes, 5): length and place of a node, length and rarity of a query."""
    n_nodes = members.shape[0]
    place = torch.arange(n_nodes, dtype=members.dtype) / n_nodes
    nodes = torch.stack((torch.log1p(members.sum(1)) / 5, place, 1 / (1 + n_nodes * place)), dim=-1)
    n_words = asked.words.sum(1)
    about = torch.stack((torch.log1p(n_words) / 4, asked.rarity.sum(1) / (n_words + 1)), dim=-1)
    n_queries = about.shape[0]
    return torch.cat(
        (nodes.expand(n_queries, -1, -1), about[:, None].expand(-1, n_nodes, -1)), dim=-1
    )
