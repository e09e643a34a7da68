"""What many calls on an event loop do to the others on it: how late a heartbeat comes."""

from __future__ import annotations

import asyncio
import gc
import os
import shlex
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np

from ctxpack.bench import machine
from ctxpack.bench.adapters import FRAMEWORKS, documents_of, langchain, llama_index, nodes_of
from ctxpack.bench.steps import Workload
from ctxpack.pipeline import Pipeline
from ctxpack.selection import Passage

BEAT_S = 0.005
"""Between two beats; a late one moves those after it."""

ROUNDS = 3

_WARM_UP_CALLS = 5

Work = Callable[[], Awaitable[object]]
Contender = Callable[[str, Sequence[Passage]], Work]
"""Takes query and passages of a call, and returns the call."""


class Round(NamedTuple):
    """Milliseconds of one round.

    Args:
        wall: by how much each beat was late, by the clock.
        cpu: the same in processor time of the process, which other programs disturb less.
        calls: how long each call took, waiting for the others included.
    """

    wall: list[float]
    cpu: list[float]
    calls: list[float]


def measure(workload: Workload) -> dict[str, Any]:
    """Return the record of a measurement, for JSON.

    A round is `workload.calls` calls that start in the same moment on one event loop, where a task
    sleeps and wakes beside them. Contenders take turns, and share one pipeline.

    Raises:
        MissingExtraError: an adapter is not installed.
    """
    found: dict[str, list[Round]] = {}
    with Pipeline.from_recipe(workload.recipe) as pipeline:
        for number in range(ROUNDS + 1):
            for name, contender in _contenders(pipeline, workload.budget).items():
                n_calls = workload.calls if number else _WARM_UP_CALLS
                calls = [contender(*workload.call(call)) for call in range(n_calls)]
                gc.collect()  # What making the calls has left is no part of them.
                done = asyncio.run(_round(calls))
                if number:
                    found.setdefault(name, []).append(done)
        token_counter = pipeline.token_counter.name
    return {
        "benchmark": "event-loop",
        "command": _command(workload),
        "commit": machine.commit(),
        "versions": machine.versions() | {name: machine.version_of(name) for name in FRAMEWORKS},
        "hardware": machine.hardware(),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "workload": {**asdict(workload), "token_counter": token_counter, "rounds": ROUNDS},
        "text": "sample pages of ctxpack joined, from a random place on, cut by characters",
        "timed": "rounds of calls that start at once: Pipeline.acompress, CtxPackContext.ainvoke,"
        " CtxPackCompressor.acompress_documents and CtxPackPostprocessor.apostprocess_nodes after"
        " warm-up; loading, and making the documents and nodes, left out",
        "n": workload.calls * ROUNDS,
        "ms": {name: _summary(done) for name, done in found.items()},
    }


def _command(workload: Workload) -> str:
    values = {name: getattr(workload, name) for name in ("recipe", "passages", "budget", "calls")}
    options = [f"--{name}={value}" for name, value in values.items() if value is not None]
    return shlex.join(["ctxpack", "bench", "event-loop", *options])


def _contenders(pipeline: Pipeline, budget: int | None) -> dict[str, Contender]:
    runnable = langchain().CtxPackContext(recipe=pipeline, budget=budget)
    compressor = langchain().CtxPackCompressor(recipe=pipeline, budget=budget)
    postprocessor = llama_index().CtxPackPostprocessor(recipe=pipeline, budget=budget)

    def invoke(query: str, passages: Sequence[Passage]) -> Work:
        asked = {"question": query, "documents": documents_of(passages)}
        return lambda: runnable.ainvoke(asked)

    def compress(query: str, passages: Sequence[Passage]) -> Work:
        documents = documents_of(passages)
        return lambda: compressor.acompress_documents(documents, query)

    def postprocess(query: str, passages: Sequence[Passage]) -> Work:
        nodes = nodes_of(passages)
        return lambda: postprocessor.apostprocess_nodes(nodes, query_str=query)

    return {
        "engine": lambda query, passages: (
            lambda: pipeline.acompress(query, passages, budget=budget)
        ),
        "langchain runnable": invoke,
        "langchain compressor": compress,
        "llama_index": postprocess,
    }


async def _round(calls: Sequence[Work]) -> Round:
    done = Round([], [], [])

    async def timed(call: Work) -> None:
        started = time.perf_counter()
        await call()
        done.calls.append((time.perf_counter() - started) * 1000)

    heart = asyncio.create_task(_beat(done))
    await asyncio.sleep(0)  # The first beat begins.
    await asyncio.gather(*map(timed, calls))
    heart.cancel()
    return done


async def _beat(done: Round) -> None:
    while True:
        started, cpu_started = time.perf_counter(), time.process_time()
        await asyncio.sleep(BEAT_S)
        cpu, wall = time.process_time() - cpu_started, time.perf_counter() - started
        done.wall.append((wall - BEAT_S) * 1000)
        done.cpu.append(max(0.0, cpu - BEAT_S) * 1000)


def _summary(rounds: Sequence[Round]) -> dict[str, dict[str, float]]:
    """Return percentiles over all rounds: of how late beats were by each clock, and of calls."""
    percents = {"median": 50, "p95": 95, "p99": 99, "worst": 100}
    summary = {}
    for name, of_round in (("late wall", 0), ("late cpu", 1), ("call", 2)):
        values = [ms for done in rounds for ms in done[of_round]]
        found = np.percentile(values, list(percents.values()))
        summary[name] = {key: round(float(ms), 3) for key, ms in zip(percents, found, strict=True)}
    return summary
