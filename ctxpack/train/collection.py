"""The training collection: every passage once, as segments, and the queries that point into it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ctxpack.scoring.rarity import RarityTable
from ctxpack.scoring.segments import Query, Segment, WordPieces
from ctxpack.train.bm25 import Bm25
from ctxpack.train.mixture import Negatives
from ctxpack.train.records import Candidate, Record, normalised

N_MINED = 24
"""BM25 neighbours kept for a query."""
NO_ANSWER = ("", "yes", "no")
"""Answers that occur anywhere and tell nothing about a passage."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A segment of the collection.

    Args:
        segment: what is encoded.
        text: normalised text of its passage between two blanks, to look answers up in.
        document: data set and title of its passage.
    """

    segment: Segment
    text: str
    document: tuple[str, str]


@dataclass(slots=True)
class Question:
    """A query with what is known of its evidence.

    Args:
        number: place in the collection.
        tokens: word pieces of the query.
        answers: normalised answer strings, each between two blanks.
        dataset: name of the data set.
        any_of: see `Record`.
        rule: see `Source.negatives`.
        labels: unit number → (n_spans,) float32, 1 for evidence, or None where evidence is unknown
            below the passage. These units are relevant.
        negatives: unit numbers of passages that are not relevant: of the record first, then mined.
    """

    number: int
    tokens: Query
    answers: tuple[str, ...]
    dataset: str
    any_of: bool
    rule: Negatives
    labels: dict[int, NDArray[np.float32] | None] = field(default_factory=dict)
    negatives: list[int] = field(default_factory=list)

    def answered_by(self, unit: Unit) -> bool:
        """Return whether an answer string occurs in the unit's passage."""
        return any(answer in unit.text for answer in self.answers)


Admits = Callable[[Question, Sequence[int]], NDArray[np.bool_]]


class Collection:
    """Units and questions of a training run."""

    def __init__(self, pieces: WordPieces) -> None:
        self.pieces = pieces
        self._numbers: dict[tuple[str, str], list[int]] = {}
        self.units: list[Unit] = []
        self.questions: list[Question] = []

    def add(self, record: Record, dataset: str, rule: Negatives) -> None:
        """Add a record, see `Question`; passages seen before are not added again."""
        answers = [normalised(answer) for answer in record.answers]
        question = Question(
            number=len(self.questions),
            tokens=self.pieces.query(record.query),
            answers=tuple(f" {answer} " for answer in answers if answer not in NO_ANSWER),
            dataset=dataset,
            any_of=record.any_of,
            rule=rule,
        )
        for candidate in record.candidates:
            for number in self._units_of(candidate, dataset):
                _label(question, number, self.units[number].segment, candidate, record.has_spans)
        self.questions.append(question)

    def _units_of(self, candidate: Candidate, dataset: str) -> list[int]:
        passage = candidate.passage
        key = (passage.title or "", passage.text)
        if key not in self._numbers:
            segments = self.pieces.segments(candidate.split)
            at = len(self.units)
            self._numbers[key] = list(range(at, at + len(segments)))
            text, document = f" {normalised(passage.text)} ", (dataset, passage.title or "")
            self.units += [Unit(segment, text, document) for segment in segments]
        return self._numbers[key]

    def mine(self, admits: Admits | None = None) -> None:
        """Add BM25 neighbours as negatives to the questions whose rule is ``mined``.

        Neighbours are units of the data sets of such questions and hold no answer.

        Args:
            admits: says which of them may be negatives of a question; None for all.
        """
        questions = [question for question in self.questions if question.rule == "mined"]
        datasets = {question.dataset for question in questions}
        pool = [n for n, unit in enumerate(self.units) if unit.document[0] in datasets]
        index = Bm25([_words(self.units[n].segment.words) for n in pool])
        for question in questions:
            scores = index.scores(_words(question.tokens.words))
            ranked = [pool[i] for i in np.argsort(-scores, kind="stable")[: 2 * N_MINED]]
            known = {*question.labels, *question.negatives}
            mined = [
                n for n in ranked if n not in known and not question.answered_by(self.units[n])
            ]
            if admits is not None:
                mined = [n for n, fine in zip(mined, admits(question, mined), strict=True) if fine]
            question.negatives += mined[:N_MINED]


def _label(
    question: Question, number: int, segment: Segment, candidate: Candidate, has_spans: bool
) -> None:
    """Enter what a record says of one unit into its question."""
    if not candidate.gold:
        question.negatives.append(number)
        return
    if not has_spans or not candidate.evidence:
        question.labels[number] = None
        return
    is_evidence = np.array(candidate.is_evidence, dtype=np.float32)[segment.spans]
    if is_evidence.any():
        question.labels[number] = is_evidence


def _words(keys: Sequence[int] | NDArray[np.int64]) -> list[int]:
    return [int(key) for key in keys if key]


def rarity_table(segments: Sequence[Segment]) -> RarityTable:
    """Return the rarity of the words in `segments`.

    Words in fewer than three of the ``n`` segments are left out: they get rarity 1, as unseen
    words do.
    """
    counts: dict[int, int] = {}
    for segment in segments:
        for key in set(_words(segment.words)):
            counts[key] = counts.get(key, 0) + 1
    n = max(len(segments), 2)
    keys = np.array(sorted(key for key, count in counts.items() if count > 2), dtype=np.int64)
    frequency = np.array([counts[int(key)] for key in keys], dtype=np.float64)
    # Rounded to what the model file stores.
    rarity = (np.log(n / frequency) / np.log(n)).astype(np.float16).astype(np.float32)
    return RarityTable(keys, rarity)
