from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np

from ctxpack.scoring.base import PassageScores
from ctxpack.scoring.lexical import Lexical
from ctxpack.selection import Passage, Selection, Span, SplitPassage
from ctxpack.stages.blend import Blend
from ctxpack.stages.hops import Hops

MODEL = SimpleNamespace(pointwise=True)
TEXTS = ("The heron nests in spring. ", "Ferries run until dusk. ", "Rain fell all day. ")


def selection_of(*span_scores: float) -> Selection:
    """Return three passages of one span, with scores, asked about herons."""
    split = [SplitPassage(Passage(text), (Span(0, len(text)),)) for text in TEXTS]
    scores = np.array(span_scores, dtype=np.float32)
    return Selection.of("When does the heron nest?", split).with_scores(scores, scores)


def test_words_decide_between_equal_scores(call_for) -> None:
    """Of spans that the model takes for equal, the one with the query's words scores highest."""
    before = selection_of(0.3, 0.3, 0.3)
    scores = Blend()(before, call_for(before, scorer=MODEL)).span_scores
    assert scores[0] > scores[1]
    assert scores[0] > scores[2]


def test_passage_scores_stay(call_for) -> None:
    """Only spans are blended."""
    before = selection_of(0.3, 0.3, 0.3)
    after = Blend()(before, call_for(before, scorer=MODEL))
    assert after.passage_scores is before.passage_scores


def test_scores_stay_probabilities(call_for) -> None:
    """Scores are float32 in [0, 1] whatever came in, and nothing is dropped."""
    before = selection_of(1.0, 1e-30, 0.5)
    after = Blend()(before, call_for(before, scorer=MODEL))
    assert after.span_scores.dtype == np.float32
    assert ((after.span_scores >= 0) & (after.span_scores <= 1)).all()
    assert after.kept.all()


def test_what_was_not_scored_stays_at_zero(call_for) -> None:
    """A span of score 0 has none after it, even if it holds the query's words."""
    before = selection_of(0.0, 0.5, 0.5)
    assert Blend()(before, call_for(before, scorer=MODEL)).span_scores[0] == 0


def test_changes_nothing_late_or_for_another_scorer(call_for) -> None:
    """After the deadline, and when words alone have scored the call, scores stay."""
    before = selection_of(0.3, 0.3, 0.3)
    late = call_for(before, scorer=MODEL, expires_at=time.perf_counter())
    assert Blend()(before, late) is before
    assert Blend()(before, call_for(before, scorer=Lexical())) is before


def test_words_are_scored_once_a_call(call_for, monkeypatch) -> None:
    """Every step of a call that reads them has the same ones, those of all that came in."""
    asked = []
    score = Lexical.score
    monkeypatch.setattr(Lexical, "score", lambda *args: (asked.append(1), score(*args))[1])
    before = selection_of(0.3, 0.3, 0.3)
    call = call_for(before, scorer=MODEL)
    first = Blend()(before, call)
    left = before.drop(np.array([0, 1, 1], dtype=bool), stage="test", reason="test")
    assert Blend()(left, call).span_scores[0] == first.span_scores[0]
    assert len(asked) == 1


def test_words_that_a_hop_looked_up_are_blended_in(call_for, monkeypatch) -> None:
    """`hops` and `blend` score the words of a call once between them."""
    asked = []
    score = Lexical.score
    monkeypatch.setattr(Lexical, "score", lambda *args: (asked.append(1), score(*args))[1])
    scores = [PassageScores(0.3, np.full(1, 0.3, np.float32))] * 3
    reads = SimpleNamespace(pointwise=True, reads_evidence=True, score=lambda *_: scores)
    before = selection_of(0.3, 0.3, 0.3)
    call = call_for(before, scorer=reads)
    after = Blend()(Hops()(before, call), call)
    assert after.span_scores[0] > after.span_scores[1]
    assert len(asked) == 1
