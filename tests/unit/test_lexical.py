from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctxpack.scoring.base import PassageScores
from ctxpack.scoring.lexical import Lexical, evidence_scores
from ctxpack.scoring.terms import terms
from ctxpack.selection import Passage, SplitPassage
from ctxpack.sentences import split

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=60)


def passage(text: str, *, title: str | None = None) -> SplitPassage:
    """Return a passage with its spans."""
    return SplitPassage(Passage(text, title=title), split(text))


def score(query: str, *passages: SplitPassage) -> list[PassageScores]:
    """Return the scores of one call."""
    return Lexical().score(query, passages)


def test_inflected_words_are_one_term() -> None:
    """Words meet in their first five characters, whatever their case."""
    assert terms("Directed directors") == ["direc", "direc"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("東京都", ["東京", "京都"]),
        ("ไทย", ["ไท", "ทย"]),
        ("2000年", ["2000", "年"]),
        ("हिन्दी में", ["हिन्द", "में"]),
        ("snake_case, A-1", ["snake", "case", "a", "1"]),
        ("\x00\ud800", []),
    ],
)
def test_terms_of_scripts(text: str, expected: list[str]) -> None:
    """Scripts without spaces give pairs; vowel signs stay in words; other characters separate."""
    assert terms(text) == expected


def test_the_span_with_the_words_of_the_query_is_best() -> None:
    """The span that shares most with the query has the highest score."""
    (result,) = score(
        "Which bridge spans the Tay?", passage("Rain fell. The Tay has a bridge. Ok.")
    )
    assert int(result.spans.argmax()) == 1


def test_rare_terms_tell_more_than_common_ones() -> None:
    """Of two terms the one that fewer spans hold weighs more."""
    text = "The ferry is old. The ferry is red. The ferry is slow. A heron came."
    (result,) = score("ferry heron", passage(text))
    assert int(result.spans.argmax()) == 3


def test_function_words_tell_little() -> None:
    """A span with one telling term beats a span with several function words."""
    (result,) = score("what was the heron of", passage("What was the of it. Heron."))
    assert result.spans[1] > result.spans[0]


def test_a_title_speaks_for_the_spans_of_its_passage() -> None:
    """Equal texts differ by how much their titles share with the query."""
    text = "It was built in stone."
    one, other = score("Tay bridge", passage(text, title="Tay Bridge"), passage(text, title="Oslo"))
    assert one.spans[0] > other.spans[0]


def test_neighbours_speak_for_a_span() -> None:
    """A span beside one that matches beats a span that stands alone."""
    near, far = "Opened. The heron lake is wide. Frozen. ", "Muddy. Dark. Cold. Frozen."
    first, second = score("heron lake", passage(near), passage(far))
    assert first.spans[2] > second.spans[2]


def test_who_asks_for_a_name() -> None:
    """Of two spans that match alike the one with a name answers who."""
    (result,) = score("who built the mill", passage("Ok. The mill stood. The mill of Ann Lee."))
    assert result.spans[2] > result.spans[1]


def test_a_second_hop_leads_to_the_title_that_the_answer_names() -> None:
    """The passage about what a good span names scores higher when hops are followed."""
    call = [
        passage("The mill of Arden was built by Ida Holm.", title="Arden Mill"),
        passage("She was born in Malmö.", title="Ida Holm"),
        passage("She was born in Turku.", title="Eva Berg"),
    ]
    query = "Where was the builder of Arden Mill born?"
    followed, ignored = (Lexical(second_hop=hop).score(query, call) for hop in (True, False))
    assert followed[1].relevance > followed[2].relevance
    assert ignored[1].relevance == ignored[2].relevance


def test_passages_of_one_title_do_not_lead_to_each_other() -> None:
    """A title that the span's own passage has is no second step."""
    texts = ["The mill of Arden was built by Ida Holm.", "She was born in Malmö. Ida is old."]
    call = [passage(text, title="Ida Holm") for text in texts]
    query = "Who built the mill of Arden?"
    followed, ignored = (Lexical(second_hop=hop).score(query, call) for hop in (True, False))
    assert followed[1].relevance == ignored[1].relevance


@pytest.mark.parametrize("query", ["zebra", "", "?!", "\ud800"])
def test_a_query_of_unknown_terms_scores_all_spans_the_same(query: str) -> None:
    """Without a known term every span has one low score, kept by all points but `aggressive`."""
    results = score(query, passage("One. Two."), passage("Three."))
    (unknown,) = set(np.concatenate([result.spans for result in results]).tolist())
    points = Lexical.operating_points
    assert points["balanced"] < unknown < points["aggressive"]


def test_no_passages_give_no_scores() -> None:
    """An empty call has an empty result."""
    assert score("query") == []


def test_an_empty_passage_has_no_relevance() -> None:
    """A passage without spans scores 0, whatever its title."""
    (result,) = score("heron", passage("", title="Heron"))
    assert (result.relevance, result.spans.size) == (0.0, 0)


@pytest.mark.parametrize(
    ("query", "text"),
    [("東京の人口は", "大阪は西にある。東京の人口は多い。"), ("แมวอยู่ที่ไหน", "ฝนตก\n\nแมวอยู่ในบ้าน")],
)
def test_scripts_without_spaces_are_scored(query: str, text: str) -> None:
    """Pairs of characters find the span in Japanese and Thai."""
    (result,) = score(query, passage(text))
    assert int(result.spans.argmax()) == len(result.spans) - 1


def test_a_long_query_is_cut_to_its_most_telling_terms() -> None:
    """A query of thousands of words is scored by the rare ones that the passages hold."""
    words = [f"w{number}" for number in range(2000)]
    (result,) = score(" ".join(words), passage(" ".join(words) + ". Heron."))
    assert result.spans[0] > result.spans[1]


def test_operating_points_are_ordered() -> None:
    """A more faithful point has a lower threshold."""
    points = Lexical.operating_points
    assert points["faithful"] < points["balanced"] < points["aggressive"]


def test_spans_compete() -> None:
    """The same evidence gives a lower score among more spans."""
    assert evidence_scores(np.zeros(100))[0] < evidence_scores(np.zeros(2))[0]


@settings(deadline=None)
@given(ANY_TEXT, st.lists(st.tuples(ANY_TEXT, st.none() | ANY_TEXT), max_size=4))
def test_any_text_is_scored(query: str, texts: list[tuple[str, str | None]]) -> None:
    """Any strings give finite scores in [0, 1], one per span, and equal calls equal scores."""
    call = [passage(text, title=title) for text, title in texts]
    results = score(query, *call)
    assert [len(result.spans) for result in results] == [len(spans) for _, spans in call]
    for result, again in zip(results, score(query, *call), strict=True):
        assert np.isfinite(result.spans).all()
        assert ((result.spans >= 0) & (result.spans <= 1)).all()
        assert result.spans.tobytes() == again.spans.tobytes()
