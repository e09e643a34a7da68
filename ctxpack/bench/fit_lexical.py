"""Fits the lexical scorer: ``python -m ctxpack.bench.fit_lexical DATA``, a folder of JSONL files.

Prints `WEIGHTS` fitted on training records; with ``--points`` the operating points of the weights
in the code, on other records. A data set without such records is halved.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ctxpack.bench.retention import Stretch, evidence_of, retention
from ctxpack.scoring.lexical import WEIGHTS, Floats, Lexical, Matches, features, find, second_hop
from ctxpack.selection import BoolArray, IntArray, SplitPassage
from ctxpack.train.records import Record, parse, read

_BOTH = ("nq_litm", "hotpotqa", "squad_dev", "2wikimultihopqa", "qed", "fairytaleqa")
TRAIN = (*_BOTH, "cuad")
DEV = (*_BOTH, "musique", "trecqa")
_HALVED = ("2wikimultihopqa", "qed")
_RECORDS = 1200
_ROUNDS = 3
_STEPS = 20
_RECALLS = {"faithful": 0.99, "balanced": 0.97, "aggressive": 0.93}


class Example(NamedTuple):
    """A record as the scorer sees it, and which of its spans overlap evidence."""

    passages: list[SplitPassage]
    found: Matches
    features: Floats
    is_evidence: BoolArray


class Spans(NamedTuple):
    """The spans of all calls.

    Args:
        features: (n_spans, n_features) float64, the second hop last.
        is_evidence: (n_spans,) bool.
        importance: (n_spans,) float64, which lets every data set count the same.
        first: (n_calls,) int64, the first span of each call.
    """

    features: Floats
    is_evidence: BoolArray
    importance: Floats
    first: IntArray


def records(folder: Path, name: str, part: str) -> list[Record]:
    """Return records with evidence of a data set, of its ``train`` or ``dev`` part, at random."""
    found = [
        raw
        for raw in read(folder / f"{name}.jsonl.gz")
        if _part(raw, name) == part and any(passage["evidence"] for passage in raw["passages"])
    ]
    return list(map(parse, sorted(found, key=_random)[:_RECORDS]))


def _part(raw: dict[str, Any], name: str) -> str:
    if name in _HALVED:
        return ("dev", "train")[_random(raw) % 2]
    return "dev" if name == "musique" else str(raw["split"])


def _random(raw: dict[str, Any]) -> int:
    return zlib.crc32(raw["id"].encode())


def fit(sets: Sequence[Sequence[Example]]) -> dict[str, float]:
    """Return weights that minimise the log loss, as in `WEIGHTS`.

    The second hop is made of scores and changes with the weights, so it is computed anew a few
    times.
    """
    examples = [example for one in sets for example in one]
    hops = [np.zeros((len(e.is_evidence), 1)) for e in examples]
    counts = [sum(int(e.is_evidence.sum()) for e in one) for one in sets]
    importance = np.repeat(
        [1 / count for count in counts], [sum(len(e.is_evidence) for e in one) for one in sets]
    )
    sizes = [len(e.is_evidence) for e in examples]
    first = np.cumsum([0, *sizes[:-1]])
    weights = np.array([0.0] * (len(WEIGHTS) - 1) + [-3.0])
    for _ in range(_ROUNDS):
        matrix = np.concatenate(
            [np.hstack([e.features, h]) for e, h in zip(examples, hops, strict=True)]
        )
        spans = Spans(matrix, np.concatenate([e.is_evidence for e in examples]), importance, first)
        weights = _minimise(spans, weights)
        without = Spans(matrix * ([1.0] * (matrix.shape[1] - 1) + [0.0]), *spans[1:])
        scores = np.split(_probabilities(without, weights), first[1:])
        hops = [
            second_hop(e.passages, e.found, s)[:, None]
            for e, s in zip(examples, scores, strict=True)
        ]
    return {name: round(float(weight), 2) for name, weight in zip(WEIGHTS, weights, strict=True)}


def _log_odds(spans: Spans, weights: Floats) -> tuple[Floats, Floats]:
    """Return log-odds (n_spans,) and their derivatives (n_spans, n_weights)."""
    call_of = np.repeat(np.arange(len(spans.first)), np.diff([*spans.first, len(spans.features)]))
    *linear, competition, constant = weights
    evidence = spans.features @ linear
    top = np.maximum.reduceat(evidence, spans.first)
    parts = np.exp(evidence - top[call_of])
    sums = np.add.reduceat(parts, spans.first)
    total = top + np.log(sums)
    centres = np.add.reduceat((parts / sums[call_of])[:, None] * spans.features, spans.first)
    slopes = np.hstack(
        [
            spans.features + competition * centres[call_of],
            total[call_of, None],
            np.ones((len(evidence), 1)),
        ]
    )
    return evidence + competition * total[call_of] + constant, slopes


def _probabilities(spans: Spans, weights: Floats) -> Floats:
    return 1 / (1 + np.exp(-_log_odds(spans, weights)[0]))


def _loss(spans: Spans, weights: Floats) -> float:
    odds = _log_odds(spans, weights)[0]
    return float(spans.importance @ (np.logaddexp(0, odds) - spans.is_evidence * odds))


def _minimise(spans: Spans, weights: Floats) -> Floats:
    """Return the weights of the least log loss, by damped Newton steps."""
    damping, best = 1e-3, _loss(spans, weights)
    for _ in range(_STEPS):
        odds, slopes = _log_odds(spans, weights)
        p = 1 / (1 + np.exp(-odds))
        gradient = slopes.T @ (spans.importance * (p - spans.is_evidence))
        curvature = (slopes * (spans.importance * p * (1 - p))[:, None]).T @ slopes
        while damping < 1e6:
            ridge = damping * np.diag(curvature.diagonal() + 1e-9)
            trial = weights - np.linalg.solve(curvature + ridge, gradient)
            loss = _loss(spans, trial)
            if loss <= best:
                weights, best, damping = trial, loss, damping / 5
                break
            damping *= 5
    return weights


def operating_points(sets: Sequence[Sequence[Record]]) -> dict[str, Any]:
    """Return by name the highest threshold that keeps enough evidence, the mean over data sets."""
    thresholds = np.geomspace(1e-4, 0.5, 75)
    kept = np.array([np.mean([_kept(r, thresholds) for r in one], axis=0) for one in sets])
    recall, share = kept.mean(axis=0).T
    points = {}
    for name, wanted in _RECALLS.items():
        place = int(np.flatnonzero(recall >= wanted)[-1])
        points[name] = {
            "threshold": round(float(thresholds[place]), 4),
            "recall": round(float(recall[place]), 4),
            "kept_characters": round(float(share[place]), 3),
            "recall_of_sets": dict(zip(DEV, kept[:, place, 0].round(3).tolist(), strict=True)),
            "kept_of_sets": dict(zip(DEV, kept[:, place, 1].round(3).tolist(), strict=True)),
        }
    return points


def _kept(record: Record, thresholds: Floats) -> list[tuple[float, float]]:
    """Return (retention, share of characters kept) of one record at each threshold."""
    split = [candidate.split for candidate in record.candidates]
    scores = np.concatenate([part.spans for part in Lexical().score(record.query, split)])
    stretches = [Stretch(i, s.start, s.end) for i, (_, spans) in enumerate(split) for s in spans]
    lengths = np.array([stretch.end - stretch.start for stretch in stretches])
    return [
        (
            retention(record, [stretches[n] for n in np.flatnonzero(scores >= threshold)]) or 0.0,
            lengths[scores >= threshold].sum() / lengths.sum(),
        )
        for threshold in thresholds
    ]


def _example(record: Record) -> Example:
    split = [candidate.split for candidate in record.candidates]
    found = find(record.query, split)
    is_evidence = np.array([flag for c in record.candidates for flag in c.is_evidence])
    return Example(split, found, features(record.query, split, found), is_evidence)


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit or measure, write JSON to standard output, and return 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DATA")
    parser.add_argument("--points", action="store_true")
    given = parser.parse_args(arguments)
    if given.points:
        dev = [
            [record for record in records(given.folder, name, "dev") if evidence_of(record)]
            for name in DEV
        ]
        result: dict[str, Any] = operating_points(dev)
    else:
        train = [map(_example, records(given.folder, name, "train")) for name in TRAIN]
        result = fit(list(map(list, train)))
    json.dump(result, sys.stdout, indent=2)
    sys.stdout.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
