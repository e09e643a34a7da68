"""Many callers at once: what single flight and the shared queue are worth to an asyncio program."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import shlex
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from ctxpack import samples
from ctxpack.bench import machine
from ctxpack.bench.rounds import sampled_passages
from ctxpack.cache.flight import Flight
from ctxpack.cache.memory import MemoryCache
from ctxpack.errors import InputError
from ctxpack.process import PerProcess
from ctxpack.scoring.base import PassageScores, Scorer, TextSegment, from_segments
from ctxpack.scoring.batching import batching
from ctxpack.scoring.bundled import Swift
from ctxpack.scoring.cached import CachedScorer
from ctxpack.selection import SplitPassage

_SEED = 1
_POOL = 2
"""Passages that overlapping calls draw from, for each that a call has."""

Call = tuple[str, Sequence[SplitPassage]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """What is measured.

    Args:
        callers: that call in the same moment, each from a task of its own.
        passages: per call, of about 150 tokens.
        rounds: of so many calls, for every contender.

    Raises:
        InputError: a number is less than 1.
    """

    callers: int = 64
    passages: int = 20
    rounds: int = 2

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value < 1:
                raise InputError(f"bench callers: `{name}` must be at least 1")

    @property
    def command(self) -> str:
        """The command that measures this."""
        options = [f"--{name}={value}" for name, value in asdict(self).items()]
        return shlex.join(["ctxpack", "bench", "callers", *options])


class Round(NamedTuple):
    """What one round of calls took, in seconds, and what it gave.

    Args:
        wall: until the last call was over.
        cpu: processor time of the process.
        calls: of every call, from the moment in which all of them started.
        results: the scores of all calls, as bytes.
    """

    wall: float
    cpu: float
    calls: list[float]
    results: bytes


class _EachAlone(CachedScorer):
    """A `CachedScorer` without single flight: a call computes all that it does not find stored."""

    def __init__(self, scorer: Scorer) -> None:
        super().__init__(scorer, MemoryCache())
        self._flight = PerProcess(_NoFlight)


class _NoFlight(Flight):
    def get(
        self,
        keys: Sequence[bytes],
        compute: Callable[[Sequence[bytes]], Mapping[bytes, bytes]],
    ) -> dict[bytes, bytes]:
        return dict(compute(keys))


Contenders = Mapping[str, Callable[[], Scorer]]
"""Each makes a scorer for one round."""


def measure(crowd: Crowd) -> dict[str, Any]:
    """Return the record of a measurement, for JSON.

    Every caller is a task of one event loop that hands its call to a thread of its own. Contenders
    take turns, and begin each round with an empty cache.
    """
    load = os.getloadavg()
    swift = Swift()
    swift.warm_up()
    overlapping: Contenders = {
        "single flight": lambda: CachedScorer(swift, MemoryCache()),
        "each alone": lambda: _EachAlone(swift),
    }
    disjoint: Contenders = {"shared": lambda: batching(swift), "unbatched": lambda: swift}
    return {
        "benchmark": "callers",
        "command": crowd.command,
        "commit": machine.commit(),
        "versions": machine.versions(),
        "hardware": machine.hardware() | {"load_before": load},
        "crowd": asdict(crowd),
        "scorer": swift.name,
        "calls": f"{crowd.callers} in the same moment, each with a query of its own; overlapping:"
        f" passages drawn from {_POOL * crowd.passages}, with seed {_SEED}; disjoint: every call"
        " has passages of its own",
        "timed": "score on split passages, from the moment in which all calls start; in a thread a"
        " call, loading left out, every round with an empty cache",
        "n": crowd.callers * crowd.rounds,
        "overlapping": _compared(overlapping, _overlapping_calls(crowd), crowd.rounds),
        "disjoint": _compared(disjoint, _disjoint_calls(crowd), crowd.rounds),
    }


def _overlapping_calls(crowd: Crowd) -> list[Call]:
    pool = list(sampled_passages(_POOL * crowd.passages))
    generator = random.Random(_SEED)
    return [
        (_query(number), generator.sample(pool, crowd.passages)) for number in range(crowd.callers)
    ]


def _disjoint_calls(crowd: Crowd) -> list[Call]:
    passages = list(sampled_passages(crowd.callers * crowd.passages))
    firsts = range(0, len(passages), crowd.passages)
    return [
        (_query(number), passages[first : first + crowd.passages])
        for number, first in enumerate(firsts)
    ]


def _query(number: int) -> str:
    return f"{samples.QUERIES[number % len(samples.QUERIES)]} ({number})"


def _compared(contenders: Contenders, calls: Sequence[Call], rounds: int) -> dict[str, Any]:
    """Return what each contender took, and the ratios of the first to the second."""
    done: dict[str, list[Round]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name in sorted(contenders, reverse=number % 2 == 1):
            scorer = contenders[name]()
            gc.collect()
            done[name].append(asyncio.run(_round(scorer, calls)))
    expected = _bytes(_one_by_one(calls))
    rows = {name: _summary(part, len(calls)) for name, part in done.items()}
    ours, theirs = rows.values()
    return {
        **rows,
        "ratio": {key: round(ours[key] / theirs[key], 3) for key in ours},
        "same_bytes": all(one.results == expected for part in done.values() for one in part),
    }


async def _round(scorer: Scorer, calls: Sequence[Call]) -> Round:
    loop = asyncio.get_running_loop()
    took: list[float] = []

    async def call(query: str, passages: Sequence[SplitPassage]) -> list[PassageScores]:
        result = await loop.run_in_executor(pool, scorer.score, query, passages)
        took.append(time.perf_counter() - started)
        return result

    with ThreadPoolExecutor(len(calls)) as pool:
        started, cpu_started = time.perf_counter(), time.process_time()
        results = await asyncio.gather(*(call(*one) for one in calls))
        wall, cpu = time.perf_counter() - started, time.process_time() - cpu_started
    return Round(wall, cpu, took, _bytes(results))


def _one_by_one(calls: Sequence[Call]) -> Iterator[list[PassageScores]]:
    """Yield what the scorer alone makes of each call; equal segments are encoded once."""
    swift = Swift()
    encodings: dict[TextSegment, bytes] = {}
    for query, passages in calls:
        parts = swift.segments(passages)
        for segment in chain.from_iterable(parts):
            if segment not in encodings:
                (encodings[segment],) = swift.encode([segment])
        encoded = [encodings[segment] for segment in chain.from_iterable(parts)]
        scores = swift.score_encoded(query, encoded)
        yield from_segments(passages, parts, partial(_given, scores))


def _given(scores: list[PassageScores], segments: Sequence[TextSegment]) -> list[PassageScores]:
    return scores


def _bytes(results: Iterable[Sequence[PassageScores]]) -> bytes:
    return b"".join(
        struct.pack("<d", scores.relevance) + scores.spans.tobytes()
        for result in results
        for scores in result
    )


def _summary(rounds: Sequence[Round], n_calls: int) -> dict[str, float]:
    """Return calls a second, percentiles of all calls, and processor time: medians of rounds."""
    median, p95 = np.percentile([took for one in rounds for took in one.calls], [50, 95])
    return {
        "calls_per_s": round(n_calls / float(np.median([one.wall for one in rounds])), 3),
        "call_median_s": round(float(median), 3),
        "call_p95_s": round(float(p95), 3),
        "cpu_s": round(float(np.median([one.cpu for one in rounds])), 3),
    }
