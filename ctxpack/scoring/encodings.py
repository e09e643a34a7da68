"""Stored form of an encoded passage: its segments as small integer vectors, in plain bytes.

One token takes ``width + 10`` bytes: a vector of int8 codes, its scale, its word key and its node.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctxpack.errors import ModelError
from ctxpack.scoring.segments import Segment
from ctxpack.selection import FloatArray, IntArray

_PASSAGE = struct.Struct("<4sHII")
_SEGMENT = struct.Struct("<II")
_FORMAT = b"ctx1"


@dataclass(frozen=True, slots=True)
class EncodedSegment:
    """What the head reads of a segment.

    Args:
        codes: (n_tokens, width) int8; times `scales` it is the token's vector.
        scales: (n_tokens,) float32.
        words: (n_tokens,) int64 word keys, see `Segment`.
        nodes: (n_tokens,) int64, see `Segment`.
        spans: (n_spans,) int64, see `Segment`.
    """

    codes: NDArray[np.int8]
    scales: FloatArray
    words: IntArray
    nodes: IntArray
    spans: IntArray

    @classmethod
    def of(cls, segment: Segment, vectors: FloatArray) -> EncodedSegment:
        """Return a segment with its vectors (n_tokens, width) rounded to int8."""
        scales = np.abs(vectors).max(axis=1) / np.float32(127)
        codes = np.rint(vectors / scales[:, None]).astype(np.int8)
        return cls(codes, scales, segment.words, segment.nodes, segment.spans)


def pack(n_spans: int, segments: Sequence[EncodedSegment]) -> bytes:
    """Return the bytes of a passage with `n_spans` spans."""
    width = segments[0].codes.shape[1] if segments else 0
    parts = [_PASSAGE.pack(_FORMAT, width, n_spans, len(segments))]
    for segment in segments:
        parts.append(_SEGMENT.pack(len(segment.scales), len(segment.spans)))
        parts.append(segment.codes.tobytes())
        parts.append(segment.scales.astype("<f4").tobytes())
        parts.append(segment.words.astype("<u4").tobytes())
        parts.append(segment.nodes.astype("<u2").tobytes())
        parts.append(segment.spans.astype("<u4").tobytes())
    return b"".join(parts)


def unpack(encoding: bytes) -> tuple[int, list[EncodedSegment]]:
    """Return the number of spans and the segments that `pack` was given.

    Raises:
        ModelError: the bytes are not such an encoding.
    """
    try:
        magic, width, n_spans, n_segments = _PASSAGE.unpack_from(encoding)
        if magic != _FORMAT:
            raise ValueError(f"starts with {magic!r}")
        return n_spans, list(_segments(encoding, width, n_segments))
    except (struct.error, ValueError) as error:
        raise ModelError(f"encoding: not one that this version stored: {error}") from error


def _segments(encoding: bytes, width: int, n_segments: int) -> Iterator[EncodedSegment]:
    at = _PASSAGE.size
    for _ in range(n_segments):
        n_tokens, n_spans = _SEGMENT.unpack_from(encoding, at)
        at += _SEGMENT.size
        arrays = []
        for dtype, n in (
            ("<i1", n_tokens * width),
            ("<f4", n_tokens),
            ("<u4", n_tokens),
            ("<u2", n_tokens),
            ("<u4", n_spans),
        ):
            arrays.append(np.frombuffer(encoding, dtype, n, at))
            at += arrays[-1].nbytes
        codes, scales, words, nodes, spans = arrays
        yield EncodedSegment(
            codes.reshape(n_tokens, width),
            scales,
            words.astype(np.int64),
            nodes.astype(np.int64),
            spans.astype(np.int64),
        )
