"""From the mixture file to a training collection and the records that judge it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from ctxpack.scoring.segments import WordPieces
from ctxpack.train.collection import Collection
from ctxpack.train.mixture import Mixture, Source, partition
from ctxpack.train.overlap import EvaluationIndex
from ctxpack.train.records import normalised, parse, read

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
        return {name: source.weight for name, source in self.mixture.sources.items()}

    def collection(self, pieces: WordPieces) -> Collection:
        """Return the training collection, before negatives are mined."""
        collection = Collection(pieces)
        for name, raws in self.train.items():
            asked = Counter(normalised(raw["query"]) for raw in raws)
            source = self.mixture.sources[name]
            for raw in raws:
                collection.add(parse(raw), name, _resolved(source, asked[normalised(raw["query"])]))
        return collection


def _resolved(source: Source, n_asking: int) -> Source:
    """Return the source with a rule for negatives in place of ``auto``."""
    if source.negatives != "auto":
        return source
    return source.model_copy(update={"negatives": "record" if n_asking > 1 else "mined"})
