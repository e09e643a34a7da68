"""Logits to probabilities, how good they are, and thresholds for an evidence-recall goal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from ctxpack.scoring.base import PassageScores, best_of, extended, under_title
from ctxpack.scoring.manifest import Calibration
from ctxpack.scoring.model import Model
from ctxpack.stages.hops import Hops
from ctxpack.train.records import Record

RECALL_GOALS = {"faithful": 0.99, "balanced": 0.97, "aggressive": 0.93}
N_BINS = 15
LOWEST = 0.05
"""Probabilities below are not looked at by the calibration error: most spans are there, rightly."""

Floats = NDArray[np.float64]


class Sample(NamedTuple):
    """Logits with their labels, from the records of one data set.

    Args:
        relevance: (n_passages,) passage logits.
        relevant: (n_passages,) 0 or 1.
        spans: (n_spans,) span logits.
        evidence: (n_spans,) 0 or 1.
        need: (n_spans,) number of what is needed: spans with the same number stand for each other,
            because one answer is enough; -1 where a span is no evidence.
    """

    relevance: Floats
    relevant: Floats
    spans: Floats
    evidence: Floats
    need: Floats


def pooled(samples: Sequence[Sample]) -> Sample:
    """Return the samples of several data sets as one, in which each passage and span counts once.

    What is needed stays apart, with new numbers.
    """
    needs, n_needs = [], 0
    for part in samples:
        needs.append(np.where(part.need < 0, -1, part.need + n_needs))
        n_needs += int(part.need.max(initial=-1)) + 1
    joined = Sample(*(np.concatenate(column) for column in zip(*samples, strict=True)))
    return joined._replace(need=np.concatenate(needs))


def sample(model: Model[Any], records: Sequence[Record]) -> Sample:
    """Return the logits of a model on records, at the first hop and at the second.

    Spans of gold passages without evidence are left out, and what has no token.
    """
    passages: list[tuple[float, float]] = []
    rows: list[tuple[float, float, int]] = []
    n_needs = 0
    for record in records:
        for hop in _hops(model, record):
            for candidate, found in zip(record.candidates, hop, strict=True):
                passages.append((found.relevance, float(candidate.gold)))
                if candidate.gold and not candidate.evidence:
                    continue
                for logit, is_evidence in zip(found.spans, candidate.is_evidence, strict=True):
                    rows.append((logit, is_evidence, n_needs if is_evidence else -1))
                    n_needs += is_evidence and not record.any_of
            n_needs += 1
    read, spans = (part[np.isfinite(part[:, 0])] for part in (np.array(passages), np.array(rows)))
    return Sample(*read.T, *spans.T)


def _hops(model: Model[Any], record: Record) -> Iterator[list[PassageScores]]:
    """Yield what the model finds in each passage: for the query, then with the best spans behind.

    As `ctxpack.stages.hops` asks.
    """
    splits = [candidate.split for candidate in record.candidates]
    parts = [model.segments(split) for split in splits]
    encodings = [[model.encoded(segment) for segment in part] for part in parts]

    def asked(query: str) -> list[PassageScores]:
        read = model.asked(query)
        return [
            best_of(split, part, [model.logits(read, one) for one in encoded], lowest=-np.inf)
            for split, part, encoded in zip(splits, parts, encodings, strict=True)
        ]

    first = asked(record.query)
    yield first
    ranked = sorted(
        (-float(score), passage, span)
        for passage, found in enumerate(first)
        for span, score in enumerate(found.spans)
        if np.isfinite(score)
    )
    best = [
        under_title(splits[passage].passage, splits[passage].spans[span])
        for _, passage, span in ranked[: Hops().evidence]
    ]
    if best:
        yield asked(extended(record.query, best))


def fit(samples: Sequence[Sample]) -> Calibration:
    """Return the calibration that fits the samples best, each sample with the same weight."""
    return Calibration(
        relevance=_regression([(part.relevance, part.relevant) for part in samples]),
        evidence=_regression([(part.spans, part.evidence) for part in samples]),
    )


def _regression(samples: list[tuple[Floats, Floats]]) -> tuple[float, float]:
    """Return slope and offset of the logistic regression of labels on logits.

    With the targets of Platt ("Probabilistic outputs for support vector machines", 1999), so that
    a few samples that happen to be separable do not lead to certainty. Logits stay as they are
    where all labels are the same.
    """
    logits, labels = (torch.from_numpy(np.concatenate(part)) for part in zip(*samples, strict=True))
    if len(labels.unique()) < 2:
        return 1.0, 0.0
    n_positive = labels.sum()
    targets = torch.where(
        labels > 0, (n_positive + 1) / (n_positive + 2), 1 / (len(labels) - n_positive + 2)
    )
    weights = np.concatenate([np.full(len(part), 1 / len(part)) for _, part in samples])
    line = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([line], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = functional.binary_cross_entropy_with_logits(
            line[0] * logits + line[1], targets, torch.from_numpy(weights), reduction="sum"
        )
        value.backward()
        return value

    optimiser.step(loss)
    slope, offset = line.tolist()
    return slope, offset


def probabilities(calibration: Calibration, part: Sample) -> Floats:
    """Return (n_spans,) probabilities of evidence."""
    slope, offset = calibration.evidence
    return np.asarray(1 / (1 + np.exp(-(slope * part.spans + offset))))


def reliability(found: Floats, labels: Floats) -> list[tuple[float, float, int]]:
    """Return (mean probability, share of evidence, number of spans) of each bin.

    There are `N_BINS` bins of equal mass (Naeini et al. 2015), of probabilities of at least
    `LOWEST`; fewer where there are not so many.
    """
    seen = found >= LOWEST
    order = np.argsort(found[seen], kind="stable")
    return [
        (float(found[seen][part].mean()), float(labels[seen][part].mean()), len(part))
        for part in np.array_split(order, N_BINS)
        if len(part)
    ]


def calibration_error(found: Floats, labels: Floats) -> float:
    """Return the expected calibration error over the bins of `reliability`; 0 without a bin."""
    bins = reliability(found, labels)
    gaps = [n * abs(probability - share) for probability, share, n in bins]
    return float(sum(gaps) / max(1, sum(n for *_, n in bins)))


def brier_skill(found: Floats, labels: Floats) -> float:
    """Return 1 for perfect probabilities, 0 for the base rate; labels of both kinds are needed."""
    base = ((labels - labels.mean()) ** 2).mean()
    return float(1 - ((found - labels) ** 2).mean() / base)


def thresholds(calibration: Calibration, samples: Sequence[Sample]) -> dict[str, float]:
    """Return the highest thresholds that keep the share of evidence in `RECALL_GOALS`.

    The share is a mean over data sets; its one-sided 95 % bound counts, by a normal approximation
    of the binomial error of each set. Sets without evidence do not count; one must have some.
    """
    needed = [needed_probabilities(calibration, part) for part in samples if part.evidence.any()]
    grid = np.arange(1, 10_000) / 10_000
    found = {}
    for name, goal in RECALL_GOALS.items():
        met = [value for value in grid if _recall_bound(needed, value) >= goal]
        found[name] = float(max(met, default=grid[0]))
    return found


def needed_probabilities(calibration: Calibration, part: Sample) -> Floats:
    """Return (n_needs,) probabilities: of each evidence span, or the best where one is enough."""
    is_evidence = part.evidence == 1
    _, number = np.unique(part.need[is_evidence], return_inverse=True)
    best = np.zeros(number.max(initial=-1) + 1)
    np.maximum.at(best, number, probabilities(calibration, part)[is_evidence])
    return best


def _recall_bound(needed: Sequence[Floats], threshold: float) -> float:
    recalls = np.array([(part >= threshold).mean() for part in needed])
    counts = np.array([len(part) for part in needed])
    error = np.sqrt((recalls * (1 - recalls) / counts).sum()) / len(counts)
    return float(recalls.mean() - 1.645 * error)
