"""Fits the blend of scores: ``python -m ctxpack.bench.fit_blend DATA``, a folder of JSONL files.

Prints `WEIGHTS` fitted to every other development record of each data set, and the log loss of the
blend and of the model alone on the others.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ctxpack.render import Render, Renderer
from ctxpack.scoring.bundled import Swift
from ctxpack.selection import Selection
from ctxpack.stages.base import Call
from ctxpack.stages.blend import WEIGHTS, features
from ctxpack.stages.hops import Hops
from ctxpack.stages.score import Score
from ctxpack.tokens import counter_from
from ctxpack.train.evaluate import evaluation_records
from ctxpack.train.export import CALIBRATION_SETS
from ctxpack.train.mixture import SHIPPED, Mixture
from ctxpack.train.records import Record, parse

N_RECORDS = 60
"""Most records of a set for each half."""
_ROUNDS = 30
ALONE = np.array([1.0, 0.0, 0.0])
"""Weights that leave scores as they are."""


class Spans(NamedTuple):
    """The spans of some records.

    Args:
        features: (n_spans, 3) float64, see `ctxpack.stages.blend.features`, and a column of ones.
        is_evidence: (n_spans,) 0 or 1.
        importance: (n_spans,) float64, which lets every data set count the same.
    """

    features: NDArray[np.float64]
    is_evidence: NDArray[np.float64]
    importance: NDArray[np.float64]


def spans_of(records: Sequence[Record]) -> Spans:
    """Return the spans of one data set's records.

    Those of gold passages are left out where it is not known which are evidence.
    """
    rows, labels = [], []
    for record in records:
        selection = Selection.of(record.query, [part.split for part in record.candidates])
        passages = [candidate.passage for candidate in record.candidates]
        call = Call(
            counter=counter_from("approximate"),
            renderer=Renderer(Render(), passages),
            scorer=Swift(),
        )
        selection = Hops()(Score()(selection, call), call)
        known = [
            not candidate.gold or bool(candidate.evidence)
            for candidate in record.candidates
            for _ in candidate.spans
        ]
        flags = [flag for candidate in record.candidates for flag in candidate.is_evidence]
        rows.append(features(selection, call)[known])
        labels.append(np.array(flags, dtype=np.float64)[known])
    matrix = np.concatenate(rows)
    matrix = np.hstack([matrix, np.ones((len(matrix), 1))])
    is_evidence = np.concatenate(labels)
    return Spans(matrix, is_evidence, np.full(len(matrix), 1 / max(1.0, is_evidence.sum())))


def fit(spans: Spans) -> NDArray[np.float64]:
    """Return the (3,) weights of the least log loss, by Newton steps."""
    weights = ALONE.copy()
    for _ in range(_ROUNDS):
        p = 1 / (1 + np.exp(-spans.features @ weights))
        gradient = spans.features.T @ (spans.importance * (p - spans.is_evidence))
        curved = spans.features * (spans.importance * p * (1 - p))[:, None]
        weights -= np.linalg.solve(spans.features.T @ curved + 1e-9 * np.eye(3), gradient)
    return weights


def log_loss(spans: Spans, weights: NDArray[np.float64]) -> float:
    """Return the log loss for each evidence span, a mean over data sets."""
    odds = spans.features @ weights
    return float(spans.importance @ (np.logaddexp(0, odds) - spans.is_evidence * odds))


def _joined(parts: Sequence[Spans]) -> Spans:
    matrix, is_evidence, importance = (
        np.concatenate(column) for column in zip(*parts, strict=True)
    )
    return Spans(matrix, is_evidence, importance / len(parts))


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit, write JSON to standard output, and return 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DATA")
    folder = parser.parse_args(arguments).folder
    fitted, measured = [], []
    raws = evaluation_records(Mixture.load(SHIPPED), folder)
    for name in CALIBRATION_SETS:
        step = max(1, len(raws[name]) // (2 * N_RECORDS))
        records = list(map(parse, raws[name][::step][: 2 * N_RECORDS]))
        fitted.append(spans_of(records[0::2]))
        measured.append(spans_of(records[1::2]))
    weights = fit(_joined(fitted))
    json.dump(
        {
            "weights": dict(zip(WEIGHTS, weights.round(2).tolist(), strict=True)),
            "log_loss": {
                name: {
                    "alone": round(log_loss(part, ALONE), 4),
                    "blend": round(log_loss(part, weights), 4),
                }
                for name, part in zip(CALIBRATION_SETS, measured, strict=True)
            },
        },
        sys.stdout,
        indent=2,
    )
    sys.stdout.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
