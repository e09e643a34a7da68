"""What a segment cache saves: one scorer cold, warm from every store, and beside a joint model."""

from __future__ import annotations

import gc
import os
import random
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from ctxpack import samples
from ctxpack.bench import machine
from ctxpack.bench.servers import local_redis
from ctxpack.bench.speed import one_core
from ctxpack.cache.base import SegmentCache
from ctxpack.cache.memory import ENTRY_BYTES
from ctxpack.cache.opening import open_cache
from ctxpack.errors import InputError
from ctxpack.scoring.bundled import Swift
from ctxpack.scoring.cached import CachedScorer, Filled
from ctxpack.scoring.manifest import LOWER, MODELS, TOKENIZER, Manifest
from ctxpack.scoring.segments import WINDOW, WordPieces
from ctxpack.scoring.sessions import CPU, session
from ctxpack.scoring.swift import NAME
from ctxpack.selection import Passage, SplitPassage
from ctxpack.sentences import split
from ctxpack.train import records

CHARACTERS = 640
"""Of a passage, about 150 tokens."""
_SEED = 0
_SAME_QUERY = "same query"
_BASE = "memory"
_SLOW = ("joint", "uncached")
_SOURCE = (
    f"sentences of the sample pages of ctxpack, drawn at random (seed {_SEED}) until a passage has"
    f" {CHARACTERS} characters"
)
_TIMED = (
    "CachedScorer.score and, for `uncached`, Swift.score, on split passages, loading left out."
    " Every call has a new query, but those of `memory, same query`; `cold` begins with an empty"
    " memory cache. `joint` is a stand-in for a model that reads query and passage together: the"
    " encoder of ctxpack-swift run on both, so it has the cost of such a model's passes and no"
    " scores. Ratios and differences are medians over calls, of contenders in the same round"
)

