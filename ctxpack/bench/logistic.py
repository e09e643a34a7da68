"""Weighted sums of log-odds, fitted to one half of the development records of each data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ctxpack.render import Render, Renderer
from ctxpack.scoring.base import Scorer
from ctxpack.scoring.odds import log_odds
from ctxpack.selection import BoolArray, FloatArray, Selection
from ctxpack.stages.base import Call
from ctxpack.stages.hops import Hops
from ctxpack.stages.score import Score
from ctxpack.tokens import counter_from
from ctxpack.train.export import CALIBRATION_SETS
from ctxpack.train.mixture import SHIPPED, Mixture, partition
from ctxpack.train.records import Record, parse, read

Weights = NDArray[np.float64]

_ROUNDS = 30


class Cases(NamedTuple):
    """Spans or passages that were scored.

    Args:
        features: (n, n_scores + 1) float64, the log-odds of each score, and a column of ones.
        is_evidence: (n,) 0 or 1.
        importance: (n,) float64, which lets every data set count the same.
    """

    features: NDArray[np.float64]
    is_evidence: NDArray[np.float64]
    importance: NDArray[np.float64]

    @classmethod
    def of(cls, records: Sequence[Sequence[FloatArray | BoolArray]]) -> Self:
        """Return the cases of one data set.

        Args:
            records: of each record the (n,) scores by each scorer, and last what is evidence.
        """
        *scores, is_evidence = (np.concatenate(column) for column in zip(*records, strict=True))
        features = np.hstack([log_odds(scores), np.ones((len(is_evidence), 1))])
        importance = np.full(len(is_evidence), 1 / max(1, int(is_evidence.sum())))
        return cls(features, is_evidence.astype(np.float64), importance)

    def alone(self, score: int) -> Weights:
        """Return the weights that leave one of the scores as it is."""
        weights = np.zeros(self.features.shape[1])
        weights[score] = 1
        return weights


def fit(parts: Sequence[Cases]) -> Weights:
    """Return the weights of the least log loss over data sets, by Newton steps from the first."""
    features, is_evidence, importance = (
        np.concatenate(column) for column in zip(*parts, strict=True)
    )
    weights = parts[0].alone(0)
    for _ in range(_ROUNDS):
        p = 1 / (1 + np.exp(-features @ weights))
        gradient = features.T @ (importance * (p - is_evidence))
        curved = features.T @ (features * (importance * p * (1 - p))[:, None])
        weights -= np.linalg.solve(curved + 1e-9 * np.eye(len(weights)), gradient)
    return weights


def log_loss(cases: Cases, weights: Weights) -> float:
    """Return the log loss for each piece of evidence."""
    odds = cases.features @ weights
    return float(cases.importance @ (np.logaddexp(0, odds) - cases.is_evidence * odds))


def losses(parts: Mapping[str, Cases], ways: Mapping[str, Weights]) -> dict[str, dict[str, float]]:
    """Return the log loss of each data set, and their mean, by each of some weights."""
    rows = {
        name: {way: log_loss(part, weights) for way, weights in ways.items()}
        for name, part in parts.items()
    }
    rows["mean"] = {way: sum(row[way] for row in rows.values()) / len(parts) for way in ways}
    return {name: {way: round(loss, 4) for way, loss in row.items()} for name, row in rows.items()}


def halves(folder: Path, most: int) -> Iterator[tuple[str, list[Record], list[Record]]]:
    """Yield the records to fit to and those to measure on, at most so many each, by data set."""
    sources = Mixture.load(SHIPPED).sources
    for name in CALIBRATION_SETS:
        _, raws = partition(sources[name], list(read(folder / sources[name].file)))
        step = max(1, len(raws) // (2 * most))
        records = list(map(parse, raws[::step][: 2 * most]))
        yield name, records[0::2], records[1::2]


def hopped(record: Record, scorer: Scorer) -> tuple[Selection, Call]:
    """Return a record's passages with the scores of the second hop, and the call of them."""
    passages = [candidate.passage for candidate in record.candidates]
    call = Call(
        counter=counter_from("approximate"),
        renderer=Renderer(Render(), passages),
        scorer=scorer,
    )
    selection = Selection.of(record.query, [part.split for part in record.candidates])
    return Hops()(Score()(selection, call), call), call


def labels(record: Record) -> tuple[BoolArray, BoolArray]:
    """Return (n_spans,) whether each span is evidence, and whether that is known.

    It is not known of the spans of a gold passage without evidence.
    """
    flags = [flag for candidate in record.candidates for flag in candidate.is_evidence]
    known = [
        not candidate.gold or bool(candidate.evidence)
        for candidate in record.candidates
        for _ in candidate.spans
    ]
    return np.array(flags, dtype=np.bool_), np.array(known, dtype=np.bool_)
