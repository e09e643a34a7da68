"""A scorer shared by concurrent calls: the same scores, in turns."""

from __future__ import annotations

import os
import pickle
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ctxpack.errors import QueueError, RecipeError
from ctxpack.scoring.base import (
    ConfiguredScorer,
    PassageScores,
    Scorer,
    TextSegment,
    from_segments,
    has_segments,
)
from ctxpack.scoring.batching import BatchingScorer, Limits, batching
from ctxpack.scoring.bundled import Swift
from ctxpack.scoring.caching import Caching
from ctxpack.scoring.lexical import Lexical
from ctxpack.selection import Passage, SplitPassage, unsplit
from ctxpack.testing import ScorerContract

LIMIT_S = 20
GATE, BEGUN = threading.Event(), threading.Event()
PASSES: list[list[str]] = []


class Letters(ConfiguredScorer):
    """A `SegmentScorer` whose scores are shares of letters that the query has.

    A text that starts with ``shut`` is encoded only when `GATE` is set; one with ``bad`` raises.
    `PASSES` holds the texts that each `encode` was given.
    """

    name = "letters"
    pointwise = True
    operating_points = {"faithful": 0.1, "balanced": 0.2, "aggressive": 0.3}  # noqa: RUF012

    def score(self, query: str, passages: Sequence[SplitPassage]) -> list[PassageScores]:
        """Return shares."""
        return from_segments(
            passages,
            self.segments(passages),
            lambda segments: self.score_encoded(query, self.encode(segments)),
        )

    def segments(self, passages: Sequence[SplitPassage]) -> list[list[TextSegment]]:
        """Return whole passages."""
        return [[TextSegment.of(passage)] for passage in passages]

    def encode(self, segments: Sequence[TextSegment]) -> list[bytes]:
        """Return spans, zero bytes between them."""
        PASSES.append([segment.text for segment in segments])
        BEGUN.set()
        if any(segment.text.startswith("shut") for segment in segments):
            assert GATE.wait(LIMIT_S)
        if any(segment.text.startswith("bad") for segment in segments):
            raise ValueError("bad text")
        return [_spans(segment) for segment in segments]

    def score_encoded(self, query: str, encodings: Sequence[bytes]) -> list[PassageScores]:
        """Return shares of each span."""
        results = []
        for encoding in encodings:
            found = [_share(query, span) for span in encoding.split(b"\0")[:-1]]
            results.append(PassageScores(max(found, default=0), np.array(found, np.float32)))
        return results

    def group_of(self, segment: TextSegment) -> Hashable:
        """Return the length."""
        return len(segment.text)


def _spans(segment: TextSegment) -> bytes:
    text = segment.text.replace("\0", " ")
    spans = [text[start:end] for start, end in zip((0, *segment.ends), segment.ends, strict=False)]
    return b"".join(span.encode("utf-8", "surrogatepass") + b"\0" for span in spans)


def _share(query: str, span: bytes) -> float:
    text = span.decode("utf-8", "surrogatepass")
    return sum(letter in query for letter in text) / max(1, len(text))


@pytest.fixture(autouse=True)
def shut() -> None:
    """Shut the gate before every test."""
    GATE.clear()
    BEGUN.clear()
    PASSES.clear()


def texts(*given: str) -> list[SplitPassage]:
    """Return texts as passages of one span."""
    return [unsplit(Passage(text)) for text in given]


def key(results: list[PassageScores]) -> list[tuple[float, bytes]]:
    """Return what must be equal to the byte."""
    return [(scores.relevance, scores.spans.tobytes()) for scores in results]


def until(condition: Callable[[], bool]) -> None:
    """Return as soon as `condition` holds."""
    expires = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < expires


class TestSharedSegmentScorer(ScorerContract):
    @pytest.fixture
    def scorer(self) -> Scorer:
        return batching(Letters())


class TestBatchedSegmentScorer(ScorerContract):
    @pytest.fixture
    def scorer(self) -> Scorer:
        return batching(Letters(), limits=Limits(batch=4, batch_wait_ms=1))


class TestSharedScorer(ScorerContract):
    @pytest.fixture
    def scorer(self, scorer: Scorer) -> Scorer:
        return batching(scorer)


def test_many_callers_of_the_bundled_model_get_its_bytes() -> None:
    """Eight calls at once have the scores that each has of the model alone."""
    passages = [texts(f"Pier {n} was built in 19{n}0.", "Bread is baked. " * 40) for n in range(8)]
    calls = [(f"When was pier {n} built?", part) for n, part in enumerate(passages)]
    shared, barrier = batching(Swift()), threading.Barrier(8)

    def score(number: int) -> list[PassageScores]:
        barrier.wait(LIMIT_S)
        return shared.score(*calls[number])

    with ThreadPoolExecutor(8) as pool:
        together = [key(result) for result in pool.map(score, range(8), timeout=LIMIT_S)]
    assert together == [key(Swift().score(*call)) for call in calls]


def test_is_a_segment_scorer_when_the_scorer_is(scorer: ConfiguredScorer) -> None:
    """A cache finds the two halves, or does not, as in the scorer itself."""
    assert has_segments(batching(Letters()))
    assert not has_segments(batching(scorer))
    assert batching(Letters()).fingerprint == Letters().fingerprint


