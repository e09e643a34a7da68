from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType, SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

from ctxpack import Pipeline, recipes, registry
from ctxpack.errors import RecipeError
from ctxpack.scoring.base import EVIDENCE_MARK, ConfiguredScorer, PassageScores
from ctxpack.scoring.lexical import Lexical
from ctxpack.selection import SplitPassage
from ctxpack.stages import rescore
from ctxpack.stages.rescore import Rescore

FIRST = SimpleNamespace(pointwise=True)
TEXTS = ("The heron nests in spring. ", "Ferries run until dusk. ", "Rain fell all day long. ")


class Second(ConfiguredScorer):
    """Gives 0.8 to everything, remembers what it was asked, and counts what happens to it."""

    name = "second"
    pointwise = True
    operating_points = MappingProxyType({"faithful": 0.1, "balanced": 0.3, "aggressive": 0.6})
    reads_evidence = True
    asked: ClassVar[list[tuple[str, list[str]]]] = []
    lives: ClassVar[list[str]] = []

    fails: bool = False
    shares: dict[str, float] = {}  # noqa: RUF012 - an option

    def score(self, query: str, passages: Sequence[SplitPassage]) -> list[PassageScores]:
        """Return the scores."""
        if self.fails:
            raise RuntimeError("no second opinion")
        self.asked.append((query, [passage.text for passage, _ in passages]))
        return [PassageScores(0.8, np.full(len(p.spans), 0.8, np.float32)) for p in passages]

    def warm_up(self) -> None:
        """Note it."""
        self.lives.append("warm")

    def close(self) -> None:
        """Note it."""
        self.lives.append("closed")


class English(Second):
    """Knows English alone."""

    name = "english"
    languages = frozenset({"en"})


