from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from ctxpack import Pipeline
from ctxpack.recipes import names
from ctxpack.scoring.base import EVIDENCE_MARK, PassageScores
from ctxpack.scoring.lexical import Lexical
from ctxpack.selection import Passage, Span, SplitPassage
from ctxpack.stages.hops import Hops


class Follower:
    """Gives 0.8 to the spans that hold the last word of the query, 0.2 to others."""

    pointwise = True
    reads_evidence = True

    def __init__(self) -> None:
        self.queries: list[str] = []

    def score(self, query: str, passages) -> list[PassageScores]:
        """Return the scores, and remember the query."""
        self.queries.append(query)
        word = query.split()[-1].strip(".")
        return [self._scores(word, *part) for part in passages]

    @staticmethod
    def _scores(word: str, passage: Passage, spans: tuple[Span, ...]) -> PassageScores:
        held = [word in passage.text[span.start : span.end] for span in spans]
        found = np.where(held, 0.8, 0.2).astype(np.float32)
        return PassageScores(float(found.max()), found)


TEXTS = ("The film was made by Ada. ", "Ada was born in Rome. ", "Rome lies on the Tiber. ")


def test_asks_again_with_the_best_spans(make, call_for) -> None:
    """The second query is the first with the best kept spans behind it, best first."""
    selection = make(*TEXTS, scores=[[0.2], [0.9], [0.1]])
    scorer = Follower()
    Hops()(selection, call_for(selection, scorer=scorer))
    assert scorer.queries == [f"query{EVIDENCE_MARK}\n{TEXTS[1]}\n\n{TEXTS[0]}"]


def test_spans_have_the_scores_of_the_last_hop(make, call_for) -> None:
    """What the evidence leads to has the new score, and the rest too."""
    selection = make(*TEXTS, scores=[[0.9], [0.1], [0.1]])
    after = Hops(evidence=1)(selection, call_for(selection, scorer=Follower()))
    assert after.span_scores.tolist() == pytest.approx([0.8, 0.8, 0.2])


def test_passage_that_the_question_does_not_know_can_be_found(make, call_for) -> None:
    """Relevance 0 is a score as others are, unless no span of the passage is kept any more."""
    selection = make(*TEXTS, scores=[[0.8], [0.2], [0.8]])
    selection = selection.with_scores(np.array([0.8, 0, 0.8], np.float32), selection.span_scores)
    selection = selection.drop(np.array([0, 0, 1], dtype=bool), stage="test", reason="test")
    after = Hops(evidence=1)(selection, call_for(selection, scorer=Follower()))
    first, second, dropped = after.passage_scores.tolist()
    assert first == pytest.approx(0.8)
    assert 0 < second < 0.8
    assert dropped == 0


@pytest.mark.parametrize(("hops", "wanted"), [(2, [0.8, 0.5, 0.2]), (3, [0.8, 0.614, 0.2])])
def test_passages_have_the_mean_of_all_hops(make, call_for, hops, wanted) -> None:
    """Evidence speaks for its own passage, so the question by itself counts as much."""
    selection = make(*TEXTS, scores=[[0.8], [0.2], [0.2]])
    after = Hops(hops=hops, evidence=1)(selection, call_for(selection, scorer=Follower()))
    assert after.passage_scores.tolist() == pytest.approx(wanted, abs=1e-3)


def test_each_hop_follows_the_one_before(make, call_for) -> None:
    """Three scorings in all are two more calls; the last has what the second found behind it."""
    selection = make(*TEXTS, scores=[[0.1], [0.9], [0.1]])
    scorer = Follower()
    Hops(hops=3)(selection, call_for(selection, scorer=scorer))
    assert scorer.queries == [
        f"query{EVIDENCE_MARK}\n{TEXTS[1]}\n\n{TEXTS[0]}",
        f"query{EVIDENCE_MARK}\n{TEXTS[0]}\n\n{TEXTS[1]}",
    ]


def test_evidence_stands_under_its_title(make, call_for) -> None:
    """A pronoun in the evidence can be followed, because the title says whose it is."""
    split = SplitPassage(Passage("She was born in Rome.", title="Ada"), (Span(0, 21),))
    selection = make(split, scores=[[0.5]])
    scorer = Follower()
    Hops()(selection, call_for(selection, scorer=scorer))
    assert scorer.queries == [f"query{EVIDENCE_MARK}Ada\nShe was born in Rome."]


def test_evidence_is_what_the_words_speak_for_too(make, call_for) -> None:
    """Of two spans that the model finds about as good, the one that the query names is taken."""
    selection = replace(make(*TEXTS, scores=[[0.5], [0.5], [0.45]]), query="Where lies the Tiber?")
    scorer = Follower()
    Hops(evidence=1)(selection, call_for(selection, scorer=scorer))
    assert scorer.queries == [f"Where lies the Tiber?{EVIDENCE_MARK}\n{TEXTS[2]}"]


def test_dropped_spans_are_no_evidence(make, call_for) -> None:
    """The best span that is still kept stands behind the query."""
    selection = make(*TEXTS, scores=[[0.9], [0.5], [0.1]])
    selection = selection.drop(np.array([1, 0, 0], dtype=bool), stage="test", reason="test")
    scorer = Follower()
    Hops()(selection, call_for(selection, scorer=scorer))
    assert TEXTS[1] in scorer.queries[0]


def test_without_evidence_nothing_is_asked(make, call_for) -> None:
    """Unscored passages, and those of which nothing is relevant, are left as they are."""
    for selection in (make(*TEXTS), make(*TEXTS, scores=[[0.0]] * 3)):
        scorer = Follower()
        assert Hops()(selection, call_for(selection, scorer=scorer)) is selection
        assert scorer.queries == []


def slow(now: list[float]) -> SimpleNamespace:
    """Return a scorer that takes a second for every call."""
    follower = Follower()
    return SimpleNamespace(
        pointwise=True,
        reads_evidence=True,
        score=lambda *args: (now.__setitem__(0, now[0] + 1), follower.score(*args))[1],
    )


def test_a_hop_cut_short_is_taken_back(make, call_for, monkeypatch) -> None:
    """When time is up in the middle of a hop, the scores of the ones before stand."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    selection = make(*TEXTS * 3, scores=[[0.9], [0.1], [0.1]] * 3)
    call = call_for(selection, scorer=slow(now), expires_at=1.5)
    assert Hops(hops=3)(selection, call) is selection
    assert call.notes == ["deadline"]
    twice = Hops(hops=2)(selection, call_for(selection, scorer=slow(now)))
    call = call_for(selection, scorer=slow(now), expires_at=now[0] + 3.5)
    thrice = Hops(hops=3)(selection, call)
    assert call.notes == ["deadline"]
    assert thrice.passage_scores.tolist() == twice.passage_scores.tolist()
    assert thrice.span_scores.tolist() == twice.span_scores.tolist()


def test_leaves_other_scorers_alone(make, call_for) -> None:
    """A scorer that would take evidence for a part of the question is not asked again."""
    selection = make(*TEXTS, scores=[[0.9], [0.1], [0.1]])
    assert Hops()(selection, call_for(selection, scorer=Lexical())) is selection


def test_shipped_recipes_take_any_scorer() -> None:
    """A recipe that hops and blends can be given another scorer."""
    for name in names():
        packed = Pipeline.from_recipe(name, scorer="lexical").compress("Where was Ada born?", TEXTS)
        assert "Rome" in packed.text
