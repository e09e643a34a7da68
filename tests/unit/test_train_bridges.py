"""Bridged records: a question about a name becomes one about what another passage says of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctxpack.errors import RecipeError
from ctxpack.train.bridges import MAX_MENTIONS, MAX_NEGATIVES, MAX_USES, bridged
from ctxpack.train.collection import Collection
from ctxpack.train.mixture import Bridges, FitSettings, Mixture, Source
from ctxpack.train.pieces import word_pieces
from ctxpack.train.prepare import Prepared
from ctxpack.train.records import Record, parse

NAME = "Marlow Bridge"
TEXT = "Marlow Bridge spans the river. It opened in 1931. Boats pass."
MENTIONS = [
    "Rain fell. The engineer Ann Gray designed Marlow Bridge over the quiet river near home. Fine.",
    "Her brother Tom Gray painted the Marlow Bridge at dawn with yellow boats below it.",
    "The comedy Golden Summer was filmed beneath Marlow Bridge during three rainy autumn weeks.",
    "Every winter hundreds of skaters gather near Marlow Bridge where frozen meadows stretch away.",
]


def passage(title: str, text: str, evidence: str = "") -> dict[str, Any]:
    """Return a passage as it stands in a file; gold if it has evidence."""
    at = text.find(evidence)
    ranges = [[at, at + len(evidence)]] if evidence else []
    return {"title": title, "text": text, "gold": bool(evidence), "evidence": ranges}


def asked(query: str = "When did the marlow bridge open?", title: str = NAME) -> dict[str, Any]:
    """Return a question of one hop."""
    gold = passage(title, TEXT.replace(NAME, title), "1931")
    return {"id": "q", "query": query, "answers": ["1931"], "passages": [gold]}


def told(number: int, text: str) -> dict[str, Any]:
    """Return a record whose passages are not about the bridge."""
    passages = [passage(f"Page {number}", text), passage("Fog", "Fog rose."), passage("A", "Mist.")]
    return {"id": f"t{number}", "query": f"What of {number}?", "passages": passages}


def made(
    *questions: dict[str, Any], texts: list[str] = MENTIONS, seed: int = 1, most: int = 3
) -> list[Record]:
    """Return what is made of the questions and of passages with other texts."""
    raws = {"told": [told(n, text) for n, text in enumerate(texts)], "asked": [*questions]}
    records = {name: [parse(raw) for raw in part] for name, part in raws.items()}
    return list(bridged(records, per_question=most, seed=seed))


def test_bridged_query_does_not_name_what_it_is_about() -> None:
    """The name and the article before it are gone; the rest of the question stays."""
    queries = [record.query for seed in range(9) for record in made(asked(), seed=seed)]
    assert len(queries) == 27
    for query in queries:
        assert "marlow" not in query.lower()
        assert query.startswith("When did ")
        assert query.endswith(" open?")
        assert not query.startswith("When did the ")


def test_bridged_record_needs_the_answer_and_the_mention() -> None:
    """Its evidence is the question's own and the whole sentence that holds the name."""
    for record in made(asked()):
        answer, mention = record.candidates[:2]
        assert not record.any_of
        assert [answer.passage.text[a:b] for a, b in answer.evidence] == ["1931"]
        ((start, end),) = mention.evidence
        assert mention.gold
        assert NAME in mention.passage.text[start:end]
        assert sum(mention.is_evidence) == 1


def test_words_of_the_description_stand_in_the_mention() -> None:
    """They are its title and words of the sentence, in their order."""
    for record in made(asked()):
        passage = record.candidates[1].passage
        rest = iter(f"{passage.title} {passage.text}".replace(".", "").split())
        assert all(word in rest for word in record.query.split()[2:-1])


def test_other_passages_of_both_records_are_kept() -> None:
    """They are not relevant."""
    others = [candidate.passage.title for candidate in made(asked())[0].candidates[2:]]
    assert others == ["Fog", "A"]


def test_no_question_is_bridged_with_a_passage_that_answers_it() -> None:
    """Such a passage would make the other one needless."""
    assert made(asked(), texts=[MENTIONS[0] + " That was in 1931."]) == []


@pytest.mark.parametrize(
    "text",
    [
        "Marlow Bridge is long.",
        "The old Marlow Bridge Company sold yellow boats during three rainy autumn weeks.",
        "They walked over some marlow bridge during three rainy autumn weeks without any boats.",
        "Yellow boats passed below the bridge of Marlow during three rainy autumn weeks.",
        "They saw Ann Gray, Tom Green, Marlow Bridge, yellow boats, grey rain, and some meadows.",
    ],
    ids=["short", "longer name", "no name", "other words", "list"],
)
def test_sentence_that_does_not_describe_the_name_is_no_mention(text: str) -> None:
    """Too few words, a longer name, a common noun, other words, and a list."""
    assert made(asked(), texts=[text]) == []


def test_name_with_parentheses_needs_what_they_say() -> None:
    """Without it another thing of that name may be meant."""
    film = asked("When did marlow bridge open?", title="Marlow Bridge (film)")
    said = "Ann Gray starred in the famous film Marlow Bridge beside her friend Tom Green."
    assert made(film) == []
    assert len(made(film, texts=[*MENTIONS, said])) == 1


