"""The mixture file: which data sets are learnt from, which are judged on, and how fit goes."""

from __future__ import annotations

from collections import defaultdict
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ctxpack.errors import RecipeError

MIXTURES = Path(__file__).parent / "mixtures"
"""Directory of what the shipped weights were made with."""
SHIPPED = MIXTURES / "swift.yaml"
"""With the data sets of both models."""
BRIDGED = "bridged"
"""Name of the data set of bridged questions; see `Bridges`."""
Negatives = Literal["record", "document", "mined", "auto"]
Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Source(BaseModel):
    """A data set of the mixture.

    Args:
        file: JSONL file, gzip or plain, relative to the data directory.
        role: ``train`` learns from the records of split ``train``; ``evaluate`` never does.
        licence: as named in the model card.
        weight: passes over the set in one epoch; 0.5 takes half of it, another half each epoch.
        held_out: records at the end of split ``train`` that are kept for evaluation.
        dev_share: share of the records that is kept for evaluation where no record has a
            ``split``; see `split_off`.
        negatives: which passages, beside those of its record, are not relevant to a query.
            ``record``: none can be told, because queries repeat over documents; ``document``: the
            other passages of the same title, and those of the batch; ``mined``: BM25 neighbours,
            and those of the batch; ``auto``: ``record`` for a query that several records ask, else
            ``mined``. Passages that hold an answer are never among them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    role: Literal["train", "evaluate"] = "train"
    licence: str
    weight: Weight = 1.0
    held_out: int = 0
    dev_share: Share = 0.0
    negatives: Negatives = "record"


class Bridges(BaseModel):
    """Questions of two hops that are made of questions of one; see `bridges.bridged`.

    Args:
        sources: data sets of role ``train`` whose questions are bridged, and whose passages they
            are bridged with.
        weight: passes over the bridged questions in one epoch.
        per_question: most bridged questions that are made of one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: tuple[str, ...] = Field(min_length=1)
    weight: Weight = 1.0
    per_question: int = Field(default=3, ge=1)


class Augment(BaseModel):
    """Shares of what is changed before it is learnt from.

    Args:
        untitled: segments that lose their title.
        keywords: queries that lose their most common words.
        gaps: queries that lose one word in five, whichever.
        thinned: segments that lose one word in ten, whichever.
        moved: segments in which one evidence span is put anywhere.
        shuffled: segments with their spans in any order.
        cut: segments that lose spans at both ends, but no evidence.
        listed: segments whose spans become items of a Markdown list.
        tabled: segments whose spans become rows of a Markdown table.
        merged: segments that another one's spans are put before or behind.
        renamed: batches in which rare names stand for others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    untitled: Share = 0.15
    keywords: Share = 0.1
    gaps: Share = 0.1
    thinned: Share = 0.0
    moved: Share = 0.0
    shuffled: Share = 0.0
    cut: Share = 0.0
    listed: Share = 0.0
    tabled: Share = 0.0
    merged: Share = 0.0
    renamed: Share = 0.0

    @property
    def rearranges(self) -> bool:
        """Whether the spans of any segment get other places or another dress."""
        return any((self.moved, self.shuffled, self.cut, self.listed, self.tabled, self.merged))


class FitSettings(BaseModel):
    """How long and how fast to learn.

    Args:
        joint: whether query and passage are read together, as by ctxpack-mini, or apart, as by
            ctxpack-swift.
        seed: of batches, augmentation and the head's first weights.
        steps: batches in all; the learning rate falls to 0 over them.
        frozen_layers: layers of the base, from below, that are not trained; embeddings never are.
        head_only_steps: first steps in which only the head and the projections learn.
        encoder_rate: highest learning rate of the base.
        head_rate: highest learning rate of the rest.
        batch_tokens: word pieces of passages in a batch.
        batch_queries: most queries in a batch.
        batch_hard: hard negatives that a query brings for each of its relevant passages.
        batch_candidates: passages that a query is scored against, unless more are its own.
        mined_below: a mined passage is a negative only if the teacher's cosine with the query is
            below this share of its highest cosine with a relevant passage (Moreira et al.,
            "NV-Retriever", 2024: 0.95); None for every one.
        taught_queries: queries of a batch that a joint teacher scores too, where there is one.
        augment: see `Augment`.
        checkpoint_s: seconds between checkpoints.
        evaluate_s: seconds between evaluations.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    joint: bool = False
    seed: int = 1
    steps: int
    frozen_layers: int = 3
    head_only_steps: int = 60
    encoder_rate: float = 1.5e-4
    head_rate: float = 1e-3
    batch_tokens: int = 3000
    batch_queries: int = 24
    batch_hard: int = 3
    batch_candidates: int = 10
    mined_below: float | None = None
    taught_queries: int = Field(default=3, ge=1)
    augment: Augment = Augment()
    checkpoint_s: float = 240.0
    evaluate_s: float = 900.0


