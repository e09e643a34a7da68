"""The lexical scorer: what words alone say about which spans hold the evidence, in any language."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from ctxpack.scoring.base import ConfiguredScorer, PassageScores
from ctxpack.scoring.terms import FUNCTION_WORDS, terms
from ctxpack.selection import BoolArray, IntArray, SplitPassage

Floats = NDArray[np.float64]

WEIGHTS: Final[Mapping[str, float]] = {
    "best": 3.39,
    "title": 3.63,
    "neighbours": 0.47,
    "passage": 3.58,
    "title_asked": 2.06,
    "first": 0.73,
    "cue_missing": -2.03,
    "second_hop": 7.92,
    "competition": -0.92,
    "constant": 0.3,
}
"""What each feature adds to the log-odds that a span is evidence; see `features`.

Fitted by ``python -m ctxpack.bench.fit_lexical DATA`` on training records of seven data sets, which
count equally.
"""

OPERATING_POINTS: Final = MappingProxyType(
    {"faithful": 0.0013, "balanced": 0.0032, "aggressive": 0.0089}
)
"""The highest span scores at which 99, 97 and 93 % of the evidence is kept, the mean of eight data
sets: ``python -m ctxpack.bench.fit_lexical DATA --points``.

They keep 86, 76 and 62 % of the characters: words alone are a weak reason to drop anything. Of
calls with 20 passages on many subjects it is 57, 40 and 23 %, of a single passage nearly all.
"""

# Nothing is known of any span: too little for `aggressive`, enough for the others.
_UNKNOWN = 0.005

_LINEAR = tuple(WEIGHTS)[:-3]
_K1, _B_SPAN, _B_PASSAGE = 1.2, 0.75, 0.5
_TITLE_COUNT = 2.0
_FUNCTION_WORD = 0.1
_MAX_TERMS = 64
_HOPS_FROM = 4
_COMPETITORS = 500
"""More than the spans of nearly every call that the weights were fitted on."""

_NAME = re.compile(r"[^.!?\s] [A-Z][a-z]")
_DATE = re.compile(
    r"\b[12]\d\d\d\b|\b(?:January|February|March|April|May|June|July|August|September|October"
    r"|November|December)\b"
)
_NUMBER = re.compile(
    r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|dozen|hundred|thousand|million)\b"
)
_CUES = (
    (re.compile(r"\b(?:when|(?:what|which) (?:year|date|day|month))\b", re.IGNORECASE), _DATE),
    (re.compile(r"\bhow (?:many|much|long|old)\b", re.IGNORECASE), _NUMBER),
    (re.compile(r"\b(?:who|whose|whom|where)\b", re.IGNORECASE), _NAME),
)


@dataclass(frozen=True, slots=True)
class Matches:
    """Where the terms of a query occur in the spans and titles of one call.

    Args:
        passage_of: (n_spans,) int64, the passage of each span.
        weights: (n_terms,) float64, the share of each term in what the query asks. A term that
            occurs nowhere has a share but no column, so these add up to at most 1.
        counts: (n_spans, n_terms) float64.
        in_title: (n_passages, n_terms) bool.
        lengths: (n_spans,) float64, terms in each span, at least 1.
        asked: the terms of the query.
        titles: the terms of each passage's title, without function words.
    """

    passage_of: IntArray
    weights: Floats
    counts: Floats
    in_title: BoolArray
    lengths: Floats
    asked: frozenset[str]
    titles: list[frozenset[str]]


def find(query: str, passages: Sequence[SplitPassage]) -> Matches:
    """Return where the terms of `query` occur.

    A term that `held` of `n` spans hold weighs ``log(1 + (n - held + 0.5) / (held + 0.5))``, the
    rarity of BM25 kept positive, and a function word a tenth of it. Of a query of more than 64
    known terms the most telling stay.
    """
    texts = [passage.text[s.start : s.end] for passage, spans in passages for s in spans]
    n_spans = len(texts)
    titles = [terms(passage.title or "") for passage, _ in passages]
    asked = list(dict.fromkeys(terms(query)))
    column = {term: number for number, term in enumerate(asked)}
    cells: list[int] = []
    lengths: list[int] = []
    for row, found in enumerate([*map(terms, texts), *titles]):
        lengths.append(len(found))
        cells += [row * len(asked) + column[term] for term in found if term in column]
    cell, times = np.unique(np.array(cells, dtype=np.int64), return_counts=True)
    row_of, term_of = np.divmod(cell, max(len(asked), 1))
    held = np.bincount(term_of[row_of < n_spans], minlength=len(asked))
    weights = np.log1p((n_spans - held + 0.5) / (held + 0.5))
    weights[[term in FUNCTION_WORDS for term in asked]] *= _FUNCTION_WORD
    known = np.unique(term_of)
    known = known[np.argsort(-weights[known], kind="stable")[:_MAX_TERMS]]
    place = np.full(len(asked), len(known))
    place[known] = np.arange(len(known))
    counts = np.zeros((len(lengths), len(known) + 1))
    counts[row_of, place[term_of]] = times
    counts = counts[:, :-1]
    return Matches(
        passage_of=np.repeat(np.arange(len(passages)), [len(spans) for _, spans in passages]),
        weights=weights[known] / (weights.sum() or 1.0),
        counts=counts[:n_spans],
        in_title=counts[n_spans:] > 0,
        lengths=np.maximum(lengths[:n_spans], 1.0),
        asked=frozenset(asked),
        titles=[frozenset(title) - FUNCTION_WORDS for title in titles],
    )


def features(query: str, passages: Sequence[SplitPassage], found: Matches) -> Floats:
    """Return (n_spans, 7) float64, what is known of each span, in the order of `WEIGHTS`.

    best: BM25 of the span over the highest of the call, in [0, 1].
    title: the share of what is asked that the title of its passage holds and the span does not.
    neighbours: the share that the spans before and after hold, and span and title do not.
    passage: BM25 of the passage, with its title, over the weight of what is asked.
    title_asked: the share of the title's words that are asked, cubed: nearly all or nothing.
    first: 1 for the first span of a passage.
    cue_missing: 1 if an English query asks who, when or how many and the span has no name, date or
        number.

    BM25 is that of Robertson and Zaragoza (2009), with the usual ``k1 = 1.2``, ``b = 0.75``, for
    passages ``b = 0.5``; on the training records other values made no difference.
    """
    weights, passage_of = found.weights, found.passage_of
    own = found.counts > 0
    title = found.in_title[passage_of]
    first = np.diff(passage_of, prepend=-1) > 0
    around = np.zeros_like(own)
    around[1:] |= own[:-1] & ~first[1:, None]
    around[:-1] |= own[1:] & ~first[1:, None]
    span = _bm25(found.counts, found.lengths, _B_SPAN) @ weights
    asked = [len(title & found.asked) / max(len(title), 1) for title in found.titles]
    columns = {
        "best": span / (span.max() or 1.0),
        "title": (title & ~own) @ weights,
        "neighbours": (around & ~own & ~title) @ weights,
        "passage": _passage_bm25(found)[passage_of],
        "title_asked": np.power(asked, 3)[passage_of],
        "first": first,
        "cue_missing": _cue_missing(query, passages),
    }
    return np.stack([columns[name] for name in _LINEAR], axis=1)


def second_hop(passages: Sequence[SplitPassage], found: Matches, scores: Floats) -> Floats:
    """Return (n_spans,) float64 in [0, 1], how far a good span elsewhere leads to the passage.

    A span leads to passages of another title when it holds words of that title that the query does
    not: the answer of the first step of a question in two steps. It counts with its score in
    `scores` (n_spans,) times the squared share of the title that it holds; only the best four spans
    lead anywhere.
    """
    first = np.searchsorted(found.passage_of, np.arange(len(passages)))
    hops = np.zeros(len(passages))
    for number in np.argsort(-scores, kind="stable")[:_HOPS_FROM].tolist():
        home = int(found.passage_of[number])
        passage, spans = passages[home]
        span = spans[number - int(first[home])]
        here = frozenset(terms(passage.text[span.start : span.end]))
        for target, title in enumerate(found.titles):
            if title != found.titles[home] and not here.isdisjoint(title - found.asked):
                held = len(title & here) / len(title)
                hops[target] = max(hops[target], scores[number] * held**2)
    return hops[found.passage_of]


def evidence_scores(evidence: Floats) -> Floats:
    """Return (n_spans,) probabilities in (0, 1), given what speaks for each span of one call.

    Spans compete: the log of the summed ``exp(evidence)`` of the call is taken off each, because
    few spans of a call are evidence, however many match. This is what calibrates the scores. Only
    the best `_COMPETITORS` count, so that many spans of no interest do not hide the best.
    """
    first = max(0, len(evidence) - _COMPETITORS)
    best = np.partition(evidence, first)[first:]
    top = best.max()
    total = top + np.log(np.exp(best - top).sum())
    log_odds = evidence + WEIGHTS["competition"] * total + WEIGHTS["constant"]
    scores: Floats = 1 / (1 + np.exp(-log_odds))
    return scores


def _bm25(counts: Floats, lengths: Floats, b: float) -> Floats:
    damping = _K1 * (1 - b + b * lengths / lengths.mean())
    saturated: Floats = counts * (_K1 + 1) / (counts + damping[:, None])
    return saturated


def _passage_bm25(found: Matches) -> Floats:
    n_passages = len(found.titles)
    counts = np.where(found.in_title, _TITLE_COUNT, 0.0)
    np.add.at(counts, found.passage_of, found.counts)
    lengths = np.bincount(found.passage_of, found.lengths, n_passages).astype(np.float64)
    scores: Floats = _bm25(counts, lengths, _B_PASSAGE) @ found.weights
    return scores


def _cue_missing(query: str, passages: Sequence[SplitPassage]) -> BoolArray:
    for asks, answer in _CUES:
        if asks.search(query) is not None:
            missing = [
                answer.search(passage.text, span.start, span.end) is None
                for passage, spans in passages
                for span in spans
            ]
            return np.array(missing, dtype=np.bool_)
    return np.zeros(sum(len(spans) for _, spans in passages), dtype=np.bool_)


class Lexical(ConfiguredScorer):
    """Scores by the words that a query shares with spans, their titles and their neighbours.

    Not pointwise: how telling a word is, and which span is the best, depend on the whole call. A
    span's score is the probability that it is evidence, in (0, 1), where few spans of a call are; a
    passage is as relevant as its best span. A query of which no term occurs gives every span the
    same low score.

    Args:
        second_hop: favour passages whose title a good span names. Of questions in two steps it
            keeps 0.71 instead of 0.62 of the evidence in 10 % of the tokens, of others as much.
    """

    name: ClassVar[str] = "lexical"
    pointwise: ClassVar[bool] = False
    operating_points: ClassVar[Mapping[str, float]] = OPERATING_POINTS

    second_hop: bool = True

    def score(self, query: str, passages: Sequence[SplitPassage]) -> list[PassageScores]:
        """Return scores for every passage, in the order given."""
        scores = self._span_scores(query, passages).astype(np.float32)
        ends = np.cumsum([len(spans) for _, spans in passages])
        return [
            PassageScores(relevance=float(spans.max(initial=0)), spans=spans)
            for spans in np.split(scores, ends)[:-1]
        ]

    def _span_scores(self, query: str, passages: Sequence[SplitPassage]) -> Floats:
        found = find(query, passages)
        if not (found.counts.any() or found.in_title[found.passage_of].any()):
            return np.full(len(found.passage_of), _UNKNOWN)
        weights = np.array([WEIGHTS[name] for name in _LINEAR])
        evidence = features(query, passages, found) @ weights
        if self.second_hop:
            hops = second_hop(passages, found, evidence_scores(evidence))
            evidence += WEIGHTS["second_hop"] * hops
        return evidence_scores(evidence)
