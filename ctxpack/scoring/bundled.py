"""The bundled models as scorers, for English.

ctxpack-swift encodes passages without the query. `Swift.encode` is the expensive half and depends
on the segment alone, so its result can be stored; `Swift.score_encoded` is the light half.
ctxpack-mini reads query and passage together. A model that `ctxpack train` wrote takes the place of
either by path.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr

from ctxpack.errors import ModelError
from ctxpack.process import PerProcess
from ctxpack.scoring import mini, swift
from ctxpack.scoring.base import (
    ConfiguredScorer,
    PassageScores,
    TextSegment,
    fingerprint_of,
    from_segments,
)
from ctxpack.scoring.encodings import FORMAT
from ctxpack.scoring.manifest import MODELS, Calibration, Manifest
from ctxpack.scoring.mini import MiniModel
from ctxpack.scoring.model import Logits, Model
from ctxpack.scoring.sessions import CPU
from ctxpack.scoring.swift import SwiftModel
from ctxpack.selection import FloatArray, SplitPassage

_MODELS: dict[tuple[Path, str, str, tuple[str, ...]], PerProcess[Model[Any]]] = {}
"""Directory, name, version, providers → the model that the scorers of a process share."""


@cache
def _installed(name: str) -> Manifest:
    return Manifest.load(name)


class _Points:
    """The operating points of a scorer's model, or of the installed one if the class is asked."""

    def __get__(self, scorer: Bundled | None, owner: type[Bundled]) -> Mapping[str, float]:
        return (_installed(owner.name) if scorer is None else scorer._manifest).operating_points


class Bundled(ConfiguredScorer):
    """What `Swift` and `Mini` have in common.

    Args:
        path: directory that `ctxpack train` wrote, for a model of your own; None for the bundled.
        providers: execution providers of onnxruntime, best first.
    """

    pointwise: ClassVar[bool] = True
    operating_points: ClassVar[Mapping[str, float]] = _Points()  # type: ignore[assignment]
    languages: ClassVar[frozenset[str] | None] = frozenset({"en"})
    reads_evidence: ClassVar[bool] = True
    model: ClassVar[type[Model[Any]]]

    path: str | None = None
    providers: tuple[str, ...] = Field(default=CPU, min_length=1)
    _manifest: Manifest = PrivateAttr()

    def model_post_init(self, _: Any, /) -> None:
        """Read the manifest; the weights are read on first use."""
        if self.path is None:
            self._manifest = _installed(self.name)
            return
        try:
            self._manifest = Manifest.load(self.name, models=self._directory)
        except ModelError as error:
            raise ValueError(f"`path` must be a directory of `ctxpack train`: {error}") from None

    @property
    def _directory(self) -> Path:
        return MODELS if self.path is None else Path(self.path).absolute()

    @property
    def _shared(self) -> PerProcess[Model[Any]]:
        key = self._directory, self.name, self._manifest.version, self.providers
        load = partial(self.model, self._manifest, models=self._directory, providers=self.providers)
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
        return fingerprint_of(self.model_copy(update={"path": None}), *parts)

    def score(self, query: str, passages: Sequence[SplitPassage]) -> list[PassageScores]:
        """Return probabilities: of relevance for a passage, of being evidence for a span.

        Raises:
            ModelError: a model file is missing or damaged.
        """
        model = self._shared.get()
        return from_segments(
            passages,
            [model.segments(passage) for passage in passages],
            lambda segments: self._scores(query, map(model.encoded, segments)),
        )

    def _scores(self, query: str, encodings: Iterable[Any]) -> list[PassageScores]:
        model = self._shared.get()
        asked = model.asked(query)
        found = (model.logits(asked, encoding) for encoding in encodings)
        return [_calibrated(logits, self._manifest.calibration) for logits in found]

    def warm_up(self) -> None:
        """Load the model."""
        self._shared.get()

    def close(self) -> None:
        """Release the model of this process; a later call loads it again."""
        self._shared.pop()


class Swift(Bundled):
    """Probabilities by the bundled model that reads a passage once for all queries, for English.

    The files come from the package and are verified by SHA-256 when they are loaded; one model is
    shared by all instances of a process. A passage longer than the window is scored in overlapping
    segments: a span has the best score of the segments that hold it, a passage the best of all its
    segments.

    Args:
        path: directory that `ctxpack train` wrote, for a model of your own; None for the bundled.
        providers: execution providers of onnxruntime, best first, such as
            ``CUDAExecutionProvider``; by default the CPU's. Their scores differ in the last digits.
    """

    name: ClassVar[str] = swift.NAME
    model: ClassVar[type[Model[Any]]] = SwiftModel

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
        return self._scores(query, encodings)


class Mini(Bundled):
    """Probabilities by the bundled model that reads query and passage together, for English.

    It sees more than `ctxpack-swift` and reads a passage anew for every query: nothing but its
    scores can be cached. Files, long passages and segments are as there.

    Args:
        path: directory that `ctxpack train` wrote, for a model of your own; None for the bundled.
        providers: execution providers of onnxruntime, best first, such as
            ``CUDAExecutionProvider``; by default the CPU's. Their scores differ in the last digits.
    """

    name: ClassVar[str] = mini.NAME
    model: ClassVar[type[Model[Any]]] = MiniModel


BUNDLED: dict[str, type[Bundled]] = {scorer.name: scorer for scorer in (Swift, Mini)}


def _calibrated(found: Logits, calibration: Calibration) -> PassageScores:
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
