"""Filling a cache ahead of the first query, with the encodings of the passages in files.

stretches ──► passages ──► Pipeline.cache_passages ──► a cache, or a folder of Parquet files
"""

from __future__ import annotations

import json
import operator
import os
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ctxpack.cache.base import SegmentCache
from ctxpack.cache.opening import open_cache
from ctxpack.cache.options import NO_CACHE, CacheOptions
from ctxpack.errors import CacheError, InputError
from ctxpack.pipeline import Pipeline
from ctxpack.reading import Keys, Stretch, passages_of
from ctxpack.recipes import Recipe
from ctxpack.scoring.base import ConfiguredScorer
from ctxpack.scoring.caching import SECRET
from ctxpack.selection import Passage

BATCH = 32
"""Most passages between two records of progress, and between two writes: what a kill loses."""

_BATCH_CHARACTERS = 50_000


class Warmed(NamedTuple):
    """What was done with some passages.

    Args:
        n_bytes: of the files that were read for them.
        passages: read.
        segments: of the passages.
        encoded: segments that were not there yet; all others were.
        bytes_written: of values.
        errors: operations of the store that failed; what they would have written is not there.
    """

    n_bytes: float = 0.0
    passages: int = 0
    segments: int = 0
    encoded: int = 0
    bytes_written: int = 0
    errors: int = 0

    def plus(self, other: Warmed) -> Warmed:
        """Return the sums."""
        return Warmed._make(map(operator.add, self, other))


@dataclass(frozen=True, slots=True)
class Warmer:
    """Fills one cache; a pickled copy fills the same one.

    Args:
        pipeline: with this cache in it.
        cache: the store.
        keys: of the parts of a passage.
    """

    pipeline: Pipeline
    cache: SegmentCache
    keys: Keys

    def run(self, stretches: Iterable[Stretch]) -> Generator[Warmed, None, None]:
        """Yield what was done, batch by batch; what was yielded is stored.

        Of a folder of Parquet files a stretch is stored when it is done, or when this is closed.

        Raises:
            CacheError: the store has failed too often to go on.
            InputError: a file does not hold passages.
            RecipeError: the scorer has no encodings.
        """
        for stretch in stretches:
            try:
                for passages, n_bytes in _batches(passages_of(stretch, self.keys)):
                    filled = self.pipeline.cache_passages(passages)
                    yield Warmed(
                        n_bytes=n_bytes,
                        passages=filled.passages,
                        segments=filled.segments,
                        encoded=filled.encoded,
                        bytes_written=filled.bytes_written,
                        errors=filled.errors,
                    )
                    if not self.cache.stats().available:
                        raise CacheError(f"cache: {self.cache!r} fails; nothing is stored in it")
            finally:
                self.cache.close()


def warmer_of(
    recipe: Recipe,
    keys: Keys,
    *,
    url: str | None = None,
    namespace: str | None = None,
    folder: Path | None = None,
) -> Warmer:
    """Return what fills a cache for the passages that a recipe will see.

    Args:
        recipe: with a scorer that encodes segments.
        keys: of the parts of a passage.
        url: of the cache; None for the recipe's.
        namespace: of the cache; None for the recipe's.
        folder: of Parquet files that take the place of the cache.

    Raises:
        CacheError: the URL breaks a rule.
        InputError: there is no cache, or one in memory.
        MissingExtraError: the store needs a package that is not installed.
        RecipeError: the scorer is not one to cache.
    """
    cache: SegmentCache
    options = _options(recipe, url, namespace)
    if folder is not None:
        cache = _parquet_folder(folder, recipe.scorer, options.namespace)
        options = options.model_copy(update={"url": cache.name})
    elif options.url == NO_CACHE:
        raise InputError("--cache: give the URL of a cache, such as sqlite:///segments.db")
    else:
        cache = lasting(options.url, options.namespace)
    # Read here: the environment of other machines may have another secret, or none.
    secret = os.environ.get(SECRET) or None
    recipe = recipe.model_copy(update={"cache": options})
    return Warmer(Pipeline(recipe, cache=cache, cache_secret=secret), cache, keys)


def lasting(url: str, namespace: str) -> SegmentCache:
    """Return the cache of a URL.

    Raises:
        CacheError: the URL breaks a rule.
        InputError: it is in memory, where it ends with its process.
    """
    cache = open_cache(url, namespace=namespace)
    if cache.name == "memory":
        raise InputError("--cache: a cache in memory ends with this command; give another")
    return cache


def _options(recipe: Recipe, url: str | None, namespace: str | None) -> CacheOptions:
    given = CacheOptions(url=recipe.cache) if isinstance(recipe.cache, str) else recipe.cache
    options = CacheOptions(url=NO_CACHE) if given is None else given
    changes = {"url": url, "namespace": namespace}
    return options.model_copy(update={k: v for k, v in changes.items() if v is not None})


def _parquet_folder(folder: Path, scorer: ConfiguredScorer, namespace: str) -> SegmentCache:
    from ctxpack.cache.parquet import Origin, ParquetFolder

    spelled = json.dumps({scorer.name: scorer.model_dump(mode="json", exclude_defaults=True)})
    return ParquetFolder(folder, Origin(namespace, spelled, scorer.fingerprint.hex()))


def _batches(found: Iterator[tuple[Passage, float]]) -> Iterator[tuple[list[Passage], float]]:
    """Yield passages in lists, with the bytes that were read for them."""
    passages: list[Passage] = []
    characters, n_bytes = 0, 0.0
    for passage, share in found:
        passages.append(passage)
        characters += len(passage.text)
        n_bytes += share
        if len(passages) == BATCH or characters >= _BATCH_CHARACTERS:
            yield passages, n_bytes
            passages, characters, n_bytes = [], 0, 0.0
    if passages:
        yield passages, n_bytes
