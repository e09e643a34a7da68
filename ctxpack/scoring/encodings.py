"""Stored form of an encoded segment: small integer vectors, in plain bytes.

A token takes ``width + 10`` bytes: a vector of int8 codes, its scale, its word key and its node.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctxpack.errors import ModelError
from ctxpack.scoring.segments import Segment
from ctxpack.selection import FloatArray, IntArray

_HEADER = struct.Struct("<4sHIII")
FORMAT = b"ctx2"


@dataclass(frozen=True, slots=True)
class EncodedSegment:
    """What the head reads of a segment.

    Args:
        n_spans: how many spans the segment has, those without a token included.
        codes: (n_tokens, width) int8; times `scales` it is the token's vector.
        scales: (n_tokens,) float32.
        words: (n_tokens,) int64 word keys, see `Segment`.
        nodes: (n_tokens,) int64, see `Segment`.
        spans: (n_spans_with_a_token,) int64, see `Segment`.
    """

    n_spans: int
    codes: NDArray[np.int8]
    scales: FloatArray
    words: IntArray
    nodes: IntArray
    spans: IntArray

    @classmethod
    def of(cls, n_spans: int, segment: Segment, vectors: FloatArray) -> EncodedSegment:
        """Return a segment with its vectors (n_tokens, width) rounded to int8."""
        scales = np.abs(vectors).max(axis=1) / np.float32(127)
        codes = np.rint(vectors / scales[:, None]).astype(np.int8)
        return cls(n_spans, codes, scales, segment.words, segment.nodes, segment.spans)


def pack(segment: EncodedSegment) -> bytes:
    """Return the bytes of a segment."""
    n_tokens, width = segment.codes.shape
    return b"".join(
        (
            _HEADER.pack(FORMAT, width, n_tokens, segment.n_spans, len(segment.spans)),
            segment.codes.tobytes(),
            segment.scales.astype("<f4").tobytes(),
            segment.words.astype("<u4").tobytes(),
            segment.nodes.astype("<u2").tobytes(),
            segment.spans.astype("<u4").tobytes(),
        )
    )


def unpack(encoding: bytes) -> EncodedSegment:
    """Return the segment that `pack` was given.

    Raises:
        ModelError: the bytes are not such an encoding.
    """
    try:
        magic, width, n_tokens, n_spans, n_with_token = _HEADER.unpack_from(encoding)
        if magic != FORMAT:
            raise ValueError(f"starts with {magic!r}")
        at = _HEADER.size
        arrays = []
        for dtype, n in (
            ("<i1", n_tokens * width),
            ("<f4", n_tokens),
            ("<u4", n_tokens),
            ("<u2", n_tokens),
            ("<u4", n_with_token),
        ):
            arrays.append(np.frombuffer(encoding, dtype, n, at))
            at += arrays[-1].nbytes
        codes, scales, words, nodes, spans = arrays
        if at != len(encoding) or (n_with_token and spans.max() >= n_spans):
            raise ValueError("of other sizes than it says")
        return EncodedSegment(
            n_spans,
            codes.reshape(n_tokens, width),
            scales,
            words.astype(np.int64),
            nodes.astype(np.int64),
            spans.astype(np.int64),
        )
    except (struct.error, ValueError) as error:
        raise ModelError(f"encoding: not one that this version stored: {error}") from error
