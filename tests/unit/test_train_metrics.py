"""Measures of the evaluation on records small enough to check by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ctxpack.scoring.base import PassageScores
from ctxpack.selection import Passage, Span
from ctxpack.train.metrics import average_precision, ndcg, retention
from ctxpack.train.records import Candidate, Record

TEXT = "It rained. Rome fell in 476. Cats slept. "
SPANS = (Span(0, 11), Span(11, 29), Span(29, 41))
COUNTS = [np.array([3.0, 5.0, 3.0])]


def record(*, any_of: bool) -> Record:
    """Return a record of three sentences."""
    evidence = ((24, 27),) if any_of else ((11, 28), (29, 40))
    candidate = Candidate(Passage(TEXT), SPANS, True, evidence)
    return Record("1", "toy", "When did Rome fall?", ("476",), any_of, True, (candidate,))


def scores(*values: float) -> list[PassageScores]:
    """Return span scores of its one passage."""
    return [PassageScores(0.5, np.array(values, np.float32))]


def test_answer_counts_when_a_kept_span_holds_it() -> None:
    """One answer string in the kept text is enough."""
    assert retention(record(any_of=True), scores(0.1, 0.9, 0.2), COUNTS, 0.5) == 1.0


def test_span_that_does_not_fit_is_skipped() -> None:
    """The budget is hard: the best span is left out when it is longer than the budget."""
    assert retention(record(any_of=True), scores(0.1, 0.9, 0.2), COUNTS, 0.3) == 0.0


def test_evidence_sentences_count_by_share() -> None:
    """Where all evidence is needed, half of it is half."""
    assert retention(record(any_of=False), scores(0.1, 0.9, 0.2), COUNTS, 0.5) == 0.5


def test_record_without_evidence_has_no_retention() -> None:
    """Nothing can be lost where nothing was to keep."""
    bare = record(any_of=True)._replace(candidates=(Candidate(Passage(TEXT), SPANS, False, ()),))
    assert retention(bare, scores(0.1, 0.9, 0.2), COUNTS, 0.5) is None


def test_average_precision_of_ranks_one_and_three() -> None:
    """(1/1 + 2/3) / 2."""
    assert average_precision([True, False, True], [0.9, 0.8, 0.7]) == pytest.approx(5 / 6)


def test_ndcg_of_the_ideal_order_is_one() -> None:
    """Grades in falling order cannot be ranked better."""
    assert ndcg([3, 1, 0], [0.9, 0.5, 0.1]) == pytest.approx(1.0)
