"""Fits the weights of a second scorer: ``python -m ctxpack.bench.fit_rescore DATA``, JSONL files.

For the plain query and with evidence behind it: `WEIGHTS` fitted to every other development record
of each data set, and on the others the log loss, and what the operating points of the first scorer
keep, by its own scores and by those of the step. Only passages count that the second scorer is
asked about.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ctxpack.bench.logistic import Cases, Weights, fit, halves, hopped, labels, losses
from ctxpack.recipes import read_scorer
from ctxpack.scoring.base import Scorer
from ctxpack.scoring.bundled import Swift
from ctxpack.scoring.caching import Caching
from ctxpack.stages.rescore import WEIGHTS, Rescore
from ctxpack.train.records import Record

N_RECORDS = 40
"""Most records of a set for each half, unless the command says otherwise."""

BySet = dict[str, dict[str, Cases]]


def asked_again(records: Sequence[Record], scorer: Scorer, step: Rescore) -> dict[str, Cases]:
    """Return the spans and the passages of one data set's records, by both scorers."""
    spans, passages = [], []
    for record in records:
        selection, call = hopped(record, scorer)
        again = step.again(selection, call)
        if again is None:
            continue
        assert selection.span_scores is not None
        assert selection.passage_scores is not None
        is_evidence, known = labels(record)
        asked = known & again.passages[selection.passage_of]
        of_spans = (selection.span_scores, again.span_scores, is_evidence)
        spans.append([column[asked] for column in of_spans])
        gold = np.array([candidate.gold for candidate in record.candidates])
        of_passages = (selection.passage_scores, again.passage_scores, gold)
        passages.append([column[again.passages] for column in of_passages])
    return {"span": Cases.of(spans), "passage": Cases.of(passages)}


def report(fitted: BySet, measured: BySet) -> dict[str, Any]:
    """Return the weights that fit one half, and what they do on the other."""
    found: dict[str, Any] = {"weights": {}, "log_loss": {}}
    for kind, names in WEIGHTS.items():
        half = [part[kind] for part in fitted.values()]
        weights = fit(half)
        ways = {"own": half[0].alone(0), "second": half[0].alone(1), "rescored": weights}
        others = {name: part[kind] for name, part in measured.items()}
        found["weights"][kind] = dict(zip(names, weights.round(2).tolist(), strict=True))
        found["log_loss"][kind] = losses(others, ways)
        if kind == "span":
            found["kept"] = {
                point: {way: kept(list(others.values()), ways[way], at) for way in ways}
                for point, at in Swift().operating_points.items()
            }
    return found


def kept(parts: Sequence[Cases], weights: Weights, threshold: float) -> dict[str, float]:
    """Return the shares of evidence and of all spans at a threshold, means over data sets."""
    odds = np.log(threshold / (1 - threshold))
    masks = [part.features @ weights >= odds for part in parts]
    evidence = [mask[part.is_evidence > 0].mean() for mask, part in zip(masks, parts, strict=True)]
    shares = {"evidence": np.mean(evidence), "spans": np.mean([mask.mean() for mask in masks])}
    return {name: round(float(share), 4) for name, share in shares.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit, write JSON to standard output, and return 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DATA")
    parser.add_argument("--records", type=int, default=N_RECORDS, help="of a set for each half")
    parser.add_argument("--scorer", default=Rescore().scorer.name, help="the second, as in YAML")
    given = parser.parse_args(arguments)
    second = read_scorer(yaml.safe_load(given.scorer), where="--scorer")
    steps = {f"evidence: {n}": Rescore(scorer=second, evidence=n) for n in (0, 2)}
    fitted: dict[str, BySet] = {name: {} for name in steps}
    measured: dict[str, BySet] = {name: {} for name in steps}
    caching = Caching(Swift(), None)  # so that a passage is encoded once
    for data_set, *records in halves(given.folder, given.records):
        for name, step in steps.items():
            for half, part in zip((fitted, measured), records, strict=True):
                half[name][data_set] = asked_again(part, caching.scorer, step)
    found = {name: report(fitted[name], measured[name]) for name in steps}
    json.dump(found, sys.stdout, indent=2)
    sys.stdout.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
