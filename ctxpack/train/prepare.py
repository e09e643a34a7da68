"""From the mixture file to a training collection and the records that judge it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ctxpack.scoring.segments import WordPieces
from ctxpack.train.collection import Collection
from ctxpack.train.mixture import Mixture, partition
from ctxpack.train.overlap import EvaluationIndex
from ctxpack.train.records import parse, read

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
        index = EvaluationIndex(raw for raws in self.evaluation.values() for raw in raws)
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
        return {name: source.weight for name, source in self.mixture.sources.items()}

    def collection(self, pieces: WordPieces) -> Collection:
        """Return the training collection, with negatives mined."""
        collection = Collection(pieces)
        for name, raws in self.train.items():
            for raw in raws:
                collection.add(parse(raw), name, self.mixture.sources[name])
        collection.mine()
        return collection