class Plain(Second):
    """Takes evidence for a part of the question."""

    name = "plain"
    reads_evidence = False


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what was asked; let recipes name the scorers; count both scorers the same."""
    Second.asked.clear()
    Second.lives.clear()
    for scorer in (Second, English, Plain):
        monkeypatch.setitem(registry.SCORERS, scorer.name, scorer)
    even = {"own": 0.5, "second": 0.5, "constant": 0.0}
    monkeypatch.setattr(rescore, "WEIGHTS", {"span": even, "passage": even})


def pipeline(options: dict[str, object] | None = None, **recipe: object) -> Pipeline:
    """Return one that scores by length and rescores by `Second`."""
    step = {"rescore": {"scorer": "second"} | (options or {})}
    return Pipeline.from_recipe({"scorer": "plain", "steps": ["score", step], **recipe})


def test_weighs_log_odds_of_both(make, call_for) -> None:
    """Even odds and four to one are together two to one, for passages and for spans."""
    selection = make(*TEXTS, scores=[[0.5], [0.5], [0.5]])
    after = Rescore(scorer=Second())(selection, call_for(selection, scorer=FIRST))
    assert after.span_scores.tolist() == pytest.approx([2 / 3] * 3)
    assert after.passage_scores.tolist() == pytest.approx([2 / 3] * 3)
    assert after.span_scores.dtype == np.float32


def test_takes_the_best_passages_that_fit(make, call_for) -> None:
    """Best first, until the next one would pass the bound; the others keep their scores."""
    selection = make(*TEXTS, scores=[[0.3], [0.1], [0.6]])
    after = Rescore(scorer=Second(), tokens=10)(selection, call_for(selection, scorer=FIRST))
    assert [set(texts) for _, texts in Second.asked] == [{TEXTS[0], TEXTS[2]}]
    assert after.span_scores[1] == selection.span_scores[1]
    assert (after.span_scores[[0, 2]] > selection.span_scores[[0, 2]]).all()


def test_does_not_skip_a_passage_to_fill_the_bound(make, call_for) -> None:
    """A shorter passage is not asked about before a better, longer one."""
    selection = make("A. ", "Too many words. ", "B. ", scores=[[0.9], [0.8], [0.7]])
    Rescore(scorer=Second(), tokens=2)(selection, call_for(selection, scorer=FIRST))
    assert [texts for _, texts in Second.asked] == [["A. "]]


def test_equal_passages_are_taken_by_position(make, call_for) -> None:
    """Of passages that score the same, the first ones go to the second scorer."""
    selection = make(*TEXTS, scores=[[0.5]] * 3).reorder([2, 1, 0])
    Rescore(scorer=Second(), tokens=9)(selection, call_for(selection, scorer=FIRST))
    assert [texts for _, texts in Second.asked] == [list(TEXTS[:2])]


def test_a_long_best_passage_is_not_read(make, call_for) -> None:
    """Nothing is read beyond the bound, not even the best passage, and the report says so."""
    selection = make(*TEXTS, scores=[[0.9], [0.1], [0.1]])
    call = call_for(selection, scorer=FIRST)
    assert Rescore(scorer=Second(), tokens=4)(selection, call) is selection
    assert call.notes == ["rescore: not done, 5 tokens in the best passage"]
    assert Second.asked == []


def test_dropped_passages_are_not_read(make, call_for) -> None:
    """A passage without a kept span takes no room."""
    selection = make(*TEXTS, scores=[[0.9], [0.5], [0.1]])
    selection = selection.drop(np.array([1, 0, 0], dtype=bool), stage="test", reason="test")
    after = Rescore(scorer=Second())(selection, call_for(selection, scorer=FIRST))
    assert [texts for _, texts in Second.asked] == [list(TEXTS[1:])]
    assert after.dropped() == selection.dropped()


def test_what_had_nothing_to_score_stays_at_zero(make, call_for) -> None:
    """A span of score 0 has none after it."""
    selection = make(*TEXTS, scores=[[0.0], [0.5], [0.5]])
    after = Rescore(scorer=Second())(selection, call_for(selection, scorer=FIRST))
    assert after.span_scores[0] == after.passage_scores[0] == 0


@pytest.mark.parametrize(
    ("step", "query"),
    [
        (Rescore(scorer=Second(), evidence=1), f"query{EVIDENCE_MARK}\n{TEXTS[1]}"),
        (Rescore(scorer=Second(), evidence=0), "query"),
        (Rescore(scorer=Plain(), evidence=1), "query"),
    ],
    ids=["evidence", "none", "not read"],
)
def test_evidence_stands_behind_the_query(make, call_for, step: Rescore, query: str) -> None:
    """The best spans so far do, for a scorer that reads them and a recipe that wants them."""
    selection = make(*TEXTS, scores=[[0.2], [0.9], [0.1]])
    step(selection, call_for(selection, scorer=FIRST))
    assert [asked for asked, _ in Second.asked] == [query]


def test_evidence_is_what_the_words_speak_for_too(make, call_for) -> None:
    """Of two spans that the first scorer finds about as good, the one that the query names."""
    selection = replace(make(*TEXTS, scores=[[0.5], [0.45], [0.4]]), query="When do ferries run?")
    Second.asked.clear()
    step = Rescore(scorer=Second(), evidence=1)
    step(selection, call_for(selection, scorer=FIRST))
    assert Second.asked[0][0] == f"When do ferries run?{EVIDENCE_MARK}\n{TEXTS[1]}"


def test_leaves_calls_of_other_scorers_alone(make, call_for) -> None:
    """What the lexical scorer has scored, and what nobody has, is not asked about."""
    scored, unscored = make(*TEXTS, scores=[[0.5]] * 3), make(*TEXTS)
    step = Rescore(scorer=Second())
    assert step(scored, call_for(scored, scorer=Lexical())) is scored
    assert step(unscored, call_for(unscored, scorer=FIRST)) is unscored
    assert Second.asked == []


def test_a_second_opinion_cut_short_is_not_used(make, call_for, monkeypatch) -> None:
    """When time is up in the middle, the scores stay as they were."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    slow = SimpleNamespace(
        pointwise=True,
        score=lambda *args: (now.__setitem__(0, now[0] + 1), Second().score(*args))[1],
    )
    selection = make(*TEXTS * 3, scores=[[0.5]] * 9)
    call = call_for(selection, scorer=FIRST, expires_at=1.5, others={Second(): slow})
    assert Rescore(scorer=Second())(selection, call) is selection
    assert call.notes == ["deadline"]
    assert len(Second.asked) == 2


def test_another_language_is_left_to_the_first_scorer() -> None:
    """A second scorer that does not know the language is not asked, and the report says so."""
    packed = pipeline({"scorer": "english"}, language="de").compress("Wo?", ["Im Hafen."])
    assert len(Second.asked) == 1
    assert packed.report["notes"] == ["rescore: not done, english does not know the language"]


