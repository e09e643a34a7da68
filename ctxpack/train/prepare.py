"""From the mixture file to a training collection and the records that judge it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from ctxpack.scoring.segments import WordPieces
from ctxpack.train.bridges import bridged
from ctxpack.train.collection import Collection
from ctxpack.train.mixture import BRIDGED, Mixture, Source, partition
from ctxpack.train.overlap import EvaluationIndex
from ctxpack.train.records import Record, normalised, parse, read
from ctxpack.train.rename import Spellings

Raw = dict[str, Any]


class Prepared:
    """A mixture, read and cleaned.

    Args:
        mixture: what to read.
        data: directory of the files.
    """

    def __init__(self, mixture: Mixture, data: Path) -> None:
        self.mixture = mixture
        self.evaluation: dict[str, list[Raw]] = {}
        train: dict[str, list[Raw]] = {}
        for name, source in mixture.sources.items():
            train[name], self.evaluation[name] = partition(source, list(read(data / source.file)))
        index = EvaluationIndex(
            (raw for raws in self.evaluation.values() for raw in raws),
            only_gold=mixture.kept_out == "gold",
        )
        self.train = {
            name: [kept for raw in raws if (kept := index.admit(raw)) is not None]
            for name, raws in train.items()
        }
        self.left_out = {
            name: len(raws) - len(self.train[name]) for name, raws in train.items() if raws
        }

    @property
    def weights(self) -> dict[str, float]:
        """Passes over each data set in an epoch."""
        weights = {name: source.weight for name, source in self.mixture.sources.items()}
        bridges = self.mixture.bridges
        return weights if bridges is None else {**weights, BRIDGED: bridges.weight}

    def collection(self, pieces: WordPieces, spellings: Spellings | None = None) -> Collection:
        """Return the training collection, before negatives are mined; see `Collection`."""
        collection = Collection(pieces, spellings)
        bridges = self.mixture.bridges
        crossed: dict[str, list[Record]] = {}
        for name, raws in self.train.items():
            asked = Counter(normalised(raw["query"]) for raw in raws)
            source = self.mixture.sources[name]
            records = [parse(raw) for raw in raws]
            for record in records:
                collection.add(record, name, _resolved(source, asked[normalised(record.query)]))
            if bridges is not None and name in bridges.sources:
                crossed[name] = records
        if bridges is not None:
            seed, rule = self.mixture.fit.seed, Source(file="", licence="", negatives="mined")
            for record in bridged(crossed, per_question=bridges.per_question, seed=seed):
                collection.add(record, BRIDGED, rule)
        return collection


def _resolved(source: Source, n_asking: int) -> Source:
    """Return the source with a rule for negatives in place of ``auto``."""
    if source.negatives != "auto":
        return source
    return source.model_copy(update={"negatives": "record" if n_asking > 1 else "mined"})
