from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ctxpack.bench.methods import PLAIN, Baselines, Choice, input_token_count, passages_of
from ctxpack.bench.quality import (
    RENDERINGS,
    Study,
    held_out,
    interval,
    kept_ratio,
    measure,
    over_budget,
)
from ctxpack.bench.retention import Stretch, evidence_of, retention
from ctxpack.bench.tables import quality_tables
from ctxpack.render import Render
from ctxpack.tokens import counter_from
from ctxpack.train.records import Record, parse

TEXT = "Rain fell all day. The heron nests in spring. Ferries run until dusk. The heron eats eels."
COUNTER = counter_from(lambda text: len(text.split()))


def raw(*, evidence: list[str], answers: list[str], kind: str = "answer") -> dict[str, Any]:
    """Return a record of two passages; the evidence is in the second."""
    ranges = [[TEXT.index(part), TEXT.index(part) + len(part)] for part in evidence]
    return {
        "id": "1",
        "dataset": "herons",
        "split": "dev",
        "lang": "en",
        "query": "What nests in spring?",
        "answers": answers,
        "span_kind": kind,
        "passages": [
            {"title": "Ferries", "text": "Ferries are slow. ", "evidence": [], "gold": False},
            {"title": "Heron", "text": TEXT, "evidence": ranges, "gold": True},
        ],
    }


def record(*evidence: str, answers: tuple[str, ...] = (), kind: str = "answer") -> Record:
    """Return the parsed record."""
    return parse(raw(evidence=list(evidence), answers=list(answers), kind=kind))


def stretch(text: str) -> Stretch:
    """Return where a text is in the second passage."""
    return Stretch(1, TEXT.index(text), TEXT.index(text) + len(text))


def test_an_answer_is_retained_when_any_answer_string_is_kept_whole() -> None:
    """One kept answer is enough, a part of one is not."""
    asked = record("nests in spring", answers=("fall", "in spring"))
    assert retention(asked, [stretch("in spring. ")]) == 1.0
    assert retention(asked, [stretch("nests in sp")]) == 0.0


def test_an_answer_elsewhere_does_not_count() -> None:
    """An answer string counts only where it is evidence."""
    asked = record("heron nests", answers=("heron",))
    assert retention(asked, [stretch("heron eats eels.")]) == 0.0
    assert retention(asked, [stretch("The heron nests")]) == 1.0


def test_sentences_are_retained_by_share() -> None:
    """Of two evidence sentences one kept whole is half; touching stretches are one."""
    asked = record("Rain fell all day.", "The heron nests in spring.", kind="sentence")
    assert retention(asked, [stretch("The heron nests"), stretch(" in spring. ")]) == 0.5


def test_nothing_kept_retains_nothing() -> None:
    """The empty choice has retention 0."""
    assert retention(record("spring", answers=("spring",)), []) == 0.0


def test_retention_needs_evidence() -> None:
    """A record without evidence, or whose evidence is of another answer, has no retention."""
    assert retention(record(answers=("spring",)), []) is None
    assert evidence_of(record("eels", answers=("spring",))) == []


def test_kept_ratio_of_nothing_is_zero() -> None:
    """The ratio is output over input tokens, 0 for an empty input."""
    assert (kept_ratio(3, 12), kept_ratio(0, 0)) == (0.25, 0.0)


def test_over_budget_is_a_share_of_calls() -> None:
    """A call with as many tokens as its budget is not over it."""
    assert over_budget([5, 6], [5, 5]) == 0.5
    assert over_budget([], []) == 0.0


def test_intervals_are_seeded_and_hold_the_mean() -> None:
    """The same values have the same interval, no values none."""
    low, high = interval([0.0, 1.0, 1.0, 0.0] * 10) or (1.0, 0.0)
    assert low < 0.5 < high
    assert interval([0.0, 1.0, 1.0, 0.0] * 10) == (low, high)
    assert interval([]) is None


@pytest.mark.parametrize("budget", [0, 1, 5, 12, 100])
@pytest.mark.parametrize("method", ["first_tokens", "passage_bm25", "span_bm25"])
@pytest.mark.parametrize("rendering", RENDERINGS)
def test_baselines_stay_within_the_budget(rendering: str, method: str, budget: int) -> None:
    """No baseline has more tokens than the budget, and all of them keep all when it fits."""
    asked = record("spring", answers=("spring",))
    choice: Choice = getattr(Baselines(COUNTER), method)(asked)(RENDERINGS[rendering], budget)
    assert COUNTER.count(choice.text) <= budget
    assert (len(choice.kept) == 5) == (budget == 100)


def test_baselines_differ_in_their_order() -> None:
    """First tokens start at the top, passages and spans by BM25 at what the query asks."""
    asked, baselines = record("spring", answers=("spring",)), Baselines(COUNTER)
    assert baselines.first_tokens(asked)(Render(), 8).kept[0].passage_index == 0
    assert baselines.passage_bm25(asked)(Render(), 8).kept == [stretch("Rain fell all day. ")]
    assert baselines.span_bm25(asked)(Render(), 8).kept == [stretch("The heron nests in spring. ")]


def test_the_plain_rendering_is_the_kept_text_alone() -> None:
    """There is no title, no mark of a gap and no header."""
    asked = record("Rain fell all day.", "Ferries run until dusk.", kind="sentence")
    text = Baselines(COUNTER).perfect(asked)(PLAIN, 100).text
    assert text == "Rain fell all day. Ferries run until dusk. "


