"""What a budget keeps: evidence retention of recipes, beside baselines and a perfect choice.

Run as ``python -m ctxpack.bench.quality FILE… --recipe lexical``; the record is JSON.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ctxpack.bench import machine
from ctxpack.bench.methods import (
    Baselines,
    Choose,
    input_token_count,
    on_records,
    pipeline_method,
)
from ctxpack.bench.retention import evidence_of, retention
from ctxpack.pipeline import Pipeline
from ctxpack.tokens import TokenCounter, counter_from
from ctxpack.train.records import Record, parse, read

_COMMAND = "python -m ctxpack.bench.quality"
_RESAMPLES = 2000
_SEED = 0


class Outcome(NamedTuple):
    """What a method made of one record.

    Args:
        retention: see `retention`.
        token_count: of the text, counted again.
        ms: milliseconds of the call.
    """

    retention: float
    token_count: int
    ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What is measured.

    Args:
        files: JSONL, gzip or plain, one record a line.
        recipes: names, or paths of YAML files; differences are those of the first.
        shares: budgets, as shares of the tokens of all passages rendered, in [0, 1].
        split: only records of this split; None for all.
        limit: of each data set, in the order of the file; None for all.
        token_counter: counts for all methods, as in a recipe.
        embeddings: directory of a Sentence Transformers model, for one more baseline.
    """

    files: Sequence[Path]
    recipes: Sequence[str] = ("lexical",)
    shares: Sequence[float] = (0.05, 0.1, 0.2)
    split: str | None = None
    limit: int | None = None
    token_counter: str = "approximate"
    embeddings: Path | None = None

    @property
    def command(self) -> str:
        """The command that measures this."""
        words = [_COMMAND, *(str(path) for path in self.files)]
        words += [f"--recipe={name}" for name in self.recipes]
        words += [f"--share={share:g}" for share in self.shares]
        options = {
            "split": self.split,
            "limit": self.limit,
            "token-counter": self.token_counter,
            "embeddings": self.embeddings,
        }
        words += [f"--{name}={value}" for name, value in options.items() if value is not None]
        return shlex.join(words)


def kept_ratio(token_count: int, input_token_count: int) -> float:
    """Return output tokens over input tokens; 0 when the input has none."""
    return token_count / input_token_count if input_token_count else 0.0


def over_budget(token_counts: ArrayLike, budgets: ArrayLike) -> float:
    """Return the share of calls with more tokens than their budget; 0 without calls."""
    over = np.greater(token_counts, budgets)
    return float(over.mean()) if over.size else 0.0


def interval(values: ArrayLike) -> tuple[float, float] | None:
    """Return the bounds of the mean of (n,) values: 95 %, bootstrap percentiles, None without any.

    Of paired differences this is the paired bootstrap (Efron and Tibshirani 1993, chapter 13).
    """
    sample = np.asarray(values, dtype=np.float64)
    if not sample.size:
        return None
    generator = np.random.default_rng(_SEED)
    picks = generator.integers(0, sample.size, (_RESAMPLES, sample.size))
    low, high = np.percentile(sample[picks].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def measure(study: Study) -> dict[str, Any]:
    """Return the record of a measurement, for JSON.

    Each data set has its own numbers, and so has each language of one.
    """
    counter = counter_from(study.token_counter)
    methods = _methods(study, counter)
    sets: dict[str, Any] = {}
    for name, records in _records(study).items():
        inputs = [input_token_count(counter, record) for record in records]
        sets[name] = {"n": len(records), "budgets": {}}
        for share in study.shares:
            budgets = [int(share * count) for count in inputs]
            outcomes = {
                method: [
                    _outcome(choose, *call, counter) for call in zip(records, budgets, strict=True)
                ]
                for method, choose in methods.items()
            }
            sets[name]["budgets"][f"{share:g}"] = {
                method: _summary(made, outcomes[study.recipes[0]], budgets, inputs)
                for method, made in outcomes.items()
            }
    return {
        "benchmark": "quality",
        "command": study.command,
        "commit": machine.commit(),
        "versions": machine.versions(),
        "hardware": machine.hardware(),
        "token_counter": counter.name,
        "interval": f"95 %, bootstrap of {_RESAMPLES} samples, seed {_SEED}",
        "behind": f"retention of {study.recipes[0]} minus that of the method, paired",
        "timed": "the whole call, splitting and rendering included, one after another",
        "sets": sets,
    }


def _methods(study: Study, counter: TokenCounter) -> dict[str, Choose]:
    methods: dict[str, Choose] = {}
    for name in study.recipes:
        pipeline = Pipeline.from_recipe(name, token_counter=study.token_counter)
        pipeline.warm_up()
        methods[name] = on_records(pipeline_method(pipeline))
    methods["first tokens"] = on_records(Baselines(counter).first_tokens)
    methods["passage BM25"] = on_records(Baselines(counter).passage_bm25)
    methods["span BM25"] = on_records(Baselines(counter).span_bm25)
    if study.embeddings is not None:
        embedded = Baselines(counter).span_embeddings(study.embeddings)
        methods["span embeddings"] = on_records(embedded)
    methods["perfect choice"] = Baselines(counter).perfect
    return methods


def _records(study: Study) -> dict[str, list[Record]]:
    """Return the records that have evidence, by data set and language."""
    groups: dict[str, list[Record]] = {}
    for raw in (raw for path in study.files for raw in read(path)):
        language = raw.get("lang", "en")
        group = groups.setdefault(raw["dataset"] + ("" if language == "en" else f".{language}"), [])
        if len(group) != study.limit and study.split in (None, raw.get("split")):
            record = parse(raw)
            group += [record] if record.has_spans and evidence_of(record) else []
    return {name: group for name, group in groups.items() if group}


def _outcome(choose: Choose, record: Record, budget: int, counter: TokenCounter) -> Outcome:
    started = time.perf_counter()
    choice = choose(record, budget)
    ms = (time.perf_counter() - started) * 1000
    return Outcome(retention(record, choice.kept) or 0.0, counter.count(choice.text), ms)


def _summary(
    outcomes: Sequence[Outcome],
    reference: Sequence[Outcome],
    budgets: Sequence[int],
    inputs: Sequence[int],
) -> dict[str, Any]:
    retentions, token_counts, ms = map(np.array, zip(*outcomes, strict=True))
    behind = [outcome.retention for outcome in reference] - retentions
    return {
        "retention": float(retentions.mean()),
        "retention_interval": interval(retentions),
        "behind": float(behind.mean()),
        "behind_interval": interval(behind),
        "over_budget": over_budget(token_counts, budgets),
        "kept_ratio": float(np.mean(list(map(kept_ratio, token_counts, inputs)))),
        "median_ms": float(np.median(ms)),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line says, write JSON to standard output, and return 0."""
    parser = argparse.ArgumentParser(prog=_COMMAND, description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--recipe", dest="recipes", action="append")
    parser.add_argument("--share", dest="shares", action="append", type=float)
    parser.add_argument("--split")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--token-counter")
    parser.add_argument("--embeddings", type=Path)
    given = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value}
    json.dump(measure(Study(**given)), sys.stdout, indent=2)
    sys.stdout.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
