"""The mixture file: which data sets are learnt from, which are judged on, and how fit goes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from ctxpack.errors import RecipeError

Negatives = Literal["record", "document", "mined"]
Share = Annotated[float, Field(ge=0)]


class Source(BaseModel):
    """A data set of the mixture.

    Args:
        file: JSONL file, gzip or plain, relative to the data directory.
        role: ``train`` learns from the records of split ``train``; ``evaluate`` never does.
        licence: as named in the model card.
        weight: passes over the set in one epoch; 0.5 takes half of it, another half each epoch.
        held_out: records at the end of split ``train`` that are kept for evaluation.
        negatives: which passages, beside those of its record, are not relevant to a query.
            ``record``: none can be told, because queries repeat over documents; ``document``: the
            other passages of the same title, and those of the batch; ``mined``: BM25 neighbours,
            and those of the batch. Passages that hold an answer are never among them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    role: Literal["train", "evaluate"] = "train"
    licence: str
    weight: Share = 1.0
    held_out: int = 0
    negatives: Negatives = "record"


class FitSettings(BaseModel):
    """How long and how fast to learn.

    Args:
        seed: of batches, augmentation and the head's first weights.
        steps: batches in all; the learning rate falls to 0 over them.
        frozen_layers: layers of the base, from below, that are not trained; embeddings never are.
        head_only_steps: first steps in which only the head and the projections learn.
        encoder_rate: highest learning rate of the base.
        head_rate: highest learning rate of the rest.
        batch_tokens: word pieces of passages in a batch.
        batch_queries: most queries in a batch.
        checkpoint_s: seconds between checkpoints.
        evaluate_s: seconds between evaluations.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 1
    steps: int
    frozen_layers: int = 3
    head_only_steps: int = 60
    encoder_rate: float = 1.5e-4
    head_rate: float = 1e-3
    batch_tokens: int = 3000
    batch_queries: int = 24
    checkpoint_s: float = 240.0
    evaluate_s: float = 900.0


class Mixture(BaseModel):
    """A training run: its data sets, the records kept out of it, and its settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fit: FitSettings
    sources: dict[str, Source]

    @classmethod
    def load(cls, path: Path) -> Mixture:
        """Return the mixture in a YAML file.

        Raises:
            RecipeError: the file is not a valid mixture.
        """
        try:
            return cls.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        except (yaml.YAMLError, ValueError) as error:
            raise RecipeError(f"{path.name}: {error}") from error


def partition(
    source: Source, raws: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the raw records to train on and those to evaluate on.

    A set that is only evaluated gives the records of split ``dev``, or all if it has none.
    """
    train = [raw for raw in raws if raw.get("split", "train") == "train"]
    dev = [raw for raw in raws if raw.get("split", "train") != "train"]
    if source.role == "evaluate":
        return [], dev or train
    at = len(train) - source.held_out
    return train[:at], dev + train[at:]
