"""From the mixture file to a training collection and the records that judge it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from ctxpack.scoring.segments import WordPieces
from ctxpack.train.apart import apart
from ctxpack.train.bridges import bridged
from ctxpack.train.collection import Collection
from ctxpack.train.mixture import APART, BRIDGED, Mixture, Negatives, Source, partition
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
        if self.mixture.bridges is not None:
            weights[BRIDGED] = self.mixture.bridges.weight
        if self.mixture.apart is not None:
            weights[APART] = self.mixture.apart.weight
        return weights

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
        bridges, single = self.mixture.bridges, self.mixture.apart
        records: dict[str, list[Record]] = {}
        for name, raws in self.train.items():
            asked = Counter(normalised(raw["query"]) for raw in raws)
            source = self.mixture.sources[name]
            records[name] = [parse(raw) for raw in raws]
            for record in records[name]:
                collection.add(record, name, _resolved(source, asked[normalised(record.query)]))
        if bridges is not None:
            crossed = {name: records[name] for name in bridges.sources}
            seed = self.mixture.fit.seed
            for record in bridged(crossed, per_question=bridges.per_question, seed=seed):
                collection.add(record, BRIDGED, "mined")
        if single is not None:
            for record in apart({name: records[name] for name in single.sources}):
                # Its own spans alone: a passage that it was made of would be mined.
                collection.add(record, APART, "record")
        return collection


def _resolved(source: Source, n_asking: int) -> Negatives:
    """Return the rule for negatives, in place of ``auto`` one of the others."""
    if source.negatives != "auto":
        return source.negatives
    return "record" if n_asking > 1 else "mined"
