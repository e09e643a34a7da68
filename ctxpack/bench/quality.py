"""What a budget keeps: evidence retention of recipes, beside baselines and a perfect choice."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ctxpack.bench import machine
from ctxpack.bench.methods import PLAIN, Baselines, Method, input_token_count, pipeline_method
from ctxpack.bench.retention import evidence_of, retention
from ctxpack.cache.opening import open_cache
from ctxpack.pipeline import Pipeline
from ctxpack.render import Render
from ctxpack.tokens import TokenCounter, counter_from
from ctxpack.train.mixture import SHIPPED, Mixture, Source, partition
from ctxpack.train.records import Record, parse, read

RENDERINGS = {"plain": PLAIN, "default": Render()}
"""How the output is written: the kept text alone, or as a pipeline does by default."""
PERFECT = "perfect choice"
_CACHE = "memory:?max_bytes=256MB"
_RESAMPLES = 2000
_SEED = 0


class Cell(NamedTuple):
    """Where methods are compared: a name of `RENDERINGS`, and a share of the input's tokens."""

    rendering: str
    share: float


class Outcome(NamedTuple):
    """What a method made of one record.

    Args:
        retention: see `retention`.
        token_count: of the text, counted again.
        budget: in tokens.
        input_token_count: of all passages in the same rendering.
    """

    retention: float
    token_count: int
    budget: int
    input_token_count: int


Outcomes = dict[Cell, dict[str, list[Outcome]]]
"""Of the records of one data set: what each method made of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What is measured.

    Args:
        files: JSONL, gzip or plain, one record a line. Records that the shipped weights learnt from
            are left out: of a file of the mixture those that it does not hold out, of any other one
            those of another split than ``dev``, if that is there.
        recipes: names, or paths of YAML files; differences are to the first.
        scorers: each takes the place of the recipes' own, so that every recipe has so many rows;
            none of them leaves the recipes as they are.
        shares: budgets, as shares of the tokens of all passages in the same rendering, in [0, 1].
        limit: of each data set, in the order of the file; None for all.
        token_counter: counts for all methods, as in a recipe.
        embeddings: directory of a sentence-embedding model, for one more baseline.
    """

    files: Sequence[Path]
    recipes: Sequence[str] = ("balanced",)
    scorers: Sequence[str] = ()
    shares: Sequence[float] = (0.05, 0.1, 0.2)
    limit: int | None = None
    token_counter: str = "approximate"
    embeddings: Path | None = None

    @property
    def command(self) -> str:
        """The command that measures this."""
        words = ["ctxpack", "bench", "quality", *(str(path) for path in self.files)]
        words += [f"--recipe={name}" for name in self.recipes]
        words += [f"--scorer={name}" for name in self.scorers]
        words += [f"--share={share:g}" for share in self.shares]
        options = {
            "limit": self.limit,
            "token-counter": self.token_counter,
            "embeddings": self.embeddings,
        }
        words += [f"--{name}={value}" for name, value in options.items() if value is not None]
        return shlex.join(words)

    @property
    def cells(self) -> list[Cell]:
        """Every rendering at every share."""
        return [Cell(rendering, share) for rendering in RENDERINGS for share in self.shares]


def kept_ratio(token_count: int, input_token_count: int) -> float:
    """Return output tokens over input tokens; 0 when the input has none."""
    return token_count / input_token_count if input_token_count else 0.0


def over_budget(token_counts: ArrayLike, budgets: ArrayLike) -> float:
    """Return the share of calls with more tokens than their budget; 0 without calls."""
    over = np.greater(token_counts, budgets)
    return float(over.mean()) if over.size else 0.0


def interval(*samples: ArrayLike) -> tuple[float, float] | None:
    """Return the bounds of a mean: 95 %, bootstrap percentiles, None without values.

    Of paired differences this is the paired bootstrap (Efron and Tibshirani 1993, chapter 13).

    Args:
        samples: (n,) values each; of several the mean of their means, each resampled by itself.
    """
    arrays = [np.asarray(sample, dtype=np.float64) for sample in samples]
    if not all(array.size for array in arrays):
        return None
    generator = np.random.default_rng(_SEED)
    means = [
        array[generator.integers(0, array.size, (_RESAMPLES, array.size))].mean(axis=1)
        for array in arrays
    ]
    low, high = np.percentile(np.mean(means, axis=0), [2.5, 97.5])
    return float(low), float(high)


def measure(study: Study) -> dict[str, Any]:
    """Return the record of a measurement, for JSON.

    Each data set has its own numbers, and so has each language of one. ``pairs`` compares every two
    recipes over all sets, the first minus the second.
    """
    counter = counter_from(study.token_counter)
    recipes = _recipes(study)
    methods = recipes | _baselines(study, counter)
    sets = {
        name: _outcomes(study, methods, records, counter)
        for name, records in _records(study).items()
    }
    return {
        "benchmark": "quality",
        "command": study.command,
        "commit": machine.commit(),
        "versions": machine.versions(),
        "hardware": machine.hardware(),
        "token_counter": counter.name,
        "interval": f"95 %, bootstrap of {_RESAMPLES} samples, seed {_SEED}",
        "difference": f"retention of the method minus that of {next(iter(recipes))}, paired",
        "sets": {name: _set(study, outcomes) for name, outcomes in sets.items()},
        "mean_of_sets": _by_cell(study, list(sets.values())),
        "pairs": [
            {"pair": pair, "rows": list(_pair(study, sets, pair))}
            for pair in combinations(recipes, 2)
        ],
    }


