"""The bundled model as a scorer: ctxpack-swift, which encodes passages without the query.

`Swift.encode` is the expensive half and depends on the segment alone, so its result can be stored;
`Swift.score_encoded` is the light half. A model that `ctxpack train` wrote takes its place by path.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr

from ctxpack.errors import ModelError
from ctxpack.process import PerProcess
from ctxpack.scoring.base import (
    ConfiguredScorer,
    PassageScores,
    TextSegment,
    fingerprint_of,
    from_segments,
)
from ctxpack.scoring.encodings import FORMAT
from ctxpack.scoring.manifest import MODELS, Calibration, Manifest
from ctxpack.scoring.swift import CPU, NAME, Logits, SwiftModel
from ctxpack.selection import FloatArray, SplitPassage

_BUNDLED = Manifest.load(NAME)
_MODELS: dict[tuple[Path, str, tuple[str, ...]], PerProcess[SwiftModel]] = {}
"""Directory, version of the weights, providers → the model that the scorers of a process share."""


class _Points:
    """The operating points of a scorer's model, or of the bundled one if the class is asked."""

    def __get__(self, scorer: Swift | None, owner: type[Swift]) -> Mapping[str, float]:
        return (_BUNDLED if scorer is None else scorer._manifest).operating_points


class Swift(ConfiguredScorer):
    """Probabilities by the bundled model, for English text.

    The files come from the package and are verified by SHA-256 when they are loaded; one model is
    shared by all instances of a process. A passage longer than the window is scored in overlapping
    segments: a span has the best score of the segments that hold it, a passage the best of all its
    segments.

    Args:
        path: directory that `ctxpack train` wrote, for a model of your own; None for the bundled.
        providers: execution providers of onnxruntime, best first, such as
            ``CUDAExecutionProvider``; by default the CPU's. Their scores differ in the last digits.
    """

    name: ClassVar[str] = NAME
    pointwise: ClassVar[bool] = True
    operating_points: ClassVar[Mapping[str, float]] = _Points()  # type: ignore[assignment]
    languages: ClassVar[frozenset[str] | None] = frozenset({"en"})
    reads_evidence: ClassVar[bool] = True

    path: str | None = None
    providers: tuple[str, ...] = Field(default=CPU, min_length=1)
    _manifest: Manifest = PrivateAttr(default=_BUNDLED)

    def model_post_init(self, _: Any, /) -> None:
        """Read the manifest of a model of one's own; its weights are read on first use."""
        if self.path is not None:
            try:
                self._manifest = Manifest.load(NAME, models=self._directory)
            except ModelError as error:
                raise ValueError(
                    f"`path` must be a directory of `ctxpack train`: {error}"
                ) from None

    @property
    def _directory(self) -> Path:
        return MODELS if self.path is None else Path(self.path).absolute()

    @property
    def _shared(self) -> PerProcess[SwiftModel]:
        key = self._directory, self._manifest.version, self.providers
        load = partial(SwiftModel, self._manifest, models=self._directory, providers=self.providers)
        return _MODELS.setdefault(key, PerProcess(load))

    @property
    def version(self) -> str:
        """Of the weights; an encoding is good for this version alone."""
        return self._manifest.version

    @property
    def fingerprint(self) -> bytes:
        """What encodings and scores depend on: files, calibration, providers, formats, libraries.

        Not where the files lie: the same model has the same fingerprint on every machine.
        """
        manifest = self._manifest
        parts = (str(sorted(manifest.files.items())), str(manifest.calibration), *_libraries())
        return fingerprint_of(Swift(providers=self.providers), *parts)

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
        model = self._shared.get()
        return [model.segments(passage) for passage in passages]

    def encode(self, segments: Sequence[TextSegment]) -> list[bytes]:
        """Return what `score_encoded` reads of each segment: about 140 bytes a token.

        Raises:
            ModelError: a model file is missing or damaged.
        """
        model = self._shared.get()
        return [model.encoded(segment) for segment in segments]

    def score_encoded(self, query: str, encodings: Sequence[bytes]) -> list[PassageScores]:
        """Return the scores of encoded segments, in the order given.

        Raises:
            ModelError: a model file is missing or damaged, or an encoding is not one of `encode`.
        """
        model = self._shared.get()
        asked = model.asked(query)
        found = (model.logits(asked, encoding) for encoding in encodings)
        return [_scores(logits, self._manifest.calibration) for logits in found]

    def warm_up(self) -> None:
        """Load the model."""
        self._shared.get()

    def close(self) -> None:
        """Release the model of this process; a later call loads it again."""
        self._shared.pop()


def _scores(found: Logits, calibration: Calibration) -> PassageScores:
    """Return calibrated probabilities, 0 where there was no token to score."""
    return PassageScores(
        float(_probability(np.array(found.relevance), calibration.relevance)),
        _probability(found.spans, calibration.evidence),
    )


def _probability(logits: NDArray[np.float64], line: tuple[float, float]) -> FloatArray:
    """Return probabilities, 0 for the logit ``-inf``."""
    slope, offset = line
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-(slope * logits + offset))), dtype=np.float32)


@cache
def _libraries() -> tuple[str, ...]:
    """Return format and libraries that decide the bytes of an encoding or a score."""
    # Asked themselves: onnxruntime comes in packages of several names, such as onnxruntime-gpu.
    names = ("numpy", "onnxruntime", "tokenizers")
    return (FORMAT.decode(), *(f"{name} {import_module(name).__version__}" for name in names))
