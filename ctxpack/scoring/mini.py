"""ctxpack-mini: upper layers that read a query and a segment as one text."""

from __future__ import annotations

from typing import NamedTuple

from ctxpack.scoring.base import TextSegment
from ctxpack.scoring.encodings import EncodedSegment
from ctxpack.scoring.model import Asked, Logits, Model
from ctxpack.scoring.segments import Segment
from ctxpack.selection import FloatArray

NAME = "ctxpack-mini"


class ReadSegment(NamedTuple):
    """A segment after the lower layers.

    Args:
        n_spans: how many spans the segment has, those without a token included.
        segment: its tokens.
        states: (n_tokens, hidden size) float32.
    """

    n_spans: int
    segment: Segment
    states: FloatArray


class MiniModel(Model[ReadSegment]):
    """Reads every pair of a query and a segment by itself."""

    def encoded(self, segment: TextSegment) -> ReadSegment:
        """See `Model.encoded`."""
        read = self.pieces.read(segment)
        return ReadSegment(len(segment.ends), read, self._states(read.ids))

    def logits(self, asked: Asked, encoding: ReadSegment) -> Logits:
        """See `Model.logits`."""
        states = {"query_states": asked["query"], "segment_states": encoding.states}
        query, vectors = self._upper.run(["query", "segment"], states)
        segment = EncodedSegment.of(encoding.n_spans, encoding.segment, vectors)
        return self._judged({**asked, "query": query}, segment)

    def _query(self, states: FloatArray) -> FloatArray:
        return states
