"""What a call of a pipeline costs: milliseconds per step, on one core."""

from __future__ import annotations

import random
import shlex
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ctxpack import samples
from ctxpack.bench import machine
from ctxpack.bench.rounds import one_core
from ctxpack.errors import InputError
from ctxpack.pipeline import Pipeline
from ctxpack.selection import Passage

_WARM_UP_CALLS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What is measured.

    Args:
        recipe: name of a recipe, or path of a YAML file.
        passages: per call.
        characters: per passage.
        budget: in tokens; None for no limit.
        calls: timed ones, each over other passages.

    Raises:
        InputError: a number is less than 1, or the sample texts are too short.
    """

    recipe: str = "balanced"
    passages: int = 20
    characters: int = 650
    budget: int | None = 512
    calls: int = 200

    def __post_init__(self) -> None:
        for name in ("passages", "characters", "calls"):
            if getattr(self, name) < 1:
                raise InputError(f"bench steps: `{name}` must be at least 1")
        if self.passages * self.characters > len(_text()):
            raise InputError(
                f"bench steps: `passages` times `characters` must be at most {len(_text())},"
                f" the sample text, got {self.passages * self.characters}"
            )

    @property
    def command(self) -> str:
        """The command that measures this."""
        options = [f"--{name}={value}" for name, value in asdict(self).items() if value is not None]
        return shlex.join(["ctxpack", "bench", "steps", *options])

    def call(self, number: int) -> tuple[str, list[Passage]]:
        """Return query and passages of a call: a stretch of the samples, cut without overlap."""
        start = random.Random(number).randrange(len(_text()))
        text = (_text() * 2)[start:]
        cuts = range(0, self.passages * self.characters, self.characters)
        passages = [Passage(text[cut : cut + self.characters]) for cut in cuts]
        return samples.QUERIES[number % len(samples.QUERIES)], passages


def measure(workload: Workload) -> dict[str, Any]:
    """Return the record of a measurement, for JSON.

    Times are milliseconds of `Pipeline.compress` with everything loaded. ``write`` is what no step
    accounts for: checking the arguments, the budget law, rendering, and the report. ``cpu`` is the
    processor time of the whole call, which other programs on the machine disturb less.
    """
    with one_core() as core, Pipeline.from_recipe(workload.recipe) as pipeline:
        times: dict[str, list[float]] = {}
        for number in range(-_WARM_UP_CALLS, workload.calls):
            for name, ms in _call(pipeline, workload, number).items():
                if number >= 0:
                    times.setdefault(name, []).append(ms)
        token_counter = pipeline.token_counter.name
    return {
        "benchmark": "steps",
        "command": workload.command,
        "commit": machine.commit(),
        "versions": machine.versions(),
        "hardware": machine.hardware(),
        "core": core,
        "workload": {**asdict(workload), "token_counter": token_counter},
        "text": "sample pages of ctxpack joined, from a random place on, cut by characters",
        "timed": "Pipeline.compress after warm-up, loading left out; `write` is what is in no step,"
        " `cpu` the processor time of `total`",
        "n": workload.calls,
        "ms": {name: _summary(values) for name, values in times.items()},
    }


def _call(pipeline: Pipeline, workload: Workload, number: int) -> dict[str, float]:
    """Return the milliseconds of every step of a call, then of the rest, and of the whole."""
    query, passages = workload.call(number)
    started, cpu_started = time.perf_counter(), time.process_time()
    packed = pipeline.compress(query, passages, budget=workload.budget)
    total = (time.perf_counter() - started) * 1000
    cpu = (time.process_time() - cpu_started) * 1000
    steps = {step["name"]: step["ms"] for step in packed.report["stages"]}
    return {**steps, "write": total - sum(steps.values()), "total": total, "cpu": cpu}


def _summary(values: Sequence[float]) -> dict[str, float]:
    median, p95 = np.percentile(values, [50, 95])
    return {"median": round(float(median), 3), "p95": round(float(p95), 3)}


def _text() -> str:
    return "\n\n".join(passage.text for passage in samples.passages())
