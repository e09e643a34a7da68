"""What every scorer in two halves, and every scorer with a cache around it, must keep to."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from ctxpack.cache import MemoryCache, SegmentCache
from ctxpack.cache.base import Tier
from ctxpack.cache.recording import recorded
from ctxpack.errors import ModelError
from ctxpack.scoring.base import PassageScores, Scorer, SegmentScorer, TextSegment, from_segments
from ctxpack.scoring.cached import CachedScorer
from ctxpack.testing.cases import CASES, in_shuffled_order, split_case
from ctxpack.testing.scorers import scores_key

PASSAGES = [passage for case in CASES.values() for passage in split_case(case)[:3]]
QUERIES = ("When was the lighthouse automated?", "fees of the north quay")
THREADS = 32


class SegmentScorerContract:
    """Tests that every `SegmentScorer` passes; override `scorer`."""

    @pytest.fixture
    def scorer(self) -> SegmentScorer:
        """Return the scorer under test."""
        raise NotImplementedError("override the `scorer` fixture")

    def test_segments_are_the_text(self, scorer: SegmentScorer) -> None:
        """A segment is a stretch of its passage with the ends of its spans, none left out."""
        for passage, parts in zip(PASSAGES, scorer.segments(PASSAGES), strict=True):
            numbers: set[int] = set()
            for part in parts:
                assert part.text in passage.passage.text
                assert part.ends[-1] == len(part.text)
                assert list(part.ends) == sorted(part.ends)
                numbers.update(range(part.first, part.first + len(part.ends)))
            assert not parts or numbers == set(range(len(passage.spans)))

    def test_segments_are_the_same_twice(self, scorer: SegmentScorer) -> None:
        """Keys of one call are found by the next."""
        assert scorer.segments(PASSAGES) == scorer.segments(PASSAGES)

    def test_an_encoding_is_of_its_segment_alone(self, scorer: SegmentScorer) -> None:
        """Neighbours, order and the place in the passage change no byte."""
        segments = _all_segments(scorer)
        together = scorer.encode(segments)
        assert [scorer.encode([part._replace(first=3)])[0] for part in segments] == together
        order = in_shuffled_order(len(segments))
        shuffled = scorer.encode([segments[index] for index in order])
        assert shuffled == [together[index] for index in order]

    def test_the_halves_are_the_whole(self, scorer: SegmentScorer) -> None:
        """`score` is `score_encoded` of `encode` of `segments`, to the byte."""
        for query in QUERIES:
            encode = partial(_by_halves, scorer, query)
            halves = from_segments(PASSAGES, scorer.segments(PASSAGES), encode)
            assert scores_key(halves) == scores_key(scorer.score(query, PASSAGES))

    @pytest.mark.parametrize("foreign", [b"", b"\x00", b"no encoding of any scorer"])
    def test_a_foreign_encoding_is_refused(self, scorer: SegmentScorer, foreign: bytes) -> None:
        """What `encode` did not make raises a `ModelError`, by which a cache knows it."""
        with pytest.raises(ModelError):
            scorer.score_encoded(QUERIES[0], [foreign])

    def test_has_a_fingerprint(self, scorer: SegmentScorer) -> None:
        """It is some bytes, the same in another process."""
        assert isinstance(scorer.fingerprint, bytes)
        assert scorer.fingerprint == pickle.loads(pickle.dumps(scorer)).fingerprint != b""


class CachedScorerContract:
    """Tests that every scorer that may be cached passes; override `scorer`, and `cache` at will."""

    @pytest.fixture
    def scorer(self) -> Scorer:
        """Return the pointwise scorer under test, with a `fingerprint`."""
        raise NotImplementedError("override the `scorer` fixture")

    @pytest.fixture
    def cache(self) -> SegmentCache:
        """Return an empty cache."""
        return MemoryCache()

    @pytest.mark.parametrize("tiers", [("encoding",), ("scores",), ("encoding", "scores")])
    def test_cached_equals_uncached(
        self, scorer: Scorer, cache: SegmentCache, tiers: tuple[Tier, ...]
    ) -> None:
        """Cold, half warm and warm, for the same query and another: the same bytes."""
        cached = CachedScorer(scorer, cache, tiers=tiers)
        for query in (*QUERIES, QUERIES[0]):
            expected = scores_key(scorer.score(query, PASSAGES))
            assert scores_key(cached.score(query, PASSAGES[::2])) == expected[::2]
            assert scores_key(cached.score(query, PASSAGES)) == expected
            assert scores_key(cached.score(query, PASSAGES[::-1])) == expected[::-1]

    def test_warm_computes_nothing(self, scorer: Scorer, cache: SegmentCache) -> None:
        """What is there is used: a warm call has no misses."""
        cached = CachedScorer(scorer, cache)
        cached.score(QUERIES[0], PASSAGES)
        with recorded(cache.name) as use:
            cached.score(QUERIES[0], PASSAGES)
        assert use.tier("scores").hits > 0
        assert sum(tier.misses for tier in use.tiers.values()) == 0

    def test_damaged_values_are_misses(self, scorer: Scorer, cache: SegmentCache) -> None:
        """Whatever was changed, cut or moved to another key, scores stay what they are."""
        cached = CachedScorer(scorer, cache)
        expected = scores_key(cached.score(QUERIES[0], PASSAGES))
        entries = sorted(cache.items())
        values = [value for _, value in entries]
        for damaged in (
            [value[:-1] + bytes([value[-1] ^ 1]) for value in values],
            [value[: len(value) // 2] for value in values],
            [b"" for _ in values],
            [*values[1:], values[0]],
        ):
            cache.put_many(dict(zip([key for key, _ in entries], damaged, strict=True)))
            assert scores_key(cached.score(QUERIES[0], PASSAGES)) == expected

    def test_another_secret_reads_nothing(self, scorer: Scorer, cache: SegmentCache) -> None:
        """Tenants of one store that have their own secrets find none of the others' entries."""
        for secret in (None, b"a secret of one tenant", b"a secret of another"):
            cached = CachedScorer(scorer, cache, secret=secret)
            with recorded(cache.name) as use:
                cached.score(QUERIES[0], PASSAGES)
            assert sum(tier.hits + tier.damaged for tier in use.tiers.values()) == 0

    def test_serves_many_threads(self, scorer: Scorer, cache: SegmentCache) -> None:
        """Thirty-two threads that need the same passages at once get the bytes of one alone."""
        cached, some = CachedScorer(scorer, cache), PASSAGES[:6]
        expected = [scores_key(scorer.score(query, some)) for query in QUERIES]
        calls = [(QUERIES[n % 2], some[n % 3 :]) for n in range(THREADS)]
        with ThreadPoolExecutor(THREADS) as pool:
            found = list(pool.map(lambda call: scores_key(cached.score(*call)), calls))
        assert found == [expected[n % 2][n % 3 :] for n in range(THREADS)]

    def test_a_store_that_forgets_changes_nothing(self, scorer: Scorer) -> None:
        """Without a single hit, scores are what they are."""
        cached = CachedScorer(scorer, MemoryCache(max_bytes=1))
        expected = scores_key(scorer.score(QUERIES[0], PASSAGES))
        assert scores_key(cached.score(QUERIES[0], PASSAGES)) == expected


def _all_segments(scorer: SegmentScorer) -> list[TextSegment]:
    return [part for parts in scorer.segments(PASSAGES) for part in parts]


def _by_halves(
    scorer: SegmentScorer, query: str, segments: Sequence[TextSegment]
) -> list[PassageScores]:
    return scorer.score_encoded(query, scorer.encode(segments))
