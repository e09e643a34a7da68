"""From the mixture file to a training collection and the records that judge it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from ctxpack.scoring.segments import WordPieces
from ctxpack.train.bridges import bridged
from ctxpack.train.collection import Collection
from ctxpack.train.mixture import BRIDGED, Mixture, Negatives, Source, partition
from ctxpack.train.overlap import EvaluationIndex
from ctxpack.train.records import Record, normalised, parse, read

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

    def texts(self) -> set[tuple[str, str]]:
        """Return title and text of every training passage."""
        return {
            (passage.get("title") or "", passage["text"])
            for raws in self.train.values()
            for raw in raws
            for passage in raw["passages"]
        }

    def collection(self, pieces: WordPieces) -> Collection:
        """Return the training collection, before negatives are mined."""
        collection = Collection(pieces)
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
            seed = self.mixture.fit.seed
            for record in bridged(crossed, per_question=bridges.per_question, seed=seed):
                collection.add(record, BRIDGED, "mined")
        return collection


def _resolved(source: Source, n_asking: int) -> Negatives:
    """Return the rule for negatives, in place of ``auto`` one of the others."""
    if source.negatives != "auto":
        return source.negatives
    return "record" if n_asking > 1 else "mined"
