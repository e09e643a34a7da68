"""What a segment cache saves: ctxpack-swift cold, warm from every store, beside ctxpack-mini."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer

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
from ctxpack.bench.servers import local_redis
from ctxpack.cache.base import SegmentCache
from ctxpack.cache.memory import ENTRY_BYTES
from ctxpack.cache.opening import open_cache
from ctxpack.errors import InputError
from ctxpack.scoring.bundled import Mini, Swift
from ctxpack.scoring.cached import CachedScorer, Filled
from ctxpack.scoring.manifest import TOKENIZER, Manifest
from ctxpack.scoring.segments import WordPieces
from ctxpack.scoring.swift import NAME
from ctxpack.selection import SplitPassage

_SAME_QUERY = "same query"
_BASE = "memory"
_SLOW = ("joint", "uncached")
_TIMED = (
    "CachedScorer.score and, for `uncached`, Swift.score, on split passages, loading left out."
    " Every call has a new query, but those of `memory, same query`; `cold` begins with an empty"
    " memory cache. `joint` is Mini.score, which reads query and passage together. Ratios and"
    " differences are medians over calls, of contenders in the same round"
)


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
        times = take_turns(_contenders(stores), passages, rounds=study.calls)
        errors = {name: store.stats().errors for name, store in stores.items()}
    walls = {name: values["wall"] for name, values in times.items()}
    stored = _Stored(filled, {name: after[name] - before[name] for name in stores})
    return {
        "benchmark": "cache",
        "command": study.command,
        "commit": machine.commit(),
        "versions": machine.versions() | {"redis": machine.version_of("redis")},
        "hardware": machine.hardware() | {"load_before": load},
        "core": core,
        "scorer": NAME,
        "text": SOURCE if study.data is None else study.data.name,
        "timed": _TIMED,
        "n": study.calls,
        "ms": {name: summary(values) for name, values in times.items()},
        "times_as_fast": {
            name: {other: paired(walls[other], walls[name], np.divide) for other in _SLOW}
            for name in walls
        },
        "ms_over_memory": {name: paired(walls[name], walls[_BASE], np.subtract) for name in stores},
        **_sizes(passages, stored),
        "store_errors": errors,
    }


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
        "joint": Mini().score,
        "uncached": Swift().score,
        "cold": cold,
        **{name: scorer.score for name, scorer in warm.items()},
        f"{_BASE}, {_SAME_QUERY}": again,
    }


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
