"""The two ONNX graphs of ctxpack-swift with their tokenizer and rarity table."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ctxpack.scoring.encodings import EncodedSegment, pack, unpack
from ctxpack.scoring.manifest import MODELS, Manifest
from ctxpack.scoring.rarity import RarityTable
from ctxpack.scoring.segments import WordPieces
from ctxpack.selection import SplitPassage

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

NAME = "ctxpack-swift"
TOKENIZER = "tokenizer.json"
ENCODER, HEAD, RARITY = (f"{NAME}/{file}" for file in ("encoder.onnx", "head.onnx", "rarity.npz"))


class Logits(NamedTuple):
    """Uncalibrated scores of a passage; ``-inf`` where there is no token.

    Args:
        relevance: of the passage, the best of its segments.
        spans: (n_spans,) float64, each the best of the segments that hold the span.
    """

    relevance: float
    spans: NDArray[np.float64]

    @classmethod
    def nothing(cls, n_spans: int) -> Logits:
        """Return the logits of a passage without a token."""
        return cls(-np.inf, np.full(n_spans, -np.inf))

    def best_with(self, spans: NDArray[np.int64], relevance: float, logits: Any) -> Logits:
        """Return the logits with those of one more segment, which holds `spans`."""
        merged = self.spans.copy()
        merged[spans] = np.maximum(merged[spans], logits)
        return Logits(max(self.relevance, float(relevance)), merged)


class SwiftModel:
    """Runs the model on one text at a time, so that batch and padding never change a number.

    Args:
        manifest: names the files.
        models: directory that holds them.

    Raises:
        ModelError: a file is missing or is not the one that the manifest names.
    """

    def __init__(self, manifest: Manifest, *, models: Path = MODELS) -> None:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_str(manifest.read(TOKENIZER, models=models).decode())
        self.pieces = WordPieces(tokenizer)
        table = np.load(io.BytesIO(manifest.read(RARITY, models=models)), allow_pickle=False)
        self._rarity = RarityTable(
            table["keys"].astype(np.int64), table["rarity"].astype(np.float32)
        )
        self._encoder = _session(manifest.read(ENCODER, models=models))
        self._head = _session(manifest.read(HEAD, models=models))

    def encoded(self, passage: SplitPassage) -> bytes:
        """Return what the head reads of a passage, as `encodings.pack` stores it."""
        segments = self.pieces.segments(passage)
        return pack(
            len(passage.spans),
            [
                EncodedSegment.of(segment, self._encoder.run(["segment"], {"ids": segment.ids})[0])
                for segment in segments
            ],
        )

    def asked(self, query: str) -> dict[str, Any]:
        """Return what the head reads of a query."""
        tokens = self.pieces.query(query)
        return {
            "query": self._encoder.run(["query"], {"ids": tokens.ids})[0],
            "query_words": tokens.words,
            "query_rarity": self._rarity(tokens.words),
        }

    def logits(self, asked: dict[str, Any], encoding: bytes) -> Logits:
        """Return the logits of an encoded passage for a query."""
        n_spans, segments = unpack(encoding)
        found = Logits.nothing(n_spans)
        for segment in segments:
            nodes = np.arange(len(segment.spans) + 1)[:, None]
            relevance, spans = self._head.run(
                ["relevance", "spans"],
                asked
                | {
                    "codes": segment.codes,
                    "scales": segment.scales,
                    "words": segment.words,
                    "members": (segment.nodes == nodes).astype(np.float32),
                },
            )
            found = found.best_with(segment.spans, relevance[0], spans)
        return found


def _session(model: bytes) -> InferenceSession:
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    # One thread a call: callers bring their own, and a pool of threads does not survive a fork.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return InferenceSession(model, options, providers=["CPUExecutionProvider"])