def _recipes(study: Study) -> dict[str, Method]:
    pipelines = {
        name: Pipeline.from_recipe(name, token_counter=study.token_counter)
        for name in study.recipes
    }
    if study.scorers:
        pipelines = {
            f"{name}, {scorer}": Pipeline.from_recipe(pipeline, scorer=scorer)
            for name, pipeline in pipelines.items()
            for scorer in study.scorers
        }
    cache = open_cache(_CACHE)
    return {name: pipeline_method(pipeline, cache=cache) for name, pipeline in pipelines.items()}


def _baselines(study: Study, counter: TokenCounter) -> dict[str, Method]:
    baselines = Baselines(counter)
    methods: dict[str, Method] = {
        "first tokens": baselines.first_tokens,
        "passage BM25": baselines.passage_bm25,
        "span BM25": baselines.span_bm25,
    }
    if study.embeddings is not None:
        methods["span embeddings"] = baselines.span_embeddings(study.embeddings)
    return {**methods, PERFECT: baselines.perfect}


def _records(study: Study) -> dict[str, list[Record]]:
    """Return the records that have evidence, by data set and language."""
    groups: dict[str, list[Record]] = {}
    for raw in (raw for path in study.files for raw in held_out(path)):
        language = raw.get("lang", "en")
        group = groups.setdefault(raw["dataset"] + ("" if language == "en" else f".{language}"), [])
        if len(group) != study.limit:
            record = parse(raw)
            group += [record] if record.has_spans and evidence_of(record) else []
    return {name: group for name, group in groups.items() if group}


def held_out(path: Path) -> list[dict[str, Any]]:
    """Return the raw records of a file that the shipped weights did not learn from, see `Study`."""
    sources = {source.file: source for source in Mixture.load(SHIPPED).sources.values()}
    unknown = Source(file=path.name, role="evaluate", licence="")
    return partition(sources.get(path.name, unknown), list(read(path)))[1]


def _outcomes(
    study: Study, methods: Mapping[str, Method], records: Sequence[Record], counter: TokenCounter
) -> Outcomes:
    found: Outcomes = {cell: {name: [] for name in methods} for cell in study.cells}
    for record in records:
        inputs = {
            name: input_token_count(counter, record, render) for name, render in RENDERINGS.items()
        }
        for name, method in methods.items():
            choose = method(record)
            for cell, outcomes in found.items():
                whole = inputs[cell.rendering]
                budget = int(cell.share * whole)
                choice = choose(RENDERINGS[cell.rendering], budget)
                kept = retention(record, choice.kept) or 0.0
                outcomes[name].append(Outcome(kept, counter.count(choice.text), budget, whole))
    return found


def _set(study: Study, outcomes: Outcomes) -> dict[str, Any]:
    n = len(next(iter(outcomes[study.cells[0]].values())))
    return {"n": n, **_by_cell(study, [outcomes])}


def _by_cell(study: Study, sets: Sequence[Outcomes]) -> dict[str, Any]:
    """Return the rows of every rendering and share, the mean of the data sets given."""
    found: dict[str, Any] = {name: {} for name in RENDERINGS}
    for cell in study.cells:
        found[cell.rendering][f"{cell.share:g}"] = _rows([outcomes[cell] for outcomes in sets])
    return found


def _rows(sets: Sequence[Mapping[str, Sequence[Outcome]]]) -> dict[str, Any]:
    """Return a row for every method: means of the means of data sets."""
    if not sets:
        return {}
    first = next(iter(sets[0]))
    perfect = _mean([_retentions(outcomes[PERFECT]) for outcomes in sets])
    rows = {}
    for name in sets[0]:
        kept = [_retentions(outcomes[name]) for outcomes in sets]
        differences = [_differences(outcomes, name, first) for outcomes in sets]
        tokens = np.array([row[1:] for outcomes in sets for row in outcomes[name]])
        rows[name] = {
            "retention": _mean(kept),
            "retention_interval": interval(*kept),
            "perfect": perfect,
            "difference": _mean(differences),
            "difference_interval": interval(*differences),
            "over_budget": over_budget(tokens[:, 0], tokens[:, 1]),
            "kept_ratio": float(np.mean([kept_ratio(part, whole) for part, _, whole in tokens])),
        }
    return rows


def _pair(
    study: Study, sets: Mapping[str, Outcomes], pair: tuple[str, str]
) -> Iterator[dict[str, Any]]:
    """Yield how two recipes compare: on the mean of data sets, and where the first does worst."""
    for cell in study.cells if sets else ():
        differences = {name: _differences(found[cell], *pair) for name, found in sets.items()}
        means = {name: float(values.mean()) for name, values in differences.items()}
        worst, best = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
        yield {
            **cell._asdict(),
            "mean": _mean(list(differences.values())),
            "interval": interval(*differences.values()),
            "worst": (worst, means[worst]),
            "best": (best, means[best]),
        }


def _retentions(outcomes: Sequence[Outcome]) -> NDArray[np.float64]:
    return np.array([outcome.retention for outcome in outcomes])


def _differences(
    outcomes: Mapping[str, Sequence[Outcome]], name: str, other: str
) -> NDArray[np.float64]:
    """Return by how much a method keeps more of each record than another."""
    return _retentions(outcomes[name]) - _retentions(outcomes[other])


def _mean(samples: Sequence[NDArray[np.float64]]) -> float:
    return float(np.mean([sample.mean() for sample in samples]))