Score = Callable[[str, Sequence[SplitPassage]], object]
Times = dict[str, list[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What is measured.

    Args:
        passages: per call.
        calls: timed ones of every contender; each has a query of its own.
        data: JSON Lines of records, whose passages are taken; None for sentences of the samples.
        redis: URL of a server; None for one that is started here, if a binary is found.

    Raises:
        InputError: a number is less than 1.
    """

    passages: int = 20
    calls: int = 30
    data: Path | None = None
    redis: str | None = None

    def __post_init__(self) -> None:
        for name in ("passages", "calls"):
            if getattr(self, name) < 1:
                raise InputError(f"bench cache: `{name}` must be at least 1")

    @property
    def command(self) -> str:
        """The command that measures this, without a server's URL: it may hold a password."""
        options = {"passages": self.passages, "calls": self.calls, "data": self.data}
        words = [f"--{name}={value}" for name, value in options.items() if value is not None]
        return shlex.join(["ctxpack", "bench", "cache", *words])


class JointModel:
    """Stands in for a model that reads query and passage together: what its passes cost.

    It runs the encoder of ctxpack-swift, the same graph with the same quantisation, on the tokens
    of query and passage, for every passage of every call. Its scores would come from a small layer
    on top, which is left out: the stand-in is a little faster than such a model, never slower.
    """

    def __init__(self) -> None:
        manifest = Manifest.load(NAME)
        self._lower, self._upper = (
            session(manifest, file, models=MODELS, providers=CPU)
            for file in (LOWER, manifest.upper)
        )
        self._pieces = WordPieces(Tokenizer.from_str(manifest.read(TOKENIZER).decode()))

    def score(self, query: str, passages: Sequence[SplitPassage]) -> None:
        """Run ``[CLS] query [SEP] passage [SEP]``, cut to the window, for every passage."""
        head = self._pieces.query(query).ids
        for passage in passages:
            text = self._pieces.tokens(passage.passage.text).ids[: WINDOW - len(head) - 1]
            (states,) = self._lower.run(None, {"ids": np.concatenate((head, text, head[-1:]))})
            self._upper.run(["segment"], {"states": states})


class _Stored(NamedTuple):
    """What the stores took in before the first timed call, by store.

    Args:
        filled: see `Filled`.
        held: bytes of memory, or of the file.
    """

    filled: dict[str, Filled]
    held: dict[str, float]


def measure(study: Study) -> dict[str, Any]:
    """Return the record of a measurement, for JSON.

    Times are milliseconds of `score` on split passages, with everything loaded. The contenders take
    turns, in an order that changes from call to call.
    """
    load = os.getloadavg()
    passages = list(sampled_passages(study.passages, data=study.data))
    with ExitStack() as stack:
        url = study.redis or stack.enter_context(local_redis())
        folder = Path(stack.enter_context(TemporaryDirectory()))
        core = stack.enter_context(one_core())
        stores = _stores(folder, url)
        for store in stores.values():
            stack.callback(store.close)
            stack.callback(store.clear)
        before = _held(stores, folder, url)
        filled = {name: _filled(name, store, passages) for name, store in stores.items()}
        after = _held(stores, folder, url)
        times = _times(_contenders(stores), study, passages)
        errors = {name: store.stats().errors for name, store in stores.items()}
    stored = _Stored(filled, {name: after[name] - before[name] for name in stores})
    return {
        "benchmark": "cache",
        "command": study.command,
        "commit": machine.commit(),
        "versions": machine.versions() | {"redis": machine.version_of("redis")},
        "hardware": machine.hardware() | {"load_before": load},
        "core": core,
        "scorer": NAME,
        "text": _SOURCE if study.data is None else study.data.name,
        "timed": _TIMED,
        "n": study.calls,
        "ms": {name: _summary(values) for name, values in times.items()},
        "times_as_fast": {
            name: {other: _paired(times, other, name, np.divide) for other in _SLOW}
            for name in times
        },
        "ms_over_memory": {name: _paired(times, name, _BASE, np.subtract) for name in stores},
        **_sizes(passages, stored),
        "store_errors": errors,
    }


def sampled_passages(
    n: int, *, data: Path | None = None, seed: int = _SEED
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
    raise InputError(f"bench cache: {data.name!r} has {len(seen)} passages, not {n}")


def _stores(folder: Path, redis_url: str | None) -> dict[str, SegmentCache]:
    namespace = f"bench-{os.getpid()}"
    stores = {
        "memory": open_cache("memory:"),
        "sqlite": open_cache(f"sqlite:///{folder / 'cache.db'}"),
    }
    if redis_url is not None:
        stores["redis"] = open_cache(redis_url, namespace=namespace)
    return stores


def _filled(name: str, store: SegmentCache, passages: Sequence[SplitPassage]) -> Filled:
    filled = CachedScorer(Swift(), store).fill(passages)
    if filled.errors:
        raise RuntimeError(f"bench cache: {name} failed {filled.errors} times while it was filled")
    return filled


def _held(stores: dict[str, SegmentCache], folder: Path, redis_url: str | None) -> dict[str, float]:
    """Return the bytes that stores take: of memory, of files, of the server's memory."""
    stores["sqlite"].close()  # copies its log into the file
    stats = stores["memory"].stats()
    held = {
        "memory": float((stats.bytes or 0) + ENTRY_BYTES * (stats.entries or 0)),
        "sqlite": float(sum(file.stat().st_size for file in folder.iterdir())),
    }
    if redis_url is not None:
        from redis import Redis

        with Redis.from_url(redis_url) as client:
            held["redis"] = float(client.info("memory")["used_memory"])
    return held


def _contenders(stores: dict[str, SegmentCache]) -> dict[str, Score]:
    def cold(query: str, passages: Sequence[SplitPassage]) -> object:
        return CachedScorer(Swift(), open_cache("memory:")).score(query, passages)

    def again(query: str, passages: Sequence[SplitPassage]) -> object:
        return warm[_BASE].score(_SAME_QUERY, passages)

    warm = {name: CachedScorer(Swift(), store) for name, store in stores.items()}
    return {
        "joint": JointModel().score,
        "uncached": Swift().score,
        "cold": cold,
        **{name: scorer.score for name, scorer in warm.items()},
        f"{_BASE}, {_SAME_QUERY}": again,
    }


def _times(
    contenders: dict[str, Score], study: Study, passages: Sequence[SplitPassage]
) -> dict[str, Times]:
    times: dict[str, Times] = {name: {"wall": [], "cpu": []} for name in contenders}
    for number in range(-1, study.calls):
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


def _sizes(passages: Sequence[SplitPassage], stored: _Stored) -> dict[str, Any]:
    """Return what was encoded, in tokens as the model reads them, and the bytes that it takes."""
    pieces = WordPieces(Tokenizer.from_str(Manifest.load(NAME).read(TOKENIZER).decode()))
    segments = {segment for part in Swift().segments(passages) for segment in part}
    tokens = [len(pieces.read(segment).ids) for segment in segments]
    return {
        "passages": {
            "n": len(passages),
            "segments": len(segments),
            "tokens": {"median": float(np.median(tokens)), "total": sum(tokens)},
        },
        "bytes": {
            "sealed_per_token": round(stored.filled[_BASE].bytes_written / sum(tokens), 1),
            "held_per_segment": {
                name: round(held / len(segments), 1) for name, held in stored.held.items()
            },
        },
    }


def _paired(times: dict[str, Times], one: str, other: str, operation: Callable[..., Any]) -> float:
    """Return the median over calls of a ratio or difference of two contenders."""
    return round(float(np.median(operation(times[one]["wall"], times[other]["wall"]))), 2)


def _summary(times: Times) -> dict[str, float]:
    median, p95 = np.percentile(times["wall"], [50, 95])
    return {
        "median": round(float(median), 3),
        "p95": round(float(p95), 3),
        "cpu_median": round(float(np.median(times["cpu"])), 3),
    }
