"""The bundled model as a scorer: ctxpack-swift, which encodes passages without the query.

`Swift.encode` is the expensive half and depends on the segment alone, so its result can be stored;
`Swift.score_encoded` is the light half.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ctxpack.process import PerProcess
from ctxpack.scoring.base import (
    ConfiguredScorer,
    PassageScores,
    TextSegment,
    fingerprint_of,
    from_segments,
)
from ctxpack.scoring.encodings import FORMAT
from ctxpack.scoring.manifest import Manifest
from ctxpack.scoring.swift import NAME, Logits, SwiftModel
from ctxpack.selection import FloatArray, SplitPassage

_MANIFEST = Manifest.load(NAME)
_MODEL = PerProcess(lambda: SwiftModel(_MANIFEST))


class Swift(ConfiguredScorer):
    """Probabilities by the bundled model, for English text.

    The files come from the package and are verified by SHA-256 when they are loaded; one model is
    shared by all instances of a process. A passage longer than the window is scored in overlapping
    segments: a span has the best score of the segments that hold it, a passage the best of all its
    segments.
    """

    name: ClassVar[str] = NAME
    pointwise: ClassVar[bool] = True
    languages: ClassVar[frozenset[str] | None] = frozenset({"en"})
    operating_points: ClassVar[Mapping[str, float]] = _MANIFEST.operating_points

    @property
    def version(self) -> str:
        """Of the weights; an encoding is good for this version alone."""
        return _MANIFEST.version

    @property
    def fingerprint(self) -> bytes:
        """What encodings and scores depend on: files, calibration, formats, libraries."""
        parts = (str(sorted(_MANIFEST.files.items())), str(_MANIFEST.calibration), *_libraries())
        return fingerprint_of(self, *parts)

    def score(self, query: str, passages: Sequence[SplitPassage]) -> list[PassageScores]:
        """Return probabilities: of relevance for a passage, of being evidence for a span.

        Raises:
            ModelError: a model file is missing or damaged.
        """
        return from_segments(
            passages,
            self.segments(passages),
            lambda segments: self.score_encoded(query, self.encode(segments)),
        )

    def segments(self, passages: Sequence[SplitPassage]) -> list[list[TextSegment]]:
        """Return the segments of every passage: one, or for a long passage overlapping ones.

        Raises:
            ModelError: a model file is missing or damaged.
        """
        model = _MODEL.get()
        return [model.segments(passage) for passage in passages]

    def encode(self, segments: Sequence[TextSegment]) -> list[bytes]:
        """Return what `score_encoded` reads of each segment: about 140 bytes a token.

        Raises:
            ModelError: a model file is missing or damaged.
        """
        model = _MODEL.get()
        return [model.encoded(segment) for segment in segments]

    def score_encoded(self, query: str, encodings: Sequence[bytes]) -> list[PassageScores]:
        """Return the scores of encoded segments, in the order given.

        Raises:
            ModelError: a model file is missing or damaged, or an encoding is not one of `encode`.
        """
        model = _MODEL.get()
        asked = model.asked(query)
        return [_scores(model.logits(asked, encoding)) for encoding in encodings]

    def warm_up(self) -> None:
        """Load the model."""
        _MODEL.get()

    def close(self) -> None:
        """Release the model of this process; a later call loads it again."""
        _MODEL.pop()


def _scores(found: Logits) -> PassageScores:
    """Return calibrated probabilities, 0 where there was no token to score."""
    return PassageScores(
        float(_probability(np.array(found.relevance), _MANIFEST.calibration.relevance)),
        _probability(found.spans, _MANIFEST.calibration.evidence),
    )


def _probability(logits: NDArray[np.float64], line: tuple[float, float]) -> FloatArray:
    """Return probabilities, 0 for the logit ``-inf``."""
    slope, offset = line
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-(slope * logits + offset))), dtype=np.float32)


@cache
def _libraries() -> tuple[str, ...]:
    """Return format and libraries that decide the bytes of an encoding or a score."""
    names = ("numpy", "onnxruntime", "tokenizers")
    return (FORMAT.decode(), *(f"{name} {metadata.version(name)}" for name in names))