def test_a_scorer_without_a_fingerprint_has_none() -> None:
    """A cache sees that the scorer inside cannot tell its versions apart."""

    class Nameless:
        pointwise = True

    assert not hasattr(BatchingScorer(Nameless()), "fingerprint")  # type: ignore[arg-type]


def test_a_scorer_of_whole_calls_is_refused() -> None:
    """Scores that depend on the call's other passages cannot be computed apart."""
    with pytest.raises(RecipeError, match="must be pointwise"):
        BatchingScorer(Lexical())


def test_batches_need_groups() -> None:
    """A scorer that cannot say what fits together is not given several at a time."""
    with pytest.raises(RecipeError, match="`batch` must be 1"):
        batching(Swift(), limits=Limits(batch=2))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("workers", 0),
        ("calls", 0),
        ("batch", 0),
        ("timeout_s", -1),
        ("batch_wait_ms", float("nan")),
    ],
)
def test_limits_are_in_range(name: str, value: float) -> None:
    """A limit that lets nothing through is refused, and named."""
    with pytest.raises(RecipeError, match=f"`{name}` must be at least"):
        Limits(**{name: value})  # type: ignore[arg-type]


def test_equal_lengths_are_encoded_together() -> None:
    """Segments of one group share passes, up to the most that one pass takes."""
    shared = batching(Letters(), limits=Limits(workers=1, batch=3))
    shared.score("a", texts("aaa", "bb", "ccc", "dd", "eee", "fff"))
    assert PASSES == [["aaa", "ccc", "eee"], ["bb", "dd"], ["fff"]]


def test_passages_are_encoded_one_by_one() -> None:
    """Without groups a pass has one segment, so that calls can take turns between any two."""
    batching(Letters()).score("a", texts("aaa", "bbb", "ccc"))
    assert sorted(PASSES) == [["aaa"], ["bbb"], ["ccc"]]


def test_a_short_call_does_not_wait_behind_a_long_one() -> None:
    """A call of 2 passages is served between those of a call of 200 that came first."""
    shared = batching(Letters(), limits=Limits(workers=1))
    with ThreadPoolExecutor(2) as pool:
        long = pool.submit(shared.score, "a", texts("shut", *["long"] * 199))
        assert BEGUN.wait(LIMIT_S)
        short = pool.submit(shared.score, "a", texts("short", "short"))
        until(lambda: shared.n_waiting == 201)
        GATE.set()
        assert (len(short.result(LIMIT_S)), len(long.result(LIMIT_S))) == (2, 200)
    assert PASSES[:5] == [["shut"], ["long"], ["short"], ["long"], ["short"]]


def test_a_call_waits_no_longer_than_it_may() -> None:
    """With a time limit, an overloaded scorer is an error that a recipe can pass through."""
    shared = batching(Letters(), limits=Limits(workers=1, timeout_s=0.01))
    with pytest.raises(QueueError, match="not done in"):
        shared.score("a", texts("shut", "b"))
    assert shared.n_waiting == 0
    GATE.set()


def test_a_bad_passage_fails_its_call_only() -> None:
    """The scorer's error reaches the call that it belongs to."""
    shared = batching(Letters())
    with ThreadPoolExecutor(2) as pool:
        bad = pool.submit(shared.score, "a", texts("bad"))
        good = pool.submit(shared.score, "a", texts("abc"))
        with pytest.raises(ValueError, match="bad text"):
            bad.result(LIMIT_S)
        assert key(good.result(LIMIT_S)) == key(Letters().score("a", texts("abc")))


def test_close_wakes_who_waits_and_a_later_call_works() -> None:
    """Closing ends waiting calls with an error; the scorer serves again afterwards."""
    shared = batching(Letters(), limits=Limits(workers=1))
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(shared.score, "a", texts("shut", "b"))
        assert BEGUN.wait(LIMIT_S)
        closing = pool.submit(shared.close)
        with pytest.raises(QueueError, match="closed"):
            waiting.result(LIMIT_S)
        GATE.set()
        closing.result(LIMIT_S)
    assert shared.score("a", texts("a"))[0].relevance == 1


def test_a_forked_child_has_a_queue_of_its_own() -> None:
    """A child scores while the parent's queue is full of calls that the child does not have."""
    shared = batching(Letters(), limits=Limits(workers=1, calls=1))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(shared.score, "a", texts("shut", "b"))
        assert BEGUN.wait(LIMIT_S)
        child = os.fork()
        if child == 0:
            os._exit(0 if shared.score("a", texts("a"))[0].relevance == 1 else 1)
        assert os.waitpid(child, 0)[1] == 0
        GATE.set()
        waiting.result(LIMIT_S)


def test_travels_with_its_limits() -> None:
    """A pickled one has the same scorer and limits, and its repr says which."""
    shared = batching(Letters(), limits=Limits(workers=3))
    assert repr(pickle.loads(pickle.dumps(shared))) == repr(shared)
    assert "workers=3" in repr(shared)


def test_a_pipeline_shares_its_segment_scorer(scorer: ConfiguredScorer) -> None:
    """A pipeline puts the queue between cache and model; a queue that is there stays."""
    own = batching(Letters(), limits=Limits(workers=3))
    assert "CachedScorer(BatchingSegmentScorer(Letters()" in repr(Caching(Letters(), None).scorer)
    assert repr(own) in repr(Caching(own, None).scorer)
    assert Caching(own, "none").scorer is own
    assert Caching(scorer, None).scorer is scorer
