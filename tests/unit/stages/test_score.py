from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest

from ctxpack.errors import ContractError
from ctxpack.scoring.base import PassageScores
from ctxpack.stages.score import Score


def scorer_of(score, *, pointwise: bool = True) -> SimpleNamespace:
    """Return a scorer whose `score` gets the texts of the passages."""
    return SimpleNamespace(
        pointwise=pointwise, score=lambda query, split: score([p.text for p, _ in split])
    )


def ones(texts: list[str]) -> list[PassageScores]:
    """Return 1 for every passage and its one span."""
    return [PassageScores(1.0, np.ones(1, dtype=np.float32)) for _ in texts]


def test_sets_the_scores_of_spans_and_passages(make, call_for) -> None:
    """Every span gets the score that the scorer gave it, and so does every passage."""
    selection = make("One. Three four. ", "Five. ")
    after = Score()(selection, call_for(selection))
    assert after.span_scores.tolist() == pytest.approx([0.05, 0.12, 0.06])
    assert after.passage_scores.tolist() == pytest.approx([0.12, 0.06])
    assert after.span_scores.dtype == after.passage_scores.dtype == np.float32


def test_leaves_out_passages_without_a_kept_span(make, call_for) -> None:
    """A passage that was dropped whole is not scored, and scores 0."""
    selection = make("One. ", "Two. ", "Three. ")
    selection = selection.drop(np.array([0, 1, 0], dtype=bool), stage="test", reason="test")
    seen: list[str] = []
    scorer = scorer_of(lambda texts: (seen.extend(texts), ones(texts))[1])
    after = Score()(selection, call_for(selection, scorer=scorer))
    assert seen == ["One. ", "Three. "]
    assert after.passage_scores.tolist() == after.span_scores.tolist() == [1, 0, 1]


def test_scores_dropped_spans_of_a_kept_passage(make, call_for) -> None:
    """A passage that was dropped in part is scored whole."""
    selection = make("One. Two. ")
    selection = selection.drop(np.array([1, 0], dtype=bool), stage="test", reason="test")
    assert (Score()(selection, call_for(selection)).span_scores > 0).all()


def test_without_a_deadline_scores_in_one_call(make, call_for) -> None:
    """A scorer gets all passages at once when there is no hurry."""
    selection, sizes = make(*["One. "] * 9), []
    scorer = scorer_of(lambda texts: (sizes.append(len(texts)), ones(texts))[1])
    Score()(selection, call_for(selection, scorer=scorer))
    assert sizes == [9]


def test_looks_at_the_whole_call_for_a_scorer_that_does(make, call_for) -> None:
    """A scorer that is not pointwise gets all passages at once, deadline or not."""
    selection, sizes = make(*["One. "] * 9), []
    scorer = scorer_of(lambda texts: (sizes.append(len(texts)), ones(texts))[1], pointwise=False)
    expires_at = time.monotonic() + 100
    Score()(selection, call_for(selection, scorer=scorer, expires_at=expires_at))
    assert sizes == [9]


def test_deadline_leaves_later_passages_at_zero(make, call_for, monkeypatch) -> None:
    """When time is up, scored passages keep their score, the others have 0, and a note says so."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    selection = make(*["One. "] * 9)
    scorer = scorer_of(lambda texts: (now.__setitem__(0, now[0] + 1), ones(texts))[1])
    call = call_for(selection, scorer=scorer, expires_at=1.5)
    assert Score()(selection, call).passage_scores.tolist() == [1] * 8 + [0]
    assert call.notes == ["deadline"]


def test_deadline_before_the_first_score_changes_nothing(make, call_for) -> None:
    """A call without time left is not scored, and a note says so."""
    selection = make("One. ")
    call = call_for(selection, expires_at=time.monotonic())
    assert Score()(selection, call) is selection
    assert call.notes == ["deadline"]


def test_refuses_too_few_results(make, call_for) -> None:
    """A scorer that leaves out a passage broke its contract."""
    selection = make("One. ", "Two. ")
    scorer = scorer_of(lambda texts: ones(texts)[1:])
    with pytest.raises(ContractError, match="must score 2 passages, got 1"):
        Score()(selection, call_for(selection, scorer=scorer))


@pytest.mark.parametrize("wrong", [np.ones(2), np.ones((1, 1)), np.float32(1)], ids=np.shape)
def test_refuses_a_wrong_shape(make, call_for, wrong) -> None:
    """A scorer that gives another number of span scores than there are spans broke its contract."""
    selection = make("One. Two. ", "Three. ")
    scorer = scorer_of(lambda texts: [PassageScores(1.0, np.ones(2)), PassageScores(1.0, wrong)])
    with pytest.raises(ContractError, match=r"passage 1 must have shape \(1,\)"):
        Score()(selection, call_for(selection, scorer=scorer))


@pytest.mark.parametrize("wrong", [1.5, -0.1, float("nan")])
def test_refuses_a_score_outside_its_range(make, call_for, wrong) -> None:
    """A score that is not in [0, 1] broke the contract."""
    selection = make("One. ")
    scorer = scorer_of(lambda texts: [PassageScores(wrong, np.ones(1, dtype=np.float32))])
    with pytest.raises(ContractError, match="must be in"):
        Score()(selection, call_for(selection, scorer=scorer))
