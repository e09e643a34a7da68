"""Records of single sentences: every span of a record's passages becomes a passage of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ctxpack.errors import RecipeError
from ctxpack.train.apart import apart
from ctxpack.train.mixture import Apart, FitSettings, Mixture, Source
from ctxpack.train.pieces import word_pieces
from ctxpack.train.prepare import Prepared
from ctxpack.train.records import Record, parse

TEXT = "The mill stands by the river. It burned down in 1872. A new one was built."
FOG = "Fog rose over the fields. It burned down in 1872."


def raw(**changes: Any) -> dict[str, Any]:
    """Return a question with the passage that answers it and one that does not."""
    at = TEXT.index("1872")
    passages = [
        {"title": "Mill", "text": TEXT, "gold": True, "evidence": [[at, at + 4]]},
        {"title": "Fog", "text": FOG[:25], "gold": False, "evidence": []},
    ]
    asked = {"id": "q", "query": "When did the mill burn?", "answers": ["1872"]}
    return {**asked, "passages": passages, **changes}


def made(*raws: dict[str, Any]) -> list[Record]:
    """Return what is made of records."""
    return list(apart({"asked": list(map(parse, raws))}))


def test_every_span_becomes_a_passage_without_title() -> None:
    """The query stays; what holds evidence is gold, and is evidence whole."""
    (record,) = made(raw())
    assert record.query == "When did the mill burn?"
    assert [part.passage.text for part in record.candidates] == [
        "The mill stands by the river.",
        "It burned down in 1872.",
        "A new one was built.",
        "Fog rose over the fields.",
    ]
    assert not any(part.passage.title for part in record.candidates)
    assert [part.gold for part in record.candidates] == [False, True, False, False]
    for part in record.candidates:
        assert part.is_evidence == [part.gold]


@pytest.mark.parametrize("order", [1, -1])
def test_text_that_stands_twice_is_one_passage(order: int) -> None:
    """It is gold if it is evidence in either place, for nothing tells the two apart."""
    fog = {"title": "Fog", "text": FOG, "gold": False, "evidence": []}
    (record,) = made(raw(passages=[fog, raw()["passages"][0]][::order]))
    texts = [part.passage.text for part in record.candidates]
    assert len(texts) == len(set(texts)) == 4
    gold = [part.passage.text for part in record.candidates if part.gold]
    assert gold == ["It burned down in 1872."]


@pytest.mark.parametrize(
    "changes",
    [
        {"span_kind": "none"},
        {"passages": [{"text": TEXT, "gold": False}]},
        {"passages": [*raw()["passages"], {"text": "Late. Dry. Hot.", "gold": True}]},
        {
            "passages": [
                {"text": "Fog rose. It burned in 1872.", "gold": True, "evidence": [[23, 27]]}
            ]
        },
        {"passages": [{"text": TEXT, "gold": True, "evidence": [[0, len(TEXT)]]}]},
    ],
    ids=["no span known", "no answer", "gold without evidence", "two spans", "all evidence"],
)
def test_nothing_is_made_where_no_span_can_be_told_from_others(changes: dict[str, Any]) -> None:
    """Evidence must be known, and there must be something to choose from."""
    assert made(raw(**changes)) == []


def test_headings_are_no_passages() -> None:
    """They say nothing by themselves."""
    text = "# Mill\n\n" + TEXT
    (record,) = made(raw(passages=[{"text": text, "gold": True, "evidence": [[60, 64]]}]))
    assert "# Mill" not in [part.passage.text for part in record.candidates]
    assert len(record.candidates) == 3


def test_data_sets_come_by_their_names() -> None:
    """So the records do not hang on the order in which a mixture names them."""
    records = {name: [parse(raw(query=name))] for name in ("b", "a")}
    assert [record.query for record in apart(records)] == ["a", "b"]


def prepared(directory: Path, single: Apart | None) -> Prepared:
    """Return a mixture of one data set."""
    (directory / "toy.jsonl").write_text(json.dumps({**raw(), "split": "train"}))
    sources = {"toy": Source(file="toy.jsonl", licence="none", negatives="mined")}
    return Prepared(Mixture(fit=FitSettings(steps=1), sources=sources, apart=single), directory)


def test_questions_to_single_spans_are_a_data_set_of_the_collection(tmp_path: Path) -> None:
    """Only the spans of the record are negatives: the passage they come from would be mined."""
    with_single = prepared(tmp_path, Apart(sources=("toy",), weight=0.5))
    collection = with_single.collection(word_pieces())
    collection.mine()
    _, question = collection.questions
    assert with_single.weights == {"toy": 1.0, "apart": 0.5}
    assert question.dataset == "apart"
    texts = {n: collection.units[n].text.strip() for n in range(len(collection.units))}
    assert [texts[n] for n in question.labels] == ["it burned down in 1872"]
    assert [texts[n] for n in question.negatives] == [
        "the mill stands by the river",
        "a new one was built",
        "fog rose over the fields",
    ]


def test_nothing_stands_apart_unless_the_mixture_says_so(tmp_path: Path) -> None:
    """A mixture that was written down before is read."""
    plain = prepared(tmp_path, None)
    assert len(plain.collection(word_pieces()).questions) == 1
    assert plain.weights == {"toy": 1.0}
    before = plain.mixture.model_dump(mode="json", exclude={"apart"})
    assert Mixture.model_validate(before) == plain.mixture


@pytest.mark.parametrize("sources", [("none",), ("judged",), ()])
def test_only_training_sets_are_taken(tmp_path: Path, sources: tuple[str, ...]) -> None:
    """A set that is judged on, an unknown one, or none is an error."""
    path = tmp_path / "mix.yaml"
    path.write_text(
        "fit: {steps: 1}\nsources: {toy: {file: a, licence: b},"
        " judged: {file: a, licence: b, role: evaluate}}\n"
        f"apart: {{sources: {json.dumps(sources)}}}\n"
    )
    with pytest.raises(RecipeError, match="apart"):
        Mixture.load(path)


@pytest.mark.parametrize("key", ["apart", "bridges"])
def test_made_data_sets_keep_their_names(tmp_path: Path, key: str) -> None:
    """No file may have the name of what is made."""
    name = {"apart": "apart", "bridges": "bridged"}[key]
    path = tmp_path / "mix.yaml"
    path.write_text(
        f"fit: {{steps: 1}}\nsources: {{{name}: {{file: a, licence: b}}}}\n"
        f"{key}: {{sources: [{name}]}}\n"
    )
    with pytest.raises(RecipeError, match=f"must not hold '{name}'"):
        Mixture.load(path)
