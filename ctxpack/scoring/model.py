"""What the bundled models have in common: lower layers, a head, word pieces and a rarity table.

The lower layers read a query or a segment by itself and are one file for all models; each model has
upper layers of its own, which give every token a small vector, and a head that reads the vectors.
"""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ctxpack.errors import ModelError
from ctxpack.scoring.base import TextSegment
from ctxpack.scoring.encodings import EncodedSegment
from ctxpack.scoring.manifest import LOWER, MODELS, RARITY, TOKENIZER, Manifest
from ctxpack.scoring.rarity import RarityTable
from ctxpack.scoring.recent import Recent
from ctxpack.scoring.segments import SURELY_FITS, WordPieces
from ctxpack.scoring.sessions import CPU, session
from ctxpack.selection import FloatArray, IntArray, SplitPassage

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
"""Queries of which a model remembers what it read: a call may score in parts.

At most 80 kB each of vectors, 250 kB of states.
"""

Asked = dict[str, Any]
"""What a model reads of a query, by the names of the head's inputs."""
Encoding = TypeVar("Encoding")
"""What a model keeps of a segment between reading and scoring it."""


class Logits(NamedTuple):
    """Uncalibrated scores of a segment; ``-inf`` where there is no token.

    Args:
        relevance: of the segment.
        spans: (n_spans,) float64.
    """

    relevance: float
    spans: NDArray[np.float64]


class Model(ABC, Generic[Encoding]):
    """Runs a model on one text or pair at a time: batch and padding never change a number.

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
        self._asked: Recent[Asked] = Recent(QUERIES)
        table = np.load(io.BytesIO(manifest.read(RARITY, models=models)), allow_pickle=False)
        self._rarity = RarityTable(
            table["keys"].astype(np.int64), table["rarity"].astype(np.float32)
        )
        self._lower, self._upper, self._head = (
            session(manifest, file, models=models, providers=providers)
            for file in (LOWER, manifest.upper, manifest.head)
        )
        # A head without second hops reads neither evidence nor the rarity of a segment's words.
        self._head_inputs = {part.name for part in self._head.get_inputs()}
        if not self._head_inputs <= HEAD_INPUTS:
            unknown = min(self._head_inputs - HEAD_INPUTS)
            raise ModelError(f"{manifest.head!r} asks for {unknown!r}; of a later version")

    def segments(self, passage: SplitPassage) -> list[TextSegment]:
        """Return the segments of a passage; where it is cut is remembered."""
        whole = TextSegment.of(passage)
        if len(whole.text) <= SURELY_FITS and whole.text.isascii():
            return [whole] if whole.text else []
        cuts = self._cuts.get(whole.content, lambda: self.pieces.cuts(whole))
        return [whole.part(start, end) for start, end in cuts]

    def asked(self, query: str) -> Asked:
        """Return what the model reads of a query, which is remembered."""
        content = query.encode("utf-8", "surrogatepass")
        return self._asked.get(content, lambda: self._newly_asked(query))

    @abstractmethod
    def encoded(self, segment: TextSegment) -> Encoding:
        """Return what the model reads of a segment without knowing the query."""

    @abstractmethod
    def logits(self, asked: Asked, encoding: Encoding) -> Logits:
        """Return the logits of an encoded segment for a query."""

    @abstractmethod
    def _query(self, states: FloatArray) -> FloatArray:
        """Return what is kept of a query's states under the name ``query``."""

    def _newly_asked(self, query: str) -> Asked:
        tokens = self.pieces.query(query)
        return {
            "query": self._query(self._states(tokens.ids)),
            "query_words": tokens.words,
            "query_rarity": self._rarity(tokens.words),
            "told": tokens.told.astype(np.float32),
        }

    def _states(self, ids: IntArray) -> FloatArray:
        """Return (n_tokens, hidden size) float32 states after the lower layers."""
        states: FloatArray = self._lower.run(["states"], {"ids": ids})[0]
        return states

    def _judged(self, asked: Asked, segment: EncodedSegment) -> Logits:
        """Return what the head says."""
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