class Mixture(BaseModel):
    """A training run: its data sets, the records kept out of it, and its settings.

    Args:
        base: name of the base model, for the manifest.
        fit: see `FitSettings`.
        sources: the data sets by name.
        bridges: see `Bridges`; None for no bridged questions.
        kept_out: what no training record may share with an evaluation record: a query, and the
            text of ``any`` of its passages or of a ``gold`` one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: str = ""
    fit: FitSettings
    sources: dict[str, Source]
    bridges: Bridges | None = None
    kept_out: Literal["any", "gold"] = "any"

    @model_validator(mode="after")
    def _check(self) -> Self:
        learnt = [name for name, source in self.sources.items() if source.role == "train"]
        for name in self.bridges.sources if self.bridges else ():
            if name not in learnt:
                raise ValueError(f"`bridges.sources` must be among {learnt}, got {name!r}")
        if self.bridges and BRIDGED in self.sources:
            raise ValueError(f"`sources` must not hold {BRIDGED!r} beside `bridges`")
        return self

    def seeded(self, seed: int) -> Mixture:
        """Return the mixture with another seed."""
        return self.model_copy(update={"fit": self.fit.model_copy(update={"seed": seed})})

    @classmethod
    def load(cls, path: Path) -> Mixture:
        """Return the mixture in a YAML file.

        Under ``sources`` it may name another mixture file beside it, whose data sets it takes.

        Raises:
            RecipeError: the file is not a valid mixture.
        """
        try:
            raw = _keys(path)
            if isinstance(raw.get("sources"), str):
                raw["sources"] = _keys(path.with_name(raw["sources"])).get("sources")
            return cls.model_validate(raw)
        except (OSError, yaml.YAMLError, ValueError) as error:
            raise RecipeError(f"{path.name}: {error}") from error


def _keys(path: Path) -> dict[str, Any]:
    """Return what stands in a YAML file."""
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError(f"must be a mapping, got {found!r}")
    return found


Raw = dict[str, Any]
MIN_DEV = 8
"""Fewest records that are split off: calibration is fitted to half of them."""


def partition(source: Source, raws: list[Raw]) -> tuple[list[Raw], list[Raw]]:
    """Return the raw records to train on and those to evaluate on.

    A set that is only evaluated gives the records of split ``dev``, or all if it has none.
    """
    if source.dev_share and not any(raw.get("split") for raw in raws):
        return split_off(raws, source.dev_share)
    train = [raw for raw in raws if (raw.get("split") or "train") == "train"]
    dev = [raw for raw in raws if (raw.get("split") or "train") != "train"]
    if source.role == "evaluate":
        return [], dev or train
    at = len(train) - source.held_out
    return train[:at], dev + train[at:]


def split_off(raws: list[Raw], share: float) -> tuple[list[Raw], list[Raw]]:
    """Return records to train on, and at least `share` and `MIN_DEV` of them to evaluate on.

    Records whose first gold passage is the same stay together, as do those that ask the same of
    none. Such groups go in the order of their checksums, so the order of the records is nothing.
    """
    groups: defaultdict[bytes, list[Raw]] = defaultdict(list)
    for raw in raws:
        gold = [passage["text"] for passage in raw["passages"] if passage["gold"]]
        key = gold[0] if gold else raw["query"]
        groups[blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()].append(raw)
    train: list[Raw] = []
    dev: list[Raw] = []
    for key in sorted(groups):
        (dev if len(dev) < max(MIN_DEV, share * len(raws)) else train).extend(groups[key])
    return train, dev
