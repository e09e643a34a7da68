"""Batches: some passages, encoded once each, and every query that is scored against them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ctxpack.train.collection import Collection, Question
from ctxpack.train.mixture import FitSettings


class Pair(NamedTuple):
    """A query of the batch against a unit of the batch.

    Args:
        question: index in the batch.
        relevant: whether the unit is relevant to the query.
        labels: (n_spans,) float32, 1 for evidence, or None where it is unknown.
    """

    question: int
    relevant: bool
    labels: NDArray[np.float32] | None


@dataclass(frozen=True, slots=True)
class Batch:
    """One step of training.

    Args:
        units: unit numbers, each encoded once.
        questions: the queries.
        pairs: for each unit, the queries scored against it.
    """

    units: list[int]
    questions: list[Question]
    pairs: list[list[Pair]]


@dataclass(frozen=True, slots=True)
class BatchSize:
    """How much goes into one step.

    Args:
        tokens: of passages that are encoded, before the last query's.
        queries: most queries.
        hard: hard negatives for each relevant passage of a query that starts a batch.
        candidates: passages that a query is scored against, unless more are its own.
    """

    tokens: int
    queries: int
    hard: int = 3
    candidates: int = 10

    @classmethod
    def of(cls, settings: FitSettings) -> BatchSize:
        """Return the size that a run is set to."""
        return cls(
            settings.batch_tokens,
            settings.batch_queries,
            settings.batch_hard,
            settings.batch_candidates,
        )


class Batches:
    """Draws batches from a collection, the same ones for the same seed."""

    def __init__(self, collection: Collection, weights: dict[str, float], size: BatchSize) -> None:
        self._collection = collection
        self._size = size
        self._of_dataset: defaultdict[str, list[Question]] = defaultdict(list)
        self._of_unit: defaultdict[int, list[Question]] = defaultdict(list)
        self._siblings: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        self._weights = weights
        for question in collection.questions:
            self._of_dataset[question.dataset].append(question)
            for number in question.labels or question.negatives[:1]:
                self._of_unit[number].append(question)
        for number, unit in enumerate(collection.units):
            self._siblings[unit.document].append(number)

    def epoch(self, seed: int) -> Iterator[Batch]:
        """Yield the batches of one pass over the mixture."""
        rng = np.random.default_rng(seed)
        seeds = self._seeds(rng)
        done: set[int] = set()
        while seeds:
            units: dict[int, None] = {}
            questions: dict[int, Question] = {}
            tokens = 0
            while seeds and tokens < self._size.tokens and len(questions) < self._size.queries:
                question = seeds.pop()
                if id(question) in done:
                    continue
                questions[id(question)] = question
                for number in self._passages_of(question, rng):
                    if number not in units:
                        units[number] = None
                        tokens += len(self._collection.units[number].segment.ids)
            self._fill(questions, list(units), rng)
            done.update(questions)
            if units:
                yield self._batch(list(units), list(questions.values()), rng)

    def _seeds(self, rng: np.random.Generator) -> list[Question]:
        seeds = []
        for dataset, questions in self._of_dataset.items():
            n = round(len(questions) * self._weights[dataset])
            order = np.concatenate(
                [rng.permutation(len(questions)) for _ in range(-(-n // max(len(questions), 1)))]
                or [np.empty(0, np.int64)]
            )
            seeds += [questions[i] for i in order[:n]]
        return [seeds[i] for i in rng.permutation(len(seeds))]

    def _passages_of(self, question: Question, rng: np.random.Generator) -> list[int]:
        """Return the relevant units of a question and some of its hard negatives."""
        hard = question.negatives
        if question.rule == "document" and question.labels:
            document = self._collection.units[next(iter(question.labels))].document
            hard = hard + [n for n in self._siblings[document] if self._is_negative(question, n)]
        n = min(len(hard), self._size.hard * max(1, len(question.labels)))
        # Neighbours stand best first: half of the draw is from the nearest, half from all.
        near = rng.permutation(hard[: max(2 * n, 8)])[: (n + 1) // 2]
        far = rng.permutation(hard)[: n // 2]
        return [*question.labels, *near.tolist(), *far.tolist()]

    def _is_negative(self, question: Question, number: int) -> bool:
        return number not in question.labels and not question.answered_by(
            self._collection.units[number]
        )

    def _fill(
        self, questions: dict[int, Question], units: list[int], rng: np.random.Generator
    ) -> None:
        """Add queries whose relevant units are all in the batch already, for they cost little."""
        present = set(units)
        extra = {
            id(question): question
            for number in units
            for question in self._of_unit[number]
            if id(question) not in questions and present.issuperset(question.labels)
        }
        keys = list(extra)
        for i in rng.permutation(len(keys))[: self._size.queries - len(questions)]:
            questions[keys[i]] = extra[keys[i]]

    def _batch(
        self, units: list[int], questions: list[Question], rng: np.random.Generator
    ) -> Batch:
        pairs: list[list[Pair]] = [[] for _ in units]
        place = {number: i for i, number in enumerate(units)}
        for index, question in enumerate(questions):
            negatives = [n for n in question.negatives if n in place]
            if question.rule != "record":
                known = {*question.labels, *negatives}
                others = [n for n in units if n not in known and self._is_negative(question, n)]
                room = self._size.candidates - len(known & set(place))
                negatives += rng.permutation(others)[: max(room, 0)].tolist()
            for number, labels in question.labels.items():
                if number in place:
                    pairs[place[number]].append(Pair(index, True, labels))
            for number in negatives:
                n_spans = len(self._collection.units[number].segment.spans)
                pairs[place[number]].append(Pair(index, False, np.zeros(n_spans, np.float32)))
        return Batch(units, questions, pairs)
