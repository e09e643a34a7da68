"""ctxpack-swift: upper layers that read a segment without the query, so that it is read once."""

from __future__ import annotations

from ctxpack.scoring.base import TextSegment
from ctxpack.scoring.encodings import EncodedSegment, pack, unpack
from ctxpack.scoring.model import Asked, Logits, Model
from ctxpack.selection import FloatArray

NAME = "ctxpack-swift"


class SwiftModel(Model[bytes]):
    """Keeps small vectors of a segment, which the head reads for every query."""

    def encoded(self, segment: TextSegment) -> bytes:
        """Return what the head reads of a segment, as `encodings.pack` stores it."""
        read = self.pieces.read(segment)
        vectors = self._upper.run(["segment"], {"states": self._states(read.ids)})[0]
        return pack(EncodedSegment.of(len(segment.ends), read, vectors))

    def logits(self, asked: Asked, encoding: bytes) -> Logits:
        """See `Model.logits`."""
        return self._judged(asked, unpack(encoding))

    def _query(self, states: FloatArray) -> FloatArray:
        vectors: FloatArray = self._upper.run(["query"], {"states": states})[0]
        return vectors
