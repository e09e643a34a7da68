"""Training data: what is learnt from, what is kept out, and how it is put into batches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from ctxpack.errors import InputError, RecipeError
from ctxpack.scoring.manifest import MODELS
from ctxpack.scoring.segments import WordPieces
from ctxpack.train.batches import Batches, BatchSize
from ctxpack.train.bm25 import Bm25
from ctxpack.train.collection import Collection, rarity_table
from ctxpack.train.mixture import Mixture, Source, partition
from ctxpack.train.overlap import EvaluationIndex
from ctxpack.train.own import mixture
from ctxpack.train.pieces import word_pieces
from ctxpack.train.prepare import Prepared
from ctxpack.train.records import parse, read

LONG = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
SOURCE = Source(file="toy.jsonl", licence="none", negatives="mined")


def raw(query: str, *texts: str, gold: int = 0, answer: str = "") -> dict[str, Any]:
    """Return a record as it stands in a file; the gold passage starts with its evidence."""
    passages = [
        {
            "title": "",
            "text": text,
            "gold": number == gold,
            "evidence": [[0, 3]] if number == gold else [],
        }
        for number, text in enumerate(texts)
    ]
    return {"query": query, "answers": [answer] if answer else [], "passages": passages}


@pytest.fixture(scope="module")
def collection() -> Collection:
    """Return twelve questions on ships."""
    made = Collection(WordPieces(Tokenizer.from_file(str(MODELS / "tokenizer.json"))))
    for n in range(12):
        record = raw(f"Who built ship {n}?", f"Ann built ship {n}. It sank.", f"Rain fell on {n}.")
        made.add(parse(record), "toy", "mined")
    made.mine()
    return made


def test_shared_query_is_left_out() -> None:
    """Case and punctuation do not hide a query of the evaluation data."""
    index = EvaluationIndex([raw("Who won?", "text")])
    assert index.admit(raw("who  won", "another text")) is None


def test_shared_gold_passage_takes_the_record_out() -> None:
    """A record whose evidence text is evaluated elsewhere is not learnt from."""
    index = EvaluationIndex([raw("a?", LONG)])
    assert index.admit(raw("b?", LONG, "short text")) is None


def test_shared_distractor_is_dropped_alone() -> None:
    """The rest of the record stays."""
    kept = EvaluationIndex([raw("a?", LONG)]).admit(raw("b?", "short text", LONG))
    assert kept is not None
    assert [passage["text"] for passage in kept["passages"]] == ["short text"]


def test_held_out_records_are_evaluated_and_not_learnt_from() -> None:
    """The last records of the training split move to the other side."""
    train, dev = partition(
        SOURCE.model_copy(update={"held_out": 1}), [raw("a?", "t"), raw("b?", "t")]
    )
    assert [part["query"] for part in train] == ["a?"]
    assert [part["query"] for part in dev] == ["b?"]


def test_set_with_role_evaluate_is_never_learnt_from() -> None:
    """Not even its training split."""
    source = Source(file="toy.jsonl", licence="none", role="evaluate")
    assert partition(source, [raw("a?", "t")])[0] == []


def test_unknown_key_in_a_mixture_is_refused(tmp_path: Any) -> None:
    """A spelling mistake in the mixture file is an error that names the file."""
    path = tmp_path / "mix.yaml"
    path.write_text("fit: {steps: 1}\nsources: {toy: {file: a, licence: b, wieght: 2}}\n")
    with pytest.raises(RecipeError, match=r"(?s)mix\.yaml: .*wieght"):
        Mixture.load(path)


def test_mixture_takes_the_data_sets_of_another(tmp_path: Any) -> None:
    """Two models learn from the same data, which is written down once."""
    (tmp_path / "one.yaml").write_text("fit: {steps: 1}\nsources: {toy: {file: a, licence: b}}\n")
    (tmp_path / "two.yaml").write_text("fit: {steps: 2, joint: true}\nsources: one.yaml\n")
    found = Mixture.load(tmp_path / "two.yaml")
    assert found.fit.joint
    assert found.sources == Mixture.load(tmp_path / "one.yaml").sources


@pytest.mark.parametrize("text", ["sources: none.yaml", "sources: mix.yaml", "- a"])
def test_mixture_without_data_sets_is_refused(tmp_path: Any, text: str) -> None:
    """A file that is not there, the file itself and a list are errors that name the file."""
    path = tmp_path / "mix.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=r"mix\.yaml: "):
        Mixture.load(path)


def test_span_is_evidence_when_it_overlaps_evidence() -> None:
    """One character of overlap is enough."""
    record = parse(raw("Who?", "Ann built it. It sank."))
    assert record.candidates[0].is_evidence == [True, False]


def test_mined_negatives_hold_no_answer(collection: Collection) -> None:
    """A passage with an answer string is never a negative."""
    made = Collection(collection.pieces)
    made.add(
        parse(raw("Who built ships?", "Ann built a ship.", answer="Ann")), "toy", SOURCE.negatives
    )
    made.add(parse(raw("Who sold ships?", "Ann sold ships.")), "toy", "mined")
    made.mine()
    assert made.questions[0].negatives == []
    assert made.questions[1].negatives == [0]


def test_same_seed_gives_the_same_batches(collection: Collection) -> None:
    """A resumed run goes on with the batches that it would have seen."""
    batches = Batches(collection, {"toy": 1.0}, BatchSize(tokens=100, queries=4))
    first, again = ([batch.units for batch in batches.epoch(3)] for _ in range(2))
    assert first == again


def test_epoch_asks_every_query(collection: Collection) -> None:
    """With weight 1 each query starts or joins a batch."""
    batches = Batches(collection, {"toy": 1.0}, BatchSize(tokens=100, queries=4))
    asked = {id(question) for batch in batches.epoch(0) for question in batch.questions}
    assert asked == {id(question) for question in collection.questions}


def test_rarity_falls_with_frequency(collection: Collection) -> None:
    """A word in every passage of a kind is less telling than one in none."""
    table = rarity_table([unit.segment for unit in collection.units])
    pieces = collection.pieces
    common, unseen = (table(pieces.tokens(word).words)[0] for word in ("ship", "zebra"))
    assert common < unseen == 1.0


def test_bm25_prefers_the_rare_word() -> None:
    """A word in one text weighs more than one in all."""
    index = Bm25([["ship", "red"], ["ship", "blue"], ["ship", "green"]])
    assert np.argmax(index.scores(["ship", "blue"])) == 1


def test_records_are_split_by_what_they_are_about() -> None:
    """Queries on one gold passage stay together, whatever the order of the records."""
    raws = [raw(f"{n}?", f"Text {n % 20}.") for n in range(60)]
    source = SOURCE.model_copy(update={"dev_share": 0.2})
    train, dev = partition(source, raws)
    assert len(dev) == 12
    about = [{part["passages"][0]["text"] for part in side} for side in (train, dev)]
    assert not about[0] & about[1]
    again = partition(source, raws[::-1])[1]
    assert {part["query"] for part in again} == {part["query"] for part in dev}


def test_split_of_the_records_is_kept() -> None:
    """A set that says what is for evaluation is not split again."""
    raws = [
        {**raw(f"{n}?", f"Text {n}."), "split": "dev" if n == 3 else "train"} for n in range(30)
    ]
    source = SOURCE.model_copy(update={"dev_share": 0.5})
    assert [part["query"] for part in partition(source, raws)[1]] == ["3?"]


def test_only_gold_text_can_be_kept_out() -> None:
    """Where all records draw on one collection, a shared distractor is no leak."""
    judged = raw("a?", "short text", LONG)
    assert EvaluationIndex([judged], only_gold=True).admit(raw("b?", LONG)) is not None
    assert EvaluationIndex([judged]).admit(raw("b?", LONG)) is None


def test_mining_leaves_out_what_is_too_near(collection: Collection) -> None:
    """What the teacher finds as near as the evidence may be evidence."""
    made = Collection(collection.pieces)
    made.add(parse(raw("Who built ships?", "Ann built a ship.")), "toy", "mined")
    made.add(parse(raw("Who sold ships?", "Bob sold ships.")), "toy", "mined")
    made.mine(lambda question, numbers: np.array([question.number == 0] * len(numbers), np.bool_))
    assert [question.negatives for question in made.questions] == [[1], []]


BAD_LINES = {
    "{": "must be JSON",
    "[]": r"must be an object, got \[\]",
    '{"passages": [{"text": "a", "gold": true}]}': "`query`: Field required",
    '{"query": "a?", "passages": []}': "`passages`: .*at least 1 item",
    '{"query": "a?", "passages": [{"text": "a", "gold": 1}]}': r"`passages\.0\.gold`: .*got 1",
    '{"query": "a?", "passages": [{"text": "a", "gold": true, "evidence": [[0, 2]]}]}': (
        r"`passages\.0`: evidence \[0, 2\] must lie within its 1 characters"
    ),
    '{"query": "a?", "passages": [{"text": "a", "gold": false, "evidence": [[0, 1]]}]}': (
        "must lie in a gold passage"
    ),
}


@pytest.mark.parametrize("line", BAD_LINES)
def test_bad_record_is_named_by_file_and_line(tmp_path: Path, line: str) -> None:
    """The message says where, which key, which rule and which value."""
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps(raw("a?", "abc")) + "\n\n" + line + "\n")
    with pytest.raises(InputError, match=rf"mine\.jsonl:3: .*{BAD_LINES[line]}"):
        list(read(path))


def test_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """So is one that is not UTF-8."""
    with pytest.raises(InputError, match=r"no\.jsonl:1: cannot be read"):
        list(read(tmp_path / "no.jsonl"))
    (tmp_path / "latin.jsonl").write_bytes(b'{"query": "\xe9"}')
    with pytest.raises(InputError, match=r"latin\.jsonl:1: cannot be read"):
        list(read(tmp_path / "latin.jsonl"))


def test_own_files_of_one_name_are_refused(tmp_path: Path) -> None:
    """A data set's name is its file's."""
    (tmp_path / "b").mkdir()
    files = [tmp_path / "a.jsonl", tmp_path / "b" / "a.jsonl.gz"]
    for path in files:
        path.touch()
    with pytest.raises(InputError, match="another file has the name 'a'"):
        mixture(files, "none")


def test_negatives_of_a_repeated_query_are_not_mined(tmp_path: Path) -> None:
    """Another record's evidence may answer it; `auto` mines for the others."""
    path = tmp_path / "mine.jsonl"
    asked = ["Who won?", "who won", "Who lost?"]
    lines = [raw(query, f"Ann {n}.", f"Rain {n}.") for n, query in enumerate(asked)]
    path.write_text("".join(json.dumps({**line, "split": "train"}) + "\n" for line in lines))
    collection = Prepared(mixture([path], "none"), tmp_path).collection(word_pieces())
    assert [question.rule for question in collection.questions] == ["record", "record", "mined"]
