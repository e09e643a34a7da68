"""The two ONNX graphs of ctxpack-swift with their tokenizer and rarity table."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ctxpack.errors import ModelError
from ctxpack.scoring.base import TextSegment
from ctxpack.scoring.encodings import EncodedSegment, pack, unpack
from ctxpack.scoring.manifest import MODELS, Manifest
from ctxpack.scoring.rarity import RarityTable
from ctxpack.scoring.recent import Recent
from ctxpack.scoring.segments import SURELY_FITS, WordPieces
from ctxpack.selection import SplitPassage

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

NAME = "ctxpack-swift"
CPU = ("CPUExecutionProvider",)
TOKENIZER = "tokenizer.json"
ENCODER, HEAD, RARITY = (f"{NAME}/{file}" for file in ("encoder.onnx", "head.onnx", "rarity.npz"))
HEAD_INPUTS = frozenset(
    (
        "query",
        "query_words",
        "query_rarity",
        "told",
        "codes",
        "scales",
        "words",
        "rarity",
        "members",
    )
)

CUTS = 50_000
"""Passages of which a model remembers where they are cut, at about 200 bytes each."""
QUERIES = 64
"""Queries whose vectors a model remembers, at most 80 kB each: a call may score in parts."""


class Logits(NamedTuple):
    """Uncalibrated scores of a segment; ``-inf`` where there is no token.

    Args:
        relevance: of the segment.
        spans: (n_spans,) float64.
    """

    relevance: float
    spans: NDArray[np.float64]


class SwiftModel:
    """Runs the model on one text at a time, so that batch and padding never change a number.

    Args:
        manifest: names the files.
        models: directory that holds them.
        providers: execution providers of onnxruntime, best first.

    Raises:
        ModelError: a file is missing, is not the one that the manifest names, or is of a version
            of the model that cannot be run here.
    """

    def __init__(
        self, manifest: Manifest, *, models: Path = MODELS, providers: Sequence[str] = CPU
    ) -> None:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_str(manifest.read(TOKENIZER, models=models).decode())
        self.pieces = WordPieces(tokenizer)
        self._cuts: Recent[tuple[tuple[int, int], ...]] = Recent(CUTS)
        self._asked: Recent[dict[str, Any]] = Recent(QUERIES)
        table = np.load(io.BytesIO(manifest.read(RARITY, models=models)), allow_pickle=False)
        self._rarity = RarityTable(
            table["keys"].astype(np.int64), table["rarity"].astype(np.float32)
        )
        self._encoder = _session(manifest.read(ENCODER, models=models), providers)
        self._head = _session(manifest.read(HEAD, models=models), providers)
        # A head without second hops reads neither evidence nor the rarity of a segment's words.
        self._head_inputs = {part.name for part in self._head.get_inputs()}
        if not self._head_inputs <= HEAD_INPUTS:
            unknown = min(self._head_inputs - HEAD_INPUTS)
            raise ModelError(f"{manifest.name}: {HEAD!r} asks for {unknown!r}; of a later version")

    def segments(self, passage: SplitPassage) -> list[TextSegment]:
        """Return the segments of a passage; where it is cut is remembered."""
        whole = TextSegment.of(passage)
        if len(whole.text) <= SURELY_FITS and whole.text.isascii():
            return [whole] if whole.text else []
        cuts = self._cuts.get(whole.content, lambda: self.pieces.cuts(whole))
        return [whole.part(start, end) for start, end in cuts]

    def encoded(self, segment: TextSegment) -> bytes:
        """Return what the head reads of a segment, as `encodings.pack` stores it."""
        read = self.pieces.read(segment)
        vectors = self._encoder.run(["segment"], {"ids": read.ids})[0]
        return pack(EncodedSegment.of(len(segment.ends), read, vectors))

    def asked(self, query: str) -> dict[str, Any]:
        """Return what the head reads of a query, which is remembered."""
        content = query.encode("utf-8", "surrogatepass")
        return self._asked.get(content, lambda: self._newly_asked(query))

    def _newly_asked(self, query: str) -> dict[str, Any]:
        tokens = self.pieces.query(query)
        return {
            "query": self._encoder.run(["query"], {"ids": tokens.ids})[0],
            "query_words": tokens.words,
            "query_rarity": self._rarity(tokens.words),
            "told": tokens.told.astype(np.float32),
        }

    def logits(self, asked: dict[str, Any], encoding: bytes) -> Logits:
        """Return the logits of an encoded segment for a query."""
        segment = unpack(encoding)
        logits = np.full(segment.n_spans, -np.inf)
        if not len(segment.spans):
            return Logits(-np.inf, logits)
        nodes = np.arange(len(segment.spans) + 1)[:, None]
        inputs = asked | {
            "codes": segment.codes,
            "scales": segment.scales,
            "words": segment.words,
            "rarity": self._rarity(segment.words),
            "members": (segment.nodes == nodes).astype(np.float32),
        }
        relevance, logits[segment.spans] = self._head.run(
            ["relevance", "spans"], {name: inputs[name] for name in self._head_inputs}
        )
        return Logits(float(relevance[0]), logits)


def _session(model: bytes, providers: Sequence[str]) -> InferenceSession:
    """Return a session that runs on the first of the providers.

    Raises:
        ModelError: this onnxruntime does not have it, or could not start it.
    """
    from onnxruntime import InferenceSession, SessionOptions, get_available_providers

    there = get_available_providers()
    for provider in providers:
        if provider not in there:
            raise ModelError(f"{NAME}: no {provider!r} in this onnxruntime: {', '.join(there)}")
    options = SessionOptions()
    # One thread a call: callers bring their own, and a pool of threads does not survive a fork.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = InferenceSession(model, options, providers=list(providers))
    if session.get_providers()[0] != providers[0]:
        raise ModelError(f"{NAME}: onnxruntime could not start {providers[0]!r}")
    return session
