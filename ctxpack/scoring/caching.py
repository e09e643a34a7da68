"""What stands between a pipeline and its scorers: a fair queue, and a cache.

The cache is the one that the recipe names, or one in memory by default.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from ctxpack.cache.base import SegmentCache
from ctxpack.cache.opening import open_cache
from ctxpack.cache.options import NO_CACHE, CacheOptions
from ctxpack.cache.recording import CacheUse, recorded
from ctxpack.errors import RecipeError
from ctxpack.scoring.base import ConfiguredScorer, Scorer, has_segments, name_of
from ctxpack.scoring.batching import BatchingScorer, batching
from ctxpack.scoring.bundled import Bundled
from ctxpack.scoring.cached import CachedScorer

DEFAULT_URL = "memory:?max_bytes=128MB"
"""Of the cache that a `SegmentScorer` has unless its recipe says otherwise: 6000 passages or so."""

SECRET = "CTXPACK_CACHE_SECRET"


def options_of(scorer: Scorer, given: str | CacheOptions | None) -> CacheOptions | None:
    """Return the cache that a scorer has, None for no cache; nothing is opened.

    Args:
        scorer: the scorer.
        given: what the recipe says; None for nothing.

    Raises:
        RecipeError: a cache is given, and the scorer is not pointwise.
    """
    if given is None:
        is_cached = isinstance(scorer, CachedScorer) or not has_segments(scorer)
        return None if is_cached else CacheOptions(url=DEFAULT_URL)
    options = CacheOptions(url=given) if isinstance(given, str) else given
    if options.url == NO_CACHE:
        return None
    if not scorer.pointwise:
        name = name_of(scorer)
        raise RecipeError(f"`cache` needs a pointwise scorer; {name!r} looks at the whole call")
    return options


class Caching:
    """The scorers of a pipeline, with their cache, if they have one.

    A `SegmentScorer` or a bundled model is put behind a fair queue, unless it has one: calls from
    many threads then use no more threads for it than there are processors, and a call alone uses
    them all.

    Attributes:
        scorer: what scores, with what stands around it.
        others: the other scorers → the same with what stands around them.

    Args:
        scorer: what scores.
        given: what the recipe says of a cache.
        cache: takes the place of the store that the recipe names; it is not closed here.
        secret: of at least 16 bytes; None for that of the environment variable `SECRET`, if set.
        others: scorers that steps name; a pointwise one is cached where `scorer` is, in the same
            store.

    Raises:
        RecipeError: the scorer is not one to cache.
        CacheError: the store's URL or the secret breaks a rule.
    """

    def __init__(
        self,
        scorer: Scorer,
        given: str | CacheOptions | None,
        *,
        cache: SegmentCache | None = None,
        secret: str | bytes | None = None,
        others: Iterable[ConfiguredScorer] = (),
    ) -> None:
        options = options_of(scorer, given)
        if options is None and cache is not None:
            options = CacheOptions(url=cache.name)
        self._own: SegmentCache | None = None
        if options is not None and cache is None:
            cache = self._own = open_cache(options.url, namespace=options.namespace)
        secret = os.environ.get(SECRET) or None if secret is None else secret

        def around(one: Scorer) -> Scorer:
            is_model = has_segments(one) or isinstance(one, Bundled)
            if is_model and not isinstance(one, BatchingScorer):
                one = batching(one)
            if options is None or cache is None:
                return one
            return CachedScorer(
                one,
                cache,
                tiers=options.tiers,
                namespace=options.namespace,
                secret=secret.encode() if isinstance(secret, str) else secret,
            )

        self.scorer = around(scorer)
        self.others = {one: around(one) if one.pointwise else one for one in others}

    @contextmanager
    def recorded(self) -> Iterator[CacheUse | None]:
        """Record what the cache does inside of the block; None where there is no cache."""
        if not isinstance(self.scorer, CachedScorer):
            yield None
            return
        with recorded(self.scorer.cache.name) as use:
            yield use

    def warm_up(self) -> None:
        """Load what the scorers need."""
        for scorer in (self.scorer, *self.others.values()):
            scorer.warm_up()

    def close(self) -> None:
        """Release what scorers and store hold; a store that was given stays as it is."""
        for scorer in (self.scorer, *self.others.values()):
            scorer.close()
        if self._own is not None:
            self._own.close()
