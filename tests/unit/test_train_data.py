"""Training data: what is learnt from, what is kept out, and how it is put into batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from ctxpack.errors import RecipeError
from ctxpack.scoring.manifest import MODELS
from ctxpack.scoring.segments import WordPieces
from ctxpack.train.batches import Batches, BatchSize
from ctxpack.train.bm25 import Bm25
from ctxpack.train.collection import Collection, rarity_table
from ctxpack.train.mixture import Mixture, Source, partition
from ctxpack.train.overlap import EvaluationIndex
from ctxpack.train.records import parse

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
        made.add(parse(record), "toy", SOURCE)
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


def test_span_is_evidence_when_it_overlaps_evidence() -> None:
    """One character of overlap is enough."""
    record = parse(raw("Who?", "Ann built it. It sank."))
    assert record.candidates[0].is_evidence == [True, False]


def test_mined_negatives_hold_no_answer(collection: Collection) -> None:
    """A passage with an answer string is never a negative."""
    made = Collection(collection._pieces)
    made.add(parse(raw("Who built ships?", "Ann built a ship.", answer="Ann")), "toy", SOURCE)
    made.add(parse(raw("Who sold ships?", "Ann sold ships.")), "toy", SOURCE)
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
    pieces = collection._pieces
    common, unseen = (table(pieces.tokens(word).words)[0] for word in ("ship", "zebra"))
    assert common < unseen == 1.0


def test_bm25_prefers_the_rare_word() -> None:
    """A word in one text weighs more than one in all."""
    index = Bm25([["ship", "red"], ["ship", "blue"], ["ship", "green"]])
    assert np.argmax(index.scores(["ship", "blue"])) == 1
