"""Stored encodings: small, and the same after a round trip."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ctxpack.errors import ModelError
from ctxpack.scoring.encodings import EncodedSegment, pack, unpack
from ctxpack.scoring.segments import Segment

WORDS = np.array([0, 2**31 - 1, 5, 0])
SEGMENT = Segment(np.arange(4), WORDS, np.array([0, 1, 1, 0]), np.array([7]))


def encoded() -> EncodedSegment:
    """Return a segment of four tokens in nine spans."""
    vectors = np.random.default_rng(0).normal(size=(4, 128)).astype(np.float32)
    return EncodedSegment.of(9, SEGMENT, vectors)


def test_round_trip_keeps_everything() -> None:
    """Unpacking returns the arrays that were packed."""
    segment = unpack(pack(encoded()))
    for name in ("n_spans", "codes", "scales", "words", "nodes", "spans"):
        np.testing.assert_array_equal(getattr(segment, name), getattr(encoded(), name))


def test_a_token_takes_138_bytes() -> None:
    """Of a vector, its scale, a word key and a node; a segment takes 18 more, and 4 a span."""
    assert len(pack(encoded())) == 18 + 4 * 138 + 4


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"other bytes of some length",
        pack(encoded())[:-1],
        pack(encoded()) + b"\x00",
        pack(replace(encoded(), n_spans=7)),
    ],
)
def test_foreign_bytes_are_refused(damaged: bytes) -> None:
    """An encoding of another version, a cut or a longer one raises, and is never scored."""
    with pytest.raises(ModelError, match="encoding: not one that this version stored"):
        unpack(damaged)
