"""Logits to probabilities, how good they are, and thresholds for an evidence-recall goal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from ctxpack.scoring.base import best_of
from ctxpack.scoring.manifest import Calibration
from ctxpack.scoring.swift import SwiftModel
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


def sample(model: SwiftModel, records: Sequence[Record]) -> Sample:
    """Return the logits of a model on records; spans of gold passages without any are left out."""
    passages: list[tuple[float, float]] = []
    rows: list[tuple[float, float, int]] = []
    n_needs = 0
    for record in records:
        asked = model.asked(record.query)
        for candidate in record.candidates:
            parts = model.segments(candidate.split)
            logits = [model.logits(asked, model.encoded(part)) for part in parts]
            found = best_of(candidate.split, parts, logits, lowest=-np.inf)
            passages.append((found.relevance, float(candidate.gold)))
            if candidate.gold and not candidate.evidence:
                continue
            for logit, is_evidence in zip(found.spans, candidate.is_evidence, strict=True):
                rows.append((logit, is_evidence, n_needs if is_evidence else -1))
                n_needs += is_evidence and not record.any_of
        n_needs += 1
    relevance, relevant = np.array(passages).T
    columns = np.array(rows)
    return Sample(relevance, relevant, *columns[np.isfinite(columns[:, 0])].T)


def fit(samples: Sequence[Sample]) -> Calibration:
    """Return the calibration that fits the samples best, each sample with the same weight."""
    return Calibration(
        relevance=_regression([(part.relevance, part.relevant) for part in samples]),
        evidence=_regression([(part.spans, part.evidence) for part in samples]),
    )


def _regression(samples: list[tuple[Floats, Floats]]) -> tuple[float, float]:
    """Return slope and offset of the logistic regression of labels on logits (Platt, 1999)."""
    logits, labels = (torch.from_numpy(np.concatenate(part)) for part in zip(*samples, strict=True))
    weights = np.concatenate([np.full(len(part), 1 / len(part)) for _, part in samples])
    line = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([line], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = functional.binary_cross_entropy_with_logits(
            line[0] * logits + line[1], labels, torch.from_numpy(weights), reduction="sum"
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


def calibration_error(found: Floats, labels: Floats) -> float:
    """Return the expected calibration error over `N_BINS` bins of equal mass (Naeini et al. 2015).

    Only probabilities of at least `LOWEST` count; 0 where there is none.
    """
    seen = found >= LOWEST
    order = np.argsort(found[seen], kind="stable")
    bins = [part for part in np.array_split(order, N_BINS) if len(part)]
    gaps = [len(part) * abs(found[seen][part].mean() - labels[seen][part].mean()) for part in bins]
    return float(sum(gaps) / max(1, seen.sum()))


def brier_skill(found: Floats, labels: Floats) -> float:
    """Return 1 for perfect probabilities, 0 for the base rate."""
    base = ((labels - labels.mean()) ** 2).mean()
    return float(1 - ((found - labels) ** 2).mean() / base)


def thresholds(calibration: Calibration, samples: Sequence[Sample]) -> dict[str, float]:
    """Return the highest thresholds that keep the share of evidence in `RECALL_GOALS`.

    The share is a mean over data sets; its one-sided 95 % bound counts, by a normal approximation
    of the binomial error of each set.
    """
    needed = [needed_probabilities(calibration, part) for part in samples]
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
