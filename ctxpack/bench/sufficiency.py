"""How well `PackedContext.sufficiency` tells calls with an answer from calls without one.

Records without a gold passage are calls without an answer. Others are asked up to four times: as
they are, without their gold passages, without the first of several, and of the passages of another
record.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctxpack.bench import machine
from ctxpack.overrides import Overrides
from ctxpack.pipeline import Pipeline
from ctxpack.scoring.around import AroundScorer
from ctxpack.scoring.base import PassageScores, ScoreCall
from ctxpack.selection import Passage, SplitPassage
from ctxpack.train.records import read

_BINS = 10
_LIMITS = (0.05, 0.1, 0.2, 0.3, 0.5)

Floats = NDArray[np.float64]


class Trusted(AroundScorer):
    """A scorer taken for pointwise, so that the figures of one that is not can be seen."""

    def score(self, query: str, passages: Sequence[SplitPassage]) -> list[PassageScores]:
        """Return the scores of the scorer."""
        return self.scorer.score(query, passages)

    def score_many(self, calls: Sequence[ScoreCall]) -> list[list[PassageScores]]:
        """Return `score` of every call, in order."""
        return self.scorer.score_many(calls)

    def close(self) -> None:
        """Release what the scorer holds."""
        self.scorer.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What is measured.

    Args:
        files: JSONL, gzip or plain; of a file with split ``dev`` only that.
        recipe: name of a recipe, or path of a YAML file; all calls are taken for English.
        scorer: takes the place of the recipe's; None for that.
        limit: most records of a file, spread evenly over it.
    """

    files: Sequence[Path]
    recipe: str = "balanced"
    scorer: str | None = None
    limit: int = 60

    @property
    def command(self) -> str:
        """The command that measures this."""
        words = ["ctxpack", "bench", "sufficiency", *map(str, self.files)]
        options = {"recipe": self.recipe, "scorer": self.scorer, "limit": self.limit}
        words += [f"--{name}={value}" for name, value in options.items() if value is not None]
        return shlex.join(words)

    def pipeline(self) -> Pipeline:
        """Return the pipeline that is measured."""
        overrides = Overrides(language="en")
        if self.scorer is not None:
            overrides["scorer"] = self.scorer
        pipeline = Pipeline.from_recipe(self.recipe, **overrides)
        if pipeline.scorer.pointwise:
            return pipeline
        return Pipeline.from_recipe(pipeline, scorer=Trusted(pipeline.scorer))


def auroc(answerable: Floats, unanswerable: Floats) -> float | None:
    """Return how often a call with an answer is above one without, ties half; None without both.

    The area under the ROC curve (Hanley and McNeil 1982).
    """
    if not (answerable.size and unanswerable.size):
        return None
    gaps = answerable[:, None] - unanswerable
    return round(float((gaps > 0).mean() + (gaps == 0).mean() / 2), 4)


def calibration_error(found: Floats, labels: Floats) -> float:
    """Return the mean gap of probability and share over ten bins of equal mass."""
    bins = np.array_split(np.argsort(found, kind="stable"), _BINS)
    gaps = [len(part) * abs(found[part].mean() - labels[part].mean()) for part in bins if len(part)]
    return round(float(sum(gaps) / len(found)), 4)


def measure(study: Study) -> dict[str, Any]:
    """Return the record of a measurement, for JSON."""
    pipeline = study.pipeline()
    sets = {
        path.name.partition(".")[0]: _found(path, pipeline, study.limit) for path in study.files
    }
    everything = {key: np.concatenate([part[key] for part in sets.values()]) for key in _KINDS}
    return {
        "benchmark": "sufficiency",
        "command": study.command,
        "recipe": pipeline.recipe.to_data(),
        "commit": machine.commit(),
        "versions": machine.versions(),
        "sets": {name: _figures(part) for name, part in (*sets.items(), ("all", everything))},
    }


_KINDS = ("answer", "no answer", "answer taken out", "other passages", "part taken out")


def _found(path: Path, pipeline: Pipeline, limit: int) -> dict[str, Floats]:
    """Return the sufficiency of calls, by kind."""
    raws = list(read(path))
    raws = [raw for raw in raws if raw.get("split") == "dev"] or raws
    raws = raws[:: max(1, len(raws) // limit)][:limit]
    found: dict[str, list[float]] = {kind: [] for kind in _KINDS}
    for raw, other in zip(raws, [*raws[1:], *raws[:1]], strict=True):
        rest = [part for part in raw["passages"] if not part["gold"]]
        is_answerable = len(rest) < len(raw["passages"])
        calls = {"answer" if is_answerable else "no answer": raw["passages"]}
        if is_answerable and rest:
            calls["answer taken out"] = rest
        first = next((part for part in raw["passages"] if part["gold"]), None)
        if len(raw["passages"]) - len(rest) > 1:
            calls["part taken out"] = [part for part in raw["passages"] if part is not first]
        if other["passages"][0]["text"] != raw["passages"][0]["text"]:
            calls["other passages"] = other["passages"]
        for kind, passages in calls.items():
            given = [Passage(part["text"], title=part.get("title") or None) for part in passages]
            value = pipeline.compress(raw["query"], given).sufficiency
            found[kind] += [] if value is None else [value]
    return {kind: np.array(values, dtype=np.float64) for kind, values in found.items()}


def _figures(found: dict[str, Floats]) -> dict[str, Any]:
    yes, *no = found.values()
    near = np.concatenate(no[:2])
    labels = np.repeat([1.0, 0.0], [yes.size, near.size])
    both = np.concatenate([yes, near])
    return {
        "n": {kind: values.size for kind, values in found.items()},
        "median": {kind: _median(values) for kind, values in found.items()},
        "below": {
            f"{limit:g}": {kind: _mean(values < limit) for kind, values in found.items()}
            for limit in _LIMITS
        },
        "auroc": {kind: auroc(yes, found[kind]) for kind in _KINDS[1:]},
        "ece": calibration_error(both, labels) if yes.size and near.size else None,
        "share_answerable": _mean(labels),
    }


def _mean(values: Floats | NDArray[np.bool_]) -> float | None:
    return round(float(values.mean()), 4) if values.size else None


def _median(values: Floats) -> float | None:
    return round(float(np.median(values)), 4) if values.size else None