@pytest.fixture
def embeddings(tmp_path: Path) -> Path:
    """Return a model with random weights, whose mean is the embedding."""
    pytest.importorskip("torch")
    from transformers import BertConfig, BertModel, BertTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(set(TEXT.lower().split())), "."]
    (tmp_path / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "intermediate_size": 8}
    config = BertConfig(vocab_size=len(words), num_attention_heads=1, **sizes)
    BertModel(config).save_pretrained(tmp_path)
    BertTokenizerFast(vocab_file=str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    return tmp_path


def test_embeddings_put_the_nearest_span_first(embeddings: Path) -> None:
    """A query that is a span has cosine 1 with it, and no span comes before."""
    asked = record("spring", answers=("spring",))._replace(query="The heron nests in spring.")
    choice = Baselines(COUNTER).span_embeddings(embeddings)(asked)(Render(), 8)
    assert choice.kept == [stretch("The heron nests in spring. ")]
    assert COUNTER.count(choice.text) <= 8


def test_a_perfect_choice_keeps_the_evidence_that_fits() -> None:
    """The cheapest evidence is kept when not all of it fits."""
    asked = record("Rain fell all day.", "The heron nests in spring.", kind="sentence")
    choose = Baselines(COUNTER).perfect(asked)
    for budget, expected in ((4, 0.0), (5, 0.5), (100, 1.0)):
        assert retention(asked, choose(Render(), budget).kept) == expected


@pytest.fixture
def two_sets(tmp_path: Path) -> dict[str, Any]:
    """Return the measurement of two rows on two small sets."""
    herons = raw(evidence=["spring"], answers=["spring"])
    eels = raw(evidence=["eels"], answers=["eels"]) | {"dataset": "eels"}
    file = tmp_path / "birds.jsonl"
    file.write_text("\n".join(map(json.dumps, [herons, eels, raw(evidence=[], answers=[])])))
    return measure(Study(files=[file], recipes=("lexical", "rerank-only"), shares=(0.4,)))


def test_a_study_reports_every_method_in_both_renderings(two_sets: dict[str, Any]) -> None:
    """Of records with evidence, every method stands beside a perfect choice at every budget."""
    herons = two_sets["sets"]["herons"]
    assert herons["n"] == 1
    for rendering in RENDERINGS:
        rows = herons[rendering]["0.4"]
        assert list(rows)[:2] == ["lexical", "rerank-only"]
        assert rows["lexical"]["difference"] == 0.0
        assert {row["perfect"] for row in rows.values()} == {rows["perfect choice"]["retention"]}
        assert all(row["over_budget"] == 0.0 for row in rows.values())


def test_means_are_those_of_sets(two_sets: dict[str, Any]) -> None:
    """Every set counts the same."""
    rows = [found["plain"]["0.4"]["span BM25"] for found in two_sets["sets"].values()]
    mean = two_sets["mean_of_sets"]["plain"]["0.4"]["span BM25"]
    assert mean["retention"] == sum(row["retention"] for row in rows) / 2


def test_two_recipes_are_compared_over_all_sets(two_sets: dict[str, Any]) -> None:
    """There is the mean of their differences, and the set where the first does worst."""
    (pair,) = two_sets["pairs"]
    assert pair["pair"] == ("lexical", "rerank-only")
    row = pair["rows"][0]
    assert (row["rendering"], row["share"]) == ("plain", 0.4)
    assert row["worst"][1] <= row["mean"] <= row["best"][1]


def test_tables_are_readable_on_a_terminal(two_sets: dict[str, Any]) -> None:
    """Each cell has what is kept, the perfect choice, and the difference with its interval."""
    plain, default, pair = quality_tables(two_sets)
    assert plain.columns == default.columns == ["% kept", "40 %"]
    assert [row[0] for row in plain.rows[:3]] == ["herons, n = 1", "  lexical", "  rerank-only"]
    assert re.fullmatch(r" ?\d+ of \d+  [+-]\d+ \([+-]\d+, [+-]\d+\)", plain.rows[2][1])
    assert pair.rows[0][0] == "plain, 40 %"


def test_a_scorer_takes_the_place_of_the_recipes(tmp_path: Path) -> None:
    """Every recipe has a row for every scorer."""
    file = tmp_path / "herons.jsonl"
    file.write_text(json.dumps(raw(evidence=["spring"], answers=["spring"])), encoding="utf-8")
    study = Study(files=[file], scorers=("lexical", "ctxpack-swift"), shares=(0.5,))
    rows = measure(study)["sets"]["herons"]["plain"]["0.5"]
    assert list(rows)[:2] == ["balanced, lexical", "balanced, ctxpack-swift"]
    assert "--scorer=lexical --scorer=ctxpack-swift" in study.command


def test_what_was_learnt_from_is_left_out(tmp_path: Path) -> None:
    """Of a file of the mixture its held-out part is measured, of another one split ``dev``."""
    lines = [{**raw(evidence=[], answers=[]), "split": split} for split in ("train", "dev")]
    for name in ("hotpotqa.jsonl", "mine.jsonl"):
        (tmp_path / name).write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
        assert [one["split"] for one in held_out(tmp_path / name)] == ["dev"]
    (tmp_path / "mine.jsonl").write_text(json.dumps(lines[0]), encoding="utf-8")
    assert len(held_out(tmp_path / "mine.jsonl")) == 1


def test_token_counts_of_inputs_include_titles_where_rendered() -> None:
    """The tokens of the input are those of all passages as they are rendered."""
    asked = record("spring", answers=("spring",))
    plain = sum(len(p.text.split()) for p in passages_of(asked))
    assert input_token_count(COUNTER, asked, PLAIN) == plain
    assert input_token_count(COUNTER, asked, Render()) == plain + 2
