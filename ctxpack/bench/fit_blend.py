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

from ctxpack.bench.logistic import Cases, fit, halves, hopped, labels, losses
from ctxpack.scoring.base import Scorer
from ctxpack.scoring.bundled import Swift
from ctxpack.scoring.caching import Caching
from ctxpack.stages.blend import WEIGHTS, by_words
from ctxpack.train.records import Record

N_RECORDS = 60
"""Most records of a set for each half."""


def spans_of(records: Sequence[Record], scorer: Scorer) -> Cases:
    """Return the spans of one data set's records, by the model and by the words of the call."""
    rows = []
    for record in records:
        selection, call = hopped(record, scorer)
        is_evidence, known = labels(record)
        assert selection.span_scores is not None
        columns = (selection.span_scores, by_words(selection, call), is_evidence)
        rows.append([column[known] for column in columns])
    return Cases.of(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit, write JSON to standard output, and return 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DATA")
    fitted, measured = [], {}
    caching = Caching(Swift(), None)  # so that the second hop encodes nothing
    for name, first, second in halves(parser.parse_args(arguments).folder, N_RECORDS):
        fitted.append(spans_of(first, caching.scorer))
        measured[name] = spans_of(second, caching.scorer)
    weights = fit(fitted)
    json.dump(
        {
            "weights": dict(zip(WEIGHTS, weights.round(2).tolist(), strict=True)),
            "log_loss": losses(measured, {"alone": fitted[0].alone(0), "blend": weights}),
        },
        sys.stdout,
        indent=2,
    )
    sys.stdout.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