def test_failure_is_reported_as_that_of_any_step() -> None:
    """With ``passthrough`` the first scorer's scores stand; else the error is raised."""
    failing = {"scorer": {"second": {"fails": True}}}
    packed = pipeline(failing, on_error="passthrough").compress("Where?", list(TEXTS))
    assert packed.report["error"] == "rescore: RuntimeError: no second opinion"
    assert [kept.score for kept in packed.passages] == pytest.approx([0.8] * 3)
    with pytest.raises(RuntimeError, match="no second opinion"):
        pipeline(failing).compress("Where?", list(TEXTS))


def test_lives_as_the_first_scorer_does() -> None:
    """The second scorer is warmed up and closed with its pipeline."""
    with pipeline() as opened:
        assert Second.lives == []
        opened.warm_up()
        assert Second.lives == ["warm", "warm"]
    assert Second.lives == ["warm", "warm", "closed", "closed"]


def test_scores_are_cached_beside_those_of_the_first() -> None:
    """The same query asks neither scorer again."""
    cached = pipeline(cache="memory:")
    first, second = (cached.compress("Where?", list(TEXTS)) for _ in range(2))
    assert first == second
    assert len(Second.asked) == 2
    assert second.report["cache"]["tiers"]["scores"]["hits"] == 6


def test_is_read_and_written_with_the_options_of_its_scorer() -> None:
    """A recipe names the second scorer as it does the first."""
    line = {"rescore": {"scorer": {"second": {"fails": True}}, "tokens": 500}}
    recipe = recipes.load({"scorer": "plain", "steps": ["score", line]})
    assert recipe.steps[1] == Rescore(scorer=Second(fails=True), tokens=500)
    assert recipe.to_data()["steps"] == ["score", line]
    assert recipe.others == (Second(fails=True),)


def test_second_scorers_of_other_options_are_apart() -> None:
    """Two steps ask the scorers that they name; an option may be a dict."""
    steps = [{"rescore": {"scorer": {"second": {"shares": {"a": n}}}}} for n in (0.25, 0.75)]
    opened = Pipeline.from_recipe({"scorer": "plain", "steps": ["score", *steps]})
    opened.compress("Where?", list(TEXTS))
    assert len(Second.asked) == 3
    assert len(opened._caching.others) == 2


def test_report_names_all_that_scored() -> None:
    """Scorers stand in the order in which they scored; one that was not asked is not there."""
    recipe = {
        "scorer": "plain",
        "steps": ["score", *({"rescore": {"scorer": name}} for name in ("second", "english"))],
        "language": "auto",
    }
    english = Pipeline.from_recipe(recipe).compress("Where?", list(TEXTS))
    assert english.report["scorer"] == "plain, second, english"
    german = Pipeline.from_recipe({**recipe, "language": "de"}).compress("Wo?", ["Im Hafen."])
    assert german.report["scorer"] == "plain, second"


def test_a_step_may_name_a_scorer_of_the_whole_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not cached, though the recipe's own is."""
    monkeypatch.setattr(Rescore, "check", lambda *args: None)
    with pipeline({"scorer": "lexical"}, cache="memory:") as opened:
        assert opened._caching.others == {Lexical(): Lexical()}


@pytest.mark.parametrize(
    ("scorer", "message"),
    [
        ("secnd", r"recipe: steps\[1\]\.rescore\.scorer: unknown scorer 'secnd'; did you mean"),
        ({"second": {"x": 1}}, r"recipe: steps\[1\]\.rescore\.scorer\.second: unknown option 'x'"),
        ("lexical", r"recipe: steps\[1\]\.rescore: `scorer` must be pointwise; 'lexical' looks"),
    ],
)
def test_a_mistake_is_named(scorer: object, message: str) -> None:
    """The error says where, which rule and which value."""
    step = {"rescore": {"scorer": scorer}}
    with pytest.raises(RecipeError, match=message):
        recipes.load({"scorer": "plain", "steps": ["score", step]})


def test_late_call_reads_no_words(make, call_for) -> None:
    """After the deadline nothing is looked up for a second opinion that is not asked for."""
    selection = make(*TEXTS, scores=[[0.5], [0.4], [0.3]])
    call = call_for(selection, scorer=FIRST, expires_at=time.perf_counter())
    assert Rescore(scorer=Second())(selection, call) is selection
    assert call.words == []
