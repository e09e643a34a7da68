"""What a scorer is judged by, on one record: retention at a budget, sentence AP, passage nDCG."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ctxpack.scoring.base import PassageScores
from ctxpack.train.records import Candidate, Record, normalised

Floats = NDArray[np.float64]


def retention(
    record: Record, scores: Sequence[PassageScores], token_counts: Sequence[Floats], share: float
) -> float | None:
    """Return how much of the evidence is kept when the best spans fill `share` of the tokens.

    Spans are taken best first, ties by position, as long as they fit. Where one answer is enough
    this is 1 or 0; otherwise the share of evidence ranges that are kept whole.

    Args:
        record: a record with evidence; without any the result is None.
        scores: of its passages.
        token_counts: (n_spans,) of each passage.
        share: budget as a share of all tokens, in [0, 1].
    """
    utilities = np.concatenate([part.spans for part in scores])
    counts = np.concatenate(token_counts)
    kept = np.zeros(len(counts), dtype=bool)
    left = share * counts.sum()
    for number in np.argsort(-utilities, kind="stable"):
        if counts[number] <= left:
            kept[number] = True
            left -= counts[number]
    first = np.cumsum([0] + [len(part) for part in token_counts])
    parts = [kept[a:b] for a, b in pairwise(first)]
    pairs = [pair for pair in zip(record.candidates, parts, strict=True) if pair[0].evidence]
    if not pairs:
        return None
    if record.any_of:
        return float(any(_holds_answer(candidate, part, record) for candidate, part in pairs))
    return float(np.mean([whole for candidate, part in pairs for whole in _whole(candidate, part)]))


def _holds_answer(candidate: Candidate, kept: NDArray[np.bool_], record: Record) -> bool:
    text = candidate.passage.text
    spans = [span for span, keep in zip(candidate.spans, kept, strict=True) if keep]
    shown = f" {normalised(' '.join(text[span.start : span.end] for span in spans))} "
    return any(f" {normalised(answer)} " in shown for answer in record.answers if answer)


def _whole(candidate: Candidate, kept: NDArray[np.bool_]) -> list[bool]:
    """Return whether each evidence range is kept in all its spans."""
    return [
        all(
            keep
            for span, keep in zip(candidate.spans, kept, strict=True)
            if span.start < end and start < span.end
        )
        for start, end in candidate.evidence
    ]


def average_precision(relevant: Sequence[bool], scores: ArrayLike) -> float | None:
    """Return average precision, ties by position; None without a relevant item."""
    order = np.argsort(-np.asarray(scores), kind="stable")
    hits = np.asarray(relevant, dtype=np.float64)[order]
    if not hits.any():
        return None
    precision = hits.cumsum() / np.arange(1, len(hits) + 1)
    return float((precision * hits).sum() / hits.sum())


def ndcg(grades: Sequence[int], scores: Sequence[float], cut: int = 10) -> float | None:
    """Return nDCG with linear gain (as trec_eval), ideal among the given passages."""
    gains = np.asarray(grades, dtype=np.float64)
    if not gains.any():
        return None
    discount = 1 / np.log2(np.arange(2, min(cut, len(gains)) + 2))
    got = gains[np.argsort(-np.asarray(scores), kind="stable")][:cut] @ discount
    return float(got / (np.sort(gains)[::-1][:cut] @ discount))
