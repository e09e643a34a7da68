"""Contenders that score the same sampled passages in turns, in one thread on one core."""

from __future__ import annotations

import gc
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ctxpack import samples
from ctxpack.errors import InputError
from ctxpack.selection import Passage, SplitPassage
from ctxpack.sentences import split
from ctxpack.train import records

CHARACTERS = 640
"""Of a passage, about 150 tokens."""
SEED = 0
SOURCE = (
    f"sentences of the sample pages of ctxpack, drawn at random (seed {SEED}) until a passage has"
    f" {CHARACTERS} characters"
)
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}

Score = Callable[[str, Sequence[SplitPassage]], object]
Times = dict[str, list[float]]
"""Milliseconds of every call by ``wall``, the clock, and ``cpu``, the processor's."""


def sampled_passages(
    n: int, *, data: Path | None = None, seed: int = SEED
) -> Iterator[SplitPassage]:
    """Yield `n` different passages: of a file of records, or of sentences of the samples.

    Raises:
        InputError: the file has fewer passages.
    """
    if data is not None:
        yield from _passages_of(data, n)
        return
    pages = [SplitPassage(page, split(page.text)) for page in samples.passages()]
    sentences = [
        page.passage.text[span.start : span.end].strip()
        for page in pages
        for span in page.spans
        if span.kind == "sentence"
    ]
    generator = random.Random(seed)
    for _ in range(n):
        text = ""
        while len(text) < CHARACTERS:
            text += generator.choice(sentences) + " "
        yield SplitPassage(Passage(text), split(text))


def _passages_of(data: Path, n: int) -> Iterator[SplitPassage]:
    seen: set[str] = set()
    for raw in records.read(data):
        for candidate in records.parse(raw).candidates:
            if candidate.passage.text not in seen and len(seen) < n:
                seen.add(candidate.passage.text)
                yield candidate.split
        if len(seen) == n:
            return
    raise InputError(f"{data}: has {len(seen)} passages, not {n}")


def take_turns(
    contenders: Mapping[str, Score], passages: Sequence[SplitPassage], *, rounds: int
) -> dict[str, Times]:
    """Return what each contender took for the passages, once a round, in an order that changes."""
    times: dict[str, Times] = {name: {"wall": [], "cpu": []} for name in contenders}
    for number in range(-1, rounds):
        order = list(contenders)
        random.Random(number).shuffle(order)
        gc.collect()
        for place, name in enumerate(order):
            # A query of its own for each: the model remembers the vectors of recent ones.
            asked = len(order) * number + place
            query = f"{samples.QUERIES[number % len(samples.QUERIES)]} ({asked})"
            started, cpu_started = time.perf_counter(), time.process_time()
            contenders[name](query, passages)
            wall, cpu = time.perf_counter() - started, time.process_time() - cpu_started
            if number >= 0:
                times[name]["wall"].append(1000 * wall)
                times[name]["cpu"].append(1000 * cpu)
    return times


def paired(one: list[float], other: list[float], operation: Callable[..., Any]) -> float:
    """Return the median over rounds of a ratio or difference of two contenders' times."""
    return round(float(np.median(operation(one, other))), 3)


def summary(times: Times) -> dict[str, float]:
    """Return median and 95th percentile of the clock, and the median of the processor time."""
    median, p95 = np.percentile(times["wall"], [50, 95])
    return {
        "median": round(float(median), 3),
        "p95": round(float(p95), 3),
        "cpu_median": round(float(np.median(times["cpu"])), 3),
    }


@contextmanager
def one_core() -> Iterator[dict[str, Any]]:
    """Hold the process to one core where the system can, and thread pools to one thread.

    Yields what was done, for the record: ``cpu`` is None where a process cannot be held.
    """
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(_ONE_THREAD)
    cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    if cpus is not None:
        os.sched_setaffinity(0, {max(cpus)})
    try:
        yield {"cpu": None if cpus is None else max(cpus), "environment": _ONE_THREAD}
    finally:
        if cpus is not None:
            os.sched_setaffinity(0, cpus)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
