"""Stored encodings: small, and the same after a round trip."""

from __future__ import annotations

import numpy as np
import pytest

from ctxpack.errors import ModelError
from ctxpack.scoring.encodings import EncodedSegment, pack, unpack
from ctxpack.scoring.segments import Segment

WORDS = np.array([0, 2**31 - 1, 5, 0])
SEGMENT = Segment(np.arange(4), WORDS, np.array([0, 1, 1, 0]), np.array([7]))


def encoded() -> EncodedSegment:
    """Return a segment of four tokens."""
    vectors = np.random.default_rng(0).normal(size=(4, 128)).astype(np.float32)
    return EncodedSegment.of(SEGMENT, vectors)


def test_round_trip_keeps_everything() -> None:
    """Unpacking returns the arrays that were packed."""
    n_spans, (segment,) = unpack(pack(9, [encoded()]))
    assert n_spans == 9
    for name in ("codes", "scales", "words", "nodes", "spans"):
        np.testing.assert_array_equal(getattr(segment, name), getattr(encoded(), name))


def test_token_takes_at_most_160_bytes() -> None:
    """The bound that a cache is planned with."""
    assert len(pack(9, [encoded()])) - len(pack(9, [])) <= 4 * 160


def test_passage_without_segments_round_trips() -> None:
    """A text without a token has an encoding too."""
    assert unpack(pack(1, [])) == (1, [])


@pytest.mark.parametrize("damaged", [b"", b"other bytes of some length", pack(9, [encoded()])[:-1]])
def test_foreign_bytes_are_refused(damaged: bytes) -> None:
    """A cache entry of another version or a cut one raises, and is never scored."""
    with pytest.raises(ModelError, match="encoding: not one that this version stored"):
        unpack(damaged)
