"""A cached scorer: the same bytes, computed once."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from ctxpack.cache.base import Tier
from ctxpack.cache.memory import MemoryCache
from ctxpack.cache.options import TIERS
from ctxpack.cache.recording import CacheReport, recorded
from ctxpack.cache.sealing import seal
from ctxpack.cache.sqlite import SQLiteCache
from ctxpack.errors import CacheError, ModelError, RecipeError
from ctxpack.scoring.base import ConfiguredScorer, PassageScores, TextSegment, from_segments
from ctxpack.scoring.cached import CachedScorer
from ctxpack.scoring.lexical import Lexical
from ctxpack.selection import Passage, SplitPassage
from ctxpack.sentences import split

POINTS = {"faithful": 0.1, "balanced": 0.5, "aggressive": 0.9}
TEXTS = ("Ships sail by night. Boats too.", "Oats are sown in spring.", "Ships sail by night. Not.")
SECRET = b"sixteen bytes, or more"


class Lengths(ConfiguredScorer):
    """A segment scorer of two spans a segment; counts what it computes."""

    name = "lengths"
    pointwise = True
    operating_points = POINTS
    scale: float = 100.0

    def score(self, query: str, passages: Sequence[SplitPassage]) -> list[PassageScores]:
        """Return lengths as scores."""
        return from_segments(
            passages,
            self.segments(passages),
            lambda segments: self.score_encoded(query, self.encode(segments)),
        )

    def segments(self, passages: Sequence[SplitPassage]) -> list[list[TextSegment]]:
        """Return segments of two spans."""
        found = []
        for passage in passages:
            whole = TextSegment.of(passage)
            ends = sorted({0, *whole.ends[1::2], len(whole.text)})
            found.append([whole.part(*cut) for cut in pairwise(ends)])
        return found

    def encode(self, segments: Sequence[TextSegment]) -> list[bytes]:
        """Return the lengths of the spans."""
        encoded.extend(segment.text for segment in segments)
        if gate is not None:
            assert gate.wait(10)
        return [np.array(segment.ends, dtype="<u4").tobytes() for segment in segments]

    def score_encoded(self, query: str, encodings: Sequence[bytes]) -> list[PassageScores]:
        """Return lengths of query and spans, scaled."""
        scored.append(query)
        found = []
        for encoding in encodings:
            if len(encoding) % 4:
                raise ModelError("no lengths")
            ends = np.frombuffer(encoding, "<u4")
            spans = (np.diff(ends, prepend=0) / (self.scale + len(query))).astype(np.float32)
            found.append(PassageScores(float(spans.max(initial=0)), spans))
        return found


encoded: list[str] = []
scored: list[str] = []
gate: threading.Event | None = None


@pytest.fixture(autouse=True)
def forget() -> None:
    """Begin every test with nothing computed."""
    global gate
    encoded.clear()
    scored.clear()
    gate = None


def passages(*texts: str) -> list[SplitPassage]:
    """Return texts as scorers take them."""
    return [SplitPassage(Passage(text), split(text)) for text in texts]


def key(scores: Sequence[PassageScores]) -> list[tuple[float, bytes]]:
    """Return what must be equal to the byte."""
    return [(one.relevance, one.spans.tobytes()) for one in scores]


def used(scorer: CachedScorer, query: str, *texts: str) -> CacheReport:
    """Return what the cache did in a call."""
    with recorded("memory") as use:
        scorer.score(query, passages(*texts))
    return use.report()


def test_encodes_a_segment_once_for_all_queries() -> None:
    """Another query, another call: what was encoded is not encoded again."""
    scorer = CachedScorer(Lengths(), MemoryCache())
    scorer.score("one", passages(*TEXTS[:2]))
    scorer.score("another", passages(*TEXTS))
    assert sorted(encoded) == sorted(TEXTS)


def test_scores_the_same_query_once() -> None:
    """The second call of a query computes nothing at all."""
    scorer = CachedScorer(Lengths(), MemoryCache())
    first = scorer.score("one", passages(*TEXTS))
    assert key(scorer.score("one", passages(*TEXTS))) == key(first)
    assert scored == ["one"]


@pytest.mark.parametrize("tiers", [("encoding",), ("scores",), ("encoding", "scores"), ()])
def test_equals_the_scorer_inside(tiers: tuple[str, ...]) -> None:
    """Cold, half warm and warm, with any tiers, the bytes are those without a cache."""
    scorer = CachedScorer(Lengths(), MemoryCache(), tiers=tiers)  # type: ignore[arg-type]
    for texts in (TEXTS[:1], TEXTS, TEXTS, TEXTS[::-1]):
        expected = key(Lengths().score("q", passages(*texts)))
        assert key(scorer.score("q", passages(*texts))) == expected


def test_equal_passages_of_a_call_are_encoded_once() -> None:
    """Copies share a key, whatever else their passages hold."""
    scorer = CachedScorer(Lengths(), MemoryCache())
    copies = [passage._replace(passage=Passage(TEXTS[0], id=str(n), score=n)) for n in range(3)
              for passage in passages(TEXTS[0])]  # fmt: skip
    assert len(set(key(scorer.score("q", copies)))) == 1
    assert encoded == [TEXTS[0]]


def test_another_option_reads_no_old_entry() -> None:
    """The fingerprint has every option."""
    cache = MemoryCache()
    CachedScorer(Lengths(), cache).score("q", passages(*TEXTS))
    other = CachedScorer(Lengths(scale=50.0), cache).score("q", passages(*TEXTS))
    assert key(other) == key(Lengths(scale=50.0).score("q", passages(*TEXTS)))


def test_another_namespace_or_secret_reads_no_entry() -> None:
    """Nothing of another's is found, and nothing of another's is changed."""
    cache = MemoryCache()
    for options in ({}, {"namespace": "b"}, {"secret": SECRET}):
        scorer = CachedScorer(Lengths(), cache, **options)
        scorer.score("q", passages(TEXTS[0]))
        assert used(scorer, "q", TEXTS[0])["tiers"]["scores"]["hits"] == 1
    assert len(encoded) == 3


def test_damaged_values_are_misses() -> None:
    """A value that was changed is computed again, and replaced."""
    cache = MemoryCache()
    scorer = CachedScorer(Lengths(), cache)
    expected = key(scorer.score("q", passages(*TEXTS)))
    cache.put_many({key: value[:-1] + b"!" for key, value in cache.items()})
    report = used(scorer, "q", *TEXTS)
    assert report["tiers"]["scores"]["damaged"] == report["tiers"]["encoding"]["damaged"] == 3
    assert key(scorer.score("q", passages(*TEXTS))) == expected
    assert used(scorer, "q", *TEXTS)["tiers"]["scores"]["hits"] == 3


@pytest.mark.parametrize("tier", ["encoding", "scores"])
@pytest.mark.parametrize("payload", [b"", b"foreign", bytes(12), bytes(400)])
def test_sealed_values_of_no_use_are_misses(tier: Tier, payload: bytes) -> None:
    """What is whole, yet of other spans or no encoding at all, is computed anew and replaced."""
    cache = MemoryCache()
    scorer = CachedScorer(Lengths(), cache, tiers=[tier])
    expected = key(scorer.score("q", passages(TEXTS[0])))
    (stored,) = [one for one, _ in cache.items()]
    cache.put_many({stored: seal(stored, payload, tier=tier, cost_ms=1.0, secret=None)})
    counts = [used(scorer, "q", TEXTS[0])["tiers"][tier] for _ in range(2)]
    found = [(count["hits"], count["misses"], count["damaged"]) for count in counts]
    assert found == [(0, 1, 1), (1, 0, 0)]
    assert key(scorer.score("q", passages(TEXTS[0]))) == expected


def test_an_error_of_the_scorer_is_raised() -> None:
    """A scorer that cannot read its own encodings says so, with a cache of them and without."""

    class Broken(Lengths):
        def score_encoded(self, query: str, encodings: Sequence[bytes]) -> list[PassageScores]:
            raise ModelError("broken")

    for tiers in TIERS[:0], TIERS:
        with pytest.raises(ModelError, match="broken"):
            CachedScorer(Broken(), MemoryCache(), tiers=tiers).score("q", passages(TEXTS[0]))


def test_counts_hits_misses_and_bytes() -> None:
    """The counts of a call are its own, and sizes those of sealed values."""
    cache = MemoryCache()
    scorer = CachedScorer(Lengths(), cache, tiers=["encoding"])
    cold = used(scorer, "q", *TEXTS)["tiers"]["encoding"]
    warm = used(scorer, "q", *TEXTS)["tiers"]["encoding"]
    assert (cold["hits"], cold["misses"], warm["hits"], warm["misses"]) == (0, 3, 3, 0)
    stored = sum(len(value) for _, value in cache.items())
    assert cold["bytes_written"] == warm["bytes_read"] == stored
    assert warm["saved_ms"] > 0


def test_concurrent_calls_encode_a_segment_once() -> None:
    """Thirty-two threads that need the same segments get the same bytes for one encoding."""
    global gate
    gate = threading.Event()
    scorer = CachedScorer(Lengths(), MemoryCache())
    with ThreadPoolExecutor(32) as pool:
        calls = [pool.submit(scorer.score, str(n), passages(*TEXTS)) for n in range(32)]
        gate.set()
        for n, call in enumerate(calls):
            assert key(call.result()) == key(Lengths().score(str(n), passages(*TEXTS)))
    assert len(encoded) == 3 + 32 * 3  # the scorer that is compared with encodes, too


def test_waits_for_no_more_than_a_slice_of_another_call() -> None:
    """A call that needs the last segment of a long one is served while the first is encoded."""
    begun, go = threading.Event(), threading.Event()

    class Shut(Lengths):
        def encode(self, segments: Sequence[TextSegment]) -> list[bytes]:
            if segments[0].text == "0":
                begun.set()
                assert go.wait(10)
            return super().encode(segments)

    scorer, texts = CachedScorer(Shut(), MemoryCache()), [str(n) for n in range(100)]
    with ThreadPoolExecutor(2) as pool:
        long = pool.submit(scorer.score, "q", passages(*texts))
        assert begun.wait(10)
        short = pool.submit(scorer.score, "q", passages(texts[-1]))
        try:
            assert key(short.result(5)) == key(Lengths().score("q", passages(texts[-1])))
        finally:
            go.set()
        assert len(long.result()) == 100


def test_a_store_out_of_reach_is_no_success(tmp_path: Path) -> None:
    """Nothing counts as written where nothing is, also once the store is left alone."""
    scorer = CachedScorer(Lengths(), SQLiteCache(tmp_path))  # a folder
    for _ in range(5):
        filled = scorer.fill(passages(*TEXTS))
        assert (filled.encoded, filled.bytes_written) == (3, 0)
        assert filled.errors > 0


def test_fills_ahead_of_the_first_query() -> None:
    """What was filled is not encoded by a call, and filling twice encodes nothing."""
    scorer = CachedScorer(Lengths(), MemoryCache())
    first, second = scorer.fill(passages(*TEXTS)), scorer.fill(passages(*TEXTS))
    assert (first.passages, first.segments, first.encoded) == (3, 3, 3)
    assert (second.segments, second.encoded, second.bytes_written) == (3, 0, 0)
    assert used(scorer, "q", *TEXTS)["tiers"]["encoding"]["misses"] == 0


def test_pointwise_scorer_without_segments_is_cached_by_query(scorer: ConfiguredScorer) -> None:
    """Any pointwise scorer has the tier of scores."""
    cached = CachedScorer(scorer, MemoryCache())
    cached.score("ships", passages(*TEXTS))
    assert used(cached, "ships", *TEXTS)["tiers"]["scores"]["hits"] == 3
    assert used(cached, "oats", *TEXTS)["tiers"]["scores"]["misses"] == 3
    expected = scorer.score("ships", passages(*TEXTS))
    assert key(cached.score("ships", passages(*TEXTS))) == key(expected)
    with pytest.raises(RecipeError, match="no encodings of 'words' are stored"):
        cached.fill(passages(*TEXTS))


def test_kinds_of_spans_are_in_the_key(scorer: ConfiguredScorer) -> None:
    """A scorer may tell a heading from a sentence."""
    cached = CachedScorer(scorer, MemoryCache())
    (plain,) = passages(TEXTS[1])
    heading = plain._replace(spans=tuple(span._replace(kind="heading") for span in plain.spans))
    cached.score("q", [plain])
    with recorded("memory") as use:
        cached.score("q", [heading])
    assert use.tier("scores").hits == 0


def test_scorer_of_the_whole_call_is_refused() -> None:
    """Scores that depend on the other passages of a call cannot be kept."""
    with pytest.raises(RecipeError, match="'lexical' looks at the whole call"):
        CachedScorer(Lexical(), MemoryCache())


def test_scorer_without_a_fingerprint_is_refused() -> None:
    """Nothing could tell its old entries from new ones."""

    class Bare:
        pointwise = True

    with pytest.raises(RecipeError, match="Bare' has no `fingerprint`"):
        CachedScorer(Bare(), MemoryCache())  # type: ignore[arg-type]


def test_unknown_tier_and_short_secret_are_refused() -> None:
    """They are found when the scorer is made."""
    with pytest.raises(RecipeError, match="`tiers` are encoding, scores, got 'score'"):
        CachedScorer(Lengths(), MemoryCache(), tiers=["score"])  # type: ignore[list-item]
    with pytest.raises(CacheError, match="at least 16 bytes"):
        CachedScorer(Lengths(), MemoryCache(), secret=b"short")


def test_pickles_with_its_options() -> None:
    """A copy in another process uses the same keys."""
    cache = MemoryCache()
    scorer = CachedScorer(Lengths(), cache, tiers=["scores"], namespace="n", secret=SECRET)
    copy = pickle.loads(pickle.dumps(scorer))
    for one in (scorer, copy):
        one.score("q", passages(TEXTS[0]))
    assert [key for key, _ in copy.cache.items()] == [key for key, _ in cache.items()]


def test_repr_does_not_show_the_secret() -> None:
    """A log line is no place for it."""
    assert "sixteen" not in repr(CachedScorer(Lengths(), MemoryCache(), secret=SECRET))
