"""The manifest of a bundled model: its files with their checksums, and what was fitted after it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ctxpack.errors import ModelError

MODELS = Path(__file__).resolve().parents[1] / "models"
"""Directory of the bundled models; each has one of its own for what they do not share."""
TOKENIZER, LOWER, RARITY = "tokenizer.json", "lower.onnx", "rarity.npz"
SHARED = (TOKENIZER, LOWER, RARITY)
"""Files that the models of a directory share."""
_MANIFEST = "manifest.json"


class Calibration(BaseModel):
    """Logits to probabilities, by logistic regression on half of the development records.

    ``P(relevant) = sigmoid(relevance[0] * r + relevance[1])`` for the logit ``r`` of a passage, and
    likewise for that of a span, which was trained to rank spans of all passages and so needs no
    help from its passage's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    relevance: tuple[float, float]
    evidence: tuple[float, float]


class Manifest(BaseModel):
    """What a model directory holds.

    Args:
        name: of the scorer.
        version: of the weights; part of every cache key.
        files: path under the models directory → SHA-256 of the file.
        calibration: see `Calibration`.
        operating_points: thresholds on the probability of evidence, by name.
        training: how the weights came to be, for the reader.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: str
    files: dict[str, str]
    calibration: Calibration
    operating_points: dict[str, float]
    training: dict[str, Any]

    @property
    def path(self) -> str:
        """Where it is kept itself."""
        return f"{self.name}/{_MANIFEST}"

    @property
    def upper(self) -> str:
        """The file of the upper layers."""
        return f"{self.name}/upper.onnx"

    @property
    def head(self) -> str:
        """The file of the head."""
        return f"{self.name}/head.onnx"

    @classmethod
    def load(cls, name: str, *, models: Path = MODELS) -> Manifest:
        """Return the manifest of the bundled model `name`.

        Raises:
            ModelError: it is missing or damaged.
        """
        path = models / name / _MANIFEST
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise ModelError(f"{name}: no manifest at {path.name!r}: {error}") from error
        except ValidationError as error:
            raise ModelError(f"{name}: damaged manifest: {error}") from error

    def read(self, file: str, *, models: Path = MODELS) -> bytes:
        """Return the bytes of one of the model's files, verified.

        Raises:
            ModelError: the file is missing or is not the one that the manifest names, or it names
                none.
        """
        if file not in self.files:
            raise ModelError(
                f"{self.name}: `files` of the manifest must list {file!r}, got {list(self.files)}"
            )
        try:
            content = (models / file).read_bytes()
        except OSError as error:
            raise ModelError(f"{self.name}: cannot read {file!r}: {error}") from error
        found = hashlib.sha256(content).hexdigest()
        if found != self.files[file]:
            raise ModelError(
                f"{self.name}: {file!r} must have SHA-256 {self.files[file]}, got {found}"
            )
        return content


def names_in(models: Path) -> list[str]:
    """Return the names of the models in a directory."""
    return sorted(path.parent.name for path in models.glob(f"*/{_MANIFEST}"))
