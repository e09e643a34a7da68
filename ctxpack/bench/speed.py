"""What scoring costs: every scorer beside the bare passes of its model, on one core."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np
from onnxruntime import InferenceSession

from ctxpack import registry, samples
from ctxpack.bench import machine
from ctxpack.bench.rounds import (
    SOURCE,
    Score,
    one_core,
    paired,
    sampled_passages,
    summary,
    take_turns,
)
from ctxpack.bench.tables import passes_of
from ctxpack.cache.opening import open_cache
from ctxpack.errors import InputError
from ctxpack.pipeline import Pipeline
from ctxpack.scoring.around import AroundScorer
from ctxpack.scoring.base import PassageScores, ScoreCall, Scorer, has_segments
from ctxpack.scoring.cached import CachedScorer
from ctxpack.selection import SplitPassage
from ctxpack.tokens import counter_from

RECIPE, BUDGET = "balanced", 512
_TIMED = (
    "score on split passages, loading left out, each call with a new query; `warm` has met the"
    " passages, not the query. `passes` runs the onnxruntime sessions of such a call again, with"
    f" the same inputs and nothing around them. `pipeline around` is Pipeline.compress by {RECIPE},"
    f" budget {BUDGET}, over a scorer that knows its answer. Ratios are of processor time, medians"
    " over rounds"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What is measured.

    Args:
        passages: per call, of about 150 tokens.
        calls: timed ones of every contender; each has a query of its own.

    Raises:
        InputError: a number is less than 1.
    """

    passages: int = 20
    calls: int = 20

    def __post_init__(self) -> None:
        for name in ("passages", "calls"):
            if getattr(self, name) < 1:
                raise InputError(f"bench speed: `{name}` must be at least 1")

    @property
    def command(self) -> str:
        """The command that measures this."""
        options = [f"--{name}={getattr(self, name)}" for name in ("passages", "calls")]
        return shlex.join(["ctxpack", "bench", "speed", *options])


def measure(study: Study) -> dict[str, Any]:
    """Return the record of a measurement, for JSON.

    The contenders take turns, in an order that changes from round to round.
    """
    load = os.getloadavg()
    passages = list(sampled_passages(study.passages))
    counter = counter_from("approximate")
    with one_core() as core:
        contenders = _contenders(passages)
        times = take_turns(contenders, passages, rounds=study.calls)
    cpu = {name: values["cpu"] for name, values in times.items()}
    return {
        "benchmark": "speed",
        "command": study.command,
        "commit": machine.commit(),
        "versions": machine.versions(),
        "hardware": machine.hardware() | {"load_before": load},
        "core": core,
        "text": SOURCE,
        "passages": study.passages,
        "tokens_of_a_passage": float(
            np.median([counter.count(passage.text) for passage, _ in passages])
        ),
        "timed": _TIMED,
        "n": study.calls,
        "ms": {name: summary(values) for name, values in times.items()},
        "ratio": {
            name: {other: paired(cpu[name], cpu[other], np.divide) for other in cpu} for name in cpu
        },
    }


def _contenders(passages: Sequence[SplitPassage]) -> dict[str, Score]:
    scorers: dict[str, Scorer] = {}
    for name, kind in registry.SCORERS.items():
        scorer: Scorer = kind()
        scorer.warm_up()
        if not has_segments(scorer):
            scorers[name] = scorer
            continue
        warm = CachedScorer(scorer, open_cache("memory:"))
        warm.fill(passages)
        scorers |= {f"{name} cold": scorer, f"{name} warm": warm}
    contenders: dict[str, Score] = {}
    for name, scorer in scorers.items():
        contenders[name] = scorer.score
        # A query of its own, as timed calls have: the model remembers those of other contenders.
        runs = _runs(scorer, f"{samples.QUERIES[0]} ({name})", passages)
        if runs:
            contenders[passes_of(name)] = partial(_run, runs)
    return {**contenders, "pipeline around": _around(passages)}


def _runs(
    scorer: Scorer, query: str, passages: Sequence[SplitPassage]
) -> list[Callable[[], object]]:
    """Return the runs of onnxruntime sessions that a call makes, to be made again."""
    runs: list[Callable[[], object]] = []
    run = InferenceSession.run

    def recorded(session: InferenceSession, *arguments: Any) -> Any:
        runs.append(partial(run, session, *arguments))
        return run(session, *arguments)

    with patch.object(InferenceSession, "run", recorded):
        scorer.score(query, passages)
    return runs


def _run(runs: Sequence[Callable[[], object]], query: str, passages: object) -> None:
    for run in runs:
        run()


def _around(passages: Sequence[SplitPassage]) -> Score:
    known = _Known(Pipeline.from_recipe(RECIPE).scorer, passages)
    pipeline = Pipeline.from_recipe(RECIPE, scorer=known)

    def compress(query: str, passages: Sequence[SplitPassage]) -> object:
        return pipeline.compress(query, [passage for passage, _ in passages], budget=BUDGET)

    return compress


class _Known(AroundScorer):
    """Gives the scores of one query to all queries: what is left of a call is the pipeline's."""

    def __init__(self, scorer: Scorer, passages: Sequence[SplitPassage]) -> None:
        super().__init__(scorer)
        scores = scorer.score(samples.QUERIES[0], passages)
        self._scores = {
            passage.text: part for (passage, _), part in zip(passages, scores, strict=True)
        }

    def score(self, query: str, passages: Sequence[SplitPassage]) -> list[PassageScores]:
        """Return the scores that are known."""
        return [self._scores[passage.text] for passage, _ in passages]

    def score_many(self, calls: Sequence[ScoreCall]) -> list[list[PassageScores]]:
        """Return `score` of every call, in order."""
        return [self.score(query, passages) for query, passages in calls]

    def close(self) -> None:
        """Do nothing: nothing is held."""
