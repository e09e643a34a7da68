"""A scorer that pays for a segment once: what it computed is kept, sealed, in a segment cache.

query, passages ──► segments ──► scores tier ──► encoding tier ──► encode
                                  same query      any query         first time
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from ctxpack.cache.base import SegmentCache, Tier
from ctxpack.cache.flight import Flight
from ctxpack.cache.keys import Keys, framed
from ctxpack.cache.options import TIERS
from ctxpack.cache.recording import in_use, recorded
from ctxpack.cache.sealing import seal, unseal
from ctxpack.errors import ModelError, RecipeError, shown
from ctxpack.process import PerProcess
from ctxpack.scoring.around import AroundScorer
from ctxpack.scoring.base import (
    PassageScores,
    ScoreCall,
    Scorer,
    SegmentScorer,
    TextSegment,
    from_segments,
    has_segments,
)
from ctxpack.selection import SplitPassage

_RELEVANCE = struct.Struct("<d")
_SLICE = 32
"""Segments computed at a time: what `CachedScorer.fill` holds, and what other calls wait for."""

Compute = Callable[[list[int]], list[bytes]]


class Filled(NamedTuple):
    """What filling a cache did.

    Args:
        passages: that came in.
        segments: of these passages, equal ones counted once per 32.
        encoded: segments that were not there and were computed.
        bytes_written: of sealed values.
        errors: operations of the store that failed, 1 if it was not asked because others had; what
            they would have written is not there.
    """

    passages: int
    segments: int
    encoded: int
    bytes_written: int
    errors: int


class CachedScorer(AroundScorer):
    """Scores what the scorer inside scores, to the byte, and computes only what is not stored.

    Of a `SegmentScorer` the encodings of segments are stored, for every later query, and their
    scores, for the same query; of any other pointwise scorer the scores of passages. Calls that
    need the same new value at the same time compute it once.

    Args:
        scorer: a pointwise scorer with a `fingerprint`.
        cache: where values are stored. Whoever made it closes it.
        tiers: what is stored.
        namespace: keeps caches apart that share a store.
        secret: at least 16 bytes; keys and values are then of no use without it.

    Raises:
        RecipeError: the scorer is not pointwise, or has no fingerprint.
        CacheError: the secret is shorter.
    """

    def __init__(
        self,
        scorer: Scorer,
        cache: SegmentCache,
        *,
        tiers: Sequence[Tier] = TIERS,
        namespace: str = "default",
        secret: bytes | None = None,
    ) -> None:
        super().__init__(scorer)
        name = self.name
        if not scorer.pointwise:
            raise RecipeError(f"cache: {name!r} looks at the whole call, so nothing can be cached")
        if not hasattr(scorer, "fingerprint"):
            raise RecipeError(f"cache: {name!r} has no `fingerprint` to tell its versions apart")
        for tier in tiers:
            if tier not in TIERS:
                raise RecipeError(f"cache: `tiers` are {', '.join(TIERS)}, got {shown(tier)}")
        self.cache = cache
        self.tiers = tuple(tiers)
        self._keys = Keys(namespace, secret)
        self._flight = PerProcess(Flight)

    def score(self, query: str, passages: Sequence[SplitPassage]) -> list[PassageScores]:
        """Return scores for every passage, in the order given."""
        scorer = self.scorer
        if has_segments(scorer):
            score = partial(self._segment_scores, scorer, query)
            return from_segments(passages, scorer.segments(passages), score)
        return self._passage_scores(query, passages)

    def score_many(self, calls: Sequence[ScoreCall]) -> list[list[PassageScores]]:
        """Return `score` of every call, in order."""
        return [self.score(query, passages) for query, passages in calls]

    def fill(self, passages: Sequence[SplitPassage]) -> Filled:
        """Encode what is not stored yet, ahead of the first query.

        Raises:
            RecipeError: no encodings are stored: the tier is off, or the scorer has no segments.
        """
        scorer = self.scorer
        if not (has_segments(scorer) and "encoding" in self.tiers):
            raise RecipeError(f"cache: no encodings of {self.name!r} are stored, nothing to fill")
        segments = iter([part for parts in scorer.segments(passages) for part in parts])
        with recorded(self.cache.name) as use:
            while some := list(islice(segments, _SLICE)):
                self._encodings(scorer, [(part, part.content) for part in some])
        tier = use.tier("encoding")
        n_segments = tier.hits + tier.misses
        errors = max(use.errors, int(not use.available))
        return Filled(len(passages), n_segments, tier.misses, tier.bytes_written, errors)

    def close(self) -> None:
        """Release what the scorer inside holds; not the cache."""
        self.scorer.close()

    def __repr__(self) -> str:
        return f"CachedScorer({self.scorer!r}, {self.cache!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        options: dict[str, Any] = {
            "tiers": self.tiers,
            "namespace": self._keys.namespace,
            "secret": self._keys.secret,
        }
        return partial(CachedScorer, **options), (self.scorer, self.cache)

    @cached_property
    def _fingerprint(self) -> bytes:
        fingerprint: bytes = self.scorer.fingerprint  # type: ignore[attr-defined]
        return fingerprint

    def _segment_scores(
        self, scorer: SegmentScorer, query: str, segments: Sequence[TextSegment]
    ) -> list[PassageScores]:
        contents = [segment.content for segment in segments]

        def compute(numbers: list[int]) -> list[bytes]:
            missing = [(segments[number], contents[number]) for number in numbers]
            return [_packed(scores) for scores in self._by_encodings(scorer, query, missing)]

        keys = [self._keys.scores(self._fingerprint, query, content) for content in contents]
        sizes = [_packed_bytes(len(segment.ends)) for segment in segments]
        return [_unpacked(payload) for payload in self._get("scores", keys, compute, sizes=sizes)]

    def _by_encodings(
        self, scorer: SegmentScorer, query: str, segments: Sequence[tuple[TextSegment, bytes]]
    ) -> list[PassageScores]:
        """Return the scores of segments; stored encodings that the scorer cannot read are misses.

        They are sealed, and yet not those of the segments: of a scorer that changed and kept its
        fingerprint, or of somebody who may write to a store without a secret.
        """
        use, parts = in_use().tier("encoding"), [segment for segment, _ in segments]
        hits = use.hits
        encodings = self._encodings(scorer, segments)
        hits = use.hits - hits
        try:
            return _checked(scorer.score_encoded(query, encodings), parts)
        except ModelError:
            if "encoding" not in self.tiers:
                raise
        use.hits -= hits
        use.misses += hits
        use.damaged += hits
        started = time.perf_counter()
        encodings = scorer.encode(parts)
        keys = [self._keys.encoding(self._fingerprint, content) for _, content in segments]
        payloads = dict(zip(keys, encodings, strict=True))
        self._store("encoding", payloads, 1000 * (time.perf_counter() - started))
        return scorer.score_encoded(query, encodings)

    def _encodings(
        self, scorer: SegmentScorer, segments: Sequence[tuple[TextSegment, bytes]]
    ) -> list[bytes]:
        """Return the encodings of segments, which come with their contents."""

        def compute(numbers: list[int]) -> list[bytes]:
            return scorer.encode([segments[number][0] for number in numbers])

        keys = [self._keys.encoding(self._fingerprint, content) for _, content in segments]
        return self._get("encoding", keys, compute, shared=True)

    def _passage_scores(self, query: str, passages: Sequence[SplitPassage]) -> list[PassageScores]:
        def compute(numbers: list[int]) -> list[bytes]:
            scores = self.scorer.score(query, [passages[number] for number in numbers])
            return [_packed(one) for one in scores]

        contents = [_content(passage) for passage in passages]
        keys = [self._keys.scores(self._fingerprint, query, content) for content in contents]
        sizes = [_packed_bytes(len(passage.spans)) for passage in passages]
        payloads = self._get("scores", keys, compute, sizes=sizes, shared=True)
        return [_unpacked(payload) for payload in payloads]

    def _get(
        self,
        tier: Tier,
        keys: Sequence[bytes],
        compute: Compute,
        *,
        sizes: Sequence[int] | None = None,
        shared: bool = False,
    ) -> list[bytes]:
        """Return what is stored under keys of a tier, and for the others what `compute` returns.

        Args:
            tier: of the keys.
            keys: of the values.
            compute: returns the values with these numbers.
            sizes: bytes that each payload must have; None for any.
            shared: whether concurrent calls wait for each other's values.
        """
        if tier not in self.tiers:
            return compute(list(range(len(keys))))
        size_of = {} if sizes is None else dict(zip(keys, sizes, strict=True))
        number_of = {key: number for number, key in reversed(list(enumerate(keys)))}
        unique = sorted(number_of, key=number_of.__getitem__)
        found = self._stored(tier, unique, size_of)
        missing = [key for key in unique if key not in found]

        def fill(absent: Sequence[bytes]) -> dict[bytes, bytes]:
            # Looked for again: another call may have stored it since.
            known = self._stored(tier, absent, size_of, again=True) if shared else {}
            absent = [key for key in absent if key not in known]
            started = time.perf_counter()
            payloads = compute([number_of[key] for key in absent]) if absent else []
            computed = dict(zip(absent, payloads, strict=True))
            self._store(tier, computed, 1000 * (time.perf_counter() - started))
            return known | computed

        if missing and not shared:
            found |= fill(missing)
        elif missing:
            for first in range(0, len(missing), _SLICE):
                found |= self._flight.get().get(missing[first : first + _SLICE], fill)
        return [found[key] for key in keys]

    def _stored(
        self,
        tier: Tier,
        keys: Sequence[bytes],
        size_of: Mapping[bytes, int],
        *,
        again: bool = False,
    ) -> dict[bytes, bytes]:
        """Return the payloads that are there; of a second look only hits are counted."""
        use = in_use().tier(tier)
        found = {}
        for key, value in zip(keys, self.cache.get_many(keys), strict=True):
            sealed = None
            if value is not None:
                sealed = unseal(key, value, tier=tier, secret=self._keys.secret)
                if sealed is not None and size_of.get(key) not in (None, len(sealed.payload)):
                    sealed = None
                use.damaged += sealed is None and not again
            if value is None or sealed is None:
                use.misses += not again
                continue
            found[key] = sealed.payload
            use.hits += 1
            use.misses -= again
            use.bytes_read += len(value)
            use.saved_ms += sealed.cost_ms
        return found

    def _store(self, tier: Tier, payloads: Mapping[bytes, bytes], ms: float) -> None:
        """Store payloads; the time that they took is shared out by their length."""
        per_byte = ms / max(1, sum(map(len, payloads.values())))
        secret = self._keys.secret
        values = {
            key: seal(key, payload, tier=tier, cost_ms=per_byte * len(payload), secret=secret)
            for key, payload in payloads.items()
        }
        use = in_use()
        errors = use.errors
        self.cache.put_many(values)
        if use.available and use.errors == errors:
            use.tier(tier).bytes_written += sum(map(len, values.values()))


def _content(passage: SplitPassage) -> bytes:
    """Return what a pointwise scorer may look at: title, text, spans; not id, score, metadata."""
    (text, title), spans = (passage.passage.text, passage.passage.title), passage.spans
    fields = (text, "" if title is None else f"={title}", repr([tuple(span) for span in spans]))
    return framed(*(field.encode("utf-8", "surrogatepass") for field in fields))


def _checked(scores: list[PassageScores], segments: Sequence[TextSegment]) -> list[PassageScores]:
    """Return scores if they are of as many spans as the segments have.

    Raises:
        ModelError: they are not.
    """
    for one, segment in zip(scores, segments, strict=True):
        if len(one.spans) != len(segment.ends):
            raise ModelError("encoding: of another segment")
    return scores


def _packed_bytes(n_spans: int) -> int:
    return _RELEVANCE.size + 4 * n_spans


def _packed(scores: PassageScores) -> bytes:
    return _RELEVANCE.pack(scores.relevance) + np.asarray(scores.spans, dtype="<f4").tobytes()


def _unpacked(payload: bytes) -> PassageScores:
    (relevance,) = _RELEVANCE.unpack_from(payload)
    spans = np.frombuffer(payload, "<f4", offset=_RELEVANCE.size)
    return PassageScores(relevance, spans.astype(np.float32))