def test_name_that_is_everywhere_is_not_bridged() -> None:
    """Its mentions hardly describe it."""
    texts = [f"{MENTIONS[0]} Line {n}." for n in range(MAX_MENTIONS + 1)]
    assert made(asked(), texts=texts) == []
    assert len(made(asked(), texts=texts[1:])) == 3


def test_title_written_in_lower_case_is_no_name() -> None:
    """Nothing describes what is no proper name."""
    question = asked()
    question["passages"][0]["text"] += " A marlow bridge is long."
    assert made(question) == []


def test_question_of_two_hops_is_not_bridged() -> None:
    """It has two relevant passages already."""
    question = asked()
    question["passages"].append(passage("Ferry", "It ran until 1930.", "1930"))
    assert made(question) == []


def test_bridged_records_depend_on_the_seed_alone() -> None:
    """The order in which data sets are given is nothing."""
    raws = {"told": [told(n, text) for n, text in enumerate(MENTIONS)], "asked": [asked()]}
    records = {name: [parse(raw) for raw in part] for name, part in raws.items()}
    turned = dict(reversed(records.items()))
    first, again = (list(bridged(part, per_question=2, seed=1)) for part in (records, turned))
    assert first == again
    assert first != made(asked(), most=2, seed=2)


@pytest.mark.parametrize("most", [1, 2, 9])
def test_question_is_bridged_at_most_so_often(most: int) -> None:
    """Each time with another passage."""
    found = made(asked(), most=most)
    assert len({record.candidates[1].passage for record in found}) == min(most, len(MENTIONS))
    assert [record.id for record in found] == [f"q+{n + 1}" for n in range(len(found))]


def test_one_mention_serves_few_questions() -> None:
    """Else it would be learnt by heart."""
    questions = [
        {**asked(f"When did boat {n} pass the marlow bridge?"), "id": f"q{n}"} for n in range(20)
    ]
    assert len(made(*questions, texts=MENTIONS[:1])) == MAX_USES


def test_other_passages_are_few() -> None:
    """A record of a hundred passages does not bring them all."""
    question = asked()
    question["passages"] += [passage(f"Fog {n}", f"Fog rose {n} times.") for n in range(20)]
    found = [candidate.passage.title or "" for candidate in made(question)[0].candidates[2:]]
    assert sum(title.startswith("Fog ") for title in found) == MAX_NEGATIVES


def prepared(directory: Path, bridges: Bridges | None) -> Prepared:
    """Return a mixture of one data set."""
    raws = [asked(), *(told(n, text) for n, text in enumerate(MENTIONS))]
    lines = [json.dumps({**raw, "split": "train"}) for raw in raws]
    (directory / "toy.jsonl").write_text("\n".join(lines))
    sources = {"toy": Source(file="toy.jsonl", licence="none", negatives="mined")}
    return Prepared(Mixture(fit=FitSettings(steps=1), sources=sources, bridges=bridges), directory)


def bridged_part(collection: Collection) -> list[Any]:
    """Return the bridged questions of a collection."""
    return [question for question in collection.questions if question.dataset == "bridged"]


def test_nothing_is_bridged_unless_the_mixture_says_so(tmp_path: Path) -> None:
    """A mixture that was written down before there were bridges is read."""
    plain = prepared(tmp_path, None)
    assert bridged_part(plain.collection(word_pieces())) == []
    assert plain.weights == {"toy": 1.0}
    before = plain.mixture.model_dump(mode="json", exclude={"bridges"})
    assert Mixture.model_validate(before) == plain.mixture


def test_bridged_questions_are_a_data_set_of_the_collection(tmp_path: Path) -> None:
    """Labels say which spans are evidence; no passage is added; negatives are mined."""
    with_bridges = prepared(tmp_path, Bridges(sources=("toy",), weight=0.5, per_question=2))
    collection = with_bridges.collection(word_pieces())
    collection.mine()
    found = bridged_part(collection)
    assert with_bridges.weights == {"toy": 1.0, "bridged": 0.5}
    assert len(found) == 2
    assert len(collection.units) == 1 + len(MENTIONS) + 2
    for question in found:
        answer, mention = question.labels.items()
        assert answer[1].tolist() == [0, 1, 0]
        (span,) = np.flatnonzero(mention[1])
        unit = collection.units[mention[0]]
        assert len(mention[1]) == len(unit.segment.spans)
        assert span == (1 if "rain fell" in unit.text else 0)
        assert question.negatives
        assert not {answer[0], mention[0]} & {*question.negatives}


@pytest.mark.parametrize("sources", [("none",), ("judged",), ()])
def test_only_training_sets_are_bridged(tmp_path: Path, sources: tuple[str, ...]) -> None:
    """A set that is judged on, an unknown one, or none is an error."""
    path = tmp_path / "mix.yaml"
    path.write_text(
        "fit: {steps: 1}\nsources: {toy: {file: a, licence: b},"
        " judged: {file: a, licence: b, role: evaluate}}\n"
        f"bridges: {{sources: {json.dumps(sources)}}}\n"
    )
    with pytest.raises(RecipeError, match="bridges"):
        Mixture.load(path)
