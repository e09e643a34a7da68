from __future__ import annotations

import pytest

from ctxpack.cli import progress as module
from ctxpack.cli.progress import WarmingProgress
from ctxpack.warming.warmer import Warmed

SKIPPED = Warmed(n_bytes=100, passages=2, segments=4)
ENCODED = Warmed(n_bytes=100, passages=2, segments=4, encoded=4, bytes_written=1000)


@pytest.fixture
def progress(monkeypatch: pytest.MonkeyPatch) -> WarmingProgress:
    """Progress over 1000 bytes, on a clock that goes a second at every look."""
    seconds = iter(range(100))
    monkeypatch.setattr(module.time, "perf_counter", lambda: float(next(seconds)))
    return WarmingProgress(1000)


def test_the_rest_takes_what_encoding_took(progress: WarmingProgress) -> None:
    """After 100 bytes in a second, 900 take nine more."""
    progress.add(ENCODED)
    assert progress.seconds_left == 9


def test_what_was_skipped_makes_no_promise(progress: WarmingProgress) -> None:
    """Nobody knows from hits how long misses take."""
    progress.add(SKIPPED)
    assert progress.seconds_left is None


def test_skipping_does_not_make_encoding_faster(progress: WarmingProgress) -> None:
    """What was skipped only shortens what is left."""
    for warmed in (SKIPPED, SKIPPED, ENCODED):
        progress.add(warmed)
    assert progress.seconds_left == 7


def test_nobody_knows_the_end_of_a_stream() -> None:
    """Without a total there is no time."""
    progress = WarmingProgress(None)
    progress.add(ENCODED)
    assert progress.seconds_left is None


def test_sums_are_those_of_all_batches(progress: WarmingProgress) -> None:
    """Hits are the segments that were not encoded."""
    progress.add(SKIPPED)
    progress.add(ENCODED)
    counts = progress.data()
    assert (counts["passages"], counts["hits"], counts["misses"]) == (4, 4, 4)


def test_one_is_not_many(progress: WarmingProgress) -> None:
    """A single passage and segment have no plural."""
    progress.add(Warmed(n_bytes=10, passages=1, segments=1, encoded=1))
    assert progress.summary().startswith("1 passage, 1 segment: 0 were there, 1 encoded")
