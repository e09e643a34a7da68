from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ctxpack.bench.methods import Baselines, Choice, input_token_count, passages_of
from ctxpack.bench.quality import Study, interval, kept_ratio, main, measure, over_budget
from ctxpack.bench.retention import Stretch, evidence_of, retention
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
def test_baselines_stay_within_the_budget(method: str, budget: int) -> None:
    """No baseline has more tokens than the budget, and all of them keep all when it fits."""
    asked = record("spring", answers=("spring",))
    choice: Choice = getattr(Baselines(COUNTER), method)(asked.query, passages_of(asked), budget)
    assert COUNTER.count(choice.text) <= budget
    assert (len(choice.kept) == 5) == (budget == 100)


def test_baselines_differ_in_their_order() -> None:
    """First tokens start at the top, passages and spans by BM25 at what the query asks."""
    asked, baselines = record("spring", answers=("spring",)), Baselines(COUNTER)
    call = (asked.query, passages_of(asked), 8)
    assert baselines.first_tokens(*call).kept[0].passage_index == 0
    assert baselines.passage_bm25(*call).kept == [stretch("Rain fell all day. ")]
    assert baselines.span_bm25(*call).kept == [stretch("The heron nests in spring. ")]


@pytest.fixture
def embeddings(tmp_path: Path) -> Path:
    """Return a model with random weights, whose mean is the embedding."""
    pytest.importorskip("sentence_transformers")
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
    choose = Baselines(COUNTER).span_embeddings(embeddings)
    passages = passages_of(record("spring", answers=("spring",)))
    choice = choose("The heron nests in spring.", passages, 8)
    assert choice.kept == [stretch("The heron nests in spring. ")]
    assert COUNTER.count(choice.text) <= 8


def test_a_perfect_choice_keeps_the_evidence_that_fits() -> None:
    """The cheapest evidence is kept when not all of it fits."""
    asked = record("Rain fell all day.", "The heron nests in spring.", kind="sentence")
    for budget, expected in ((4, 0.0), (5, 0.5), (100, 1.0)):
        assert retention(asked, Baselines(COUNTER).perfect(asked, budget).kept) == expected


def test_a_study_reports_every_method_at_every_budget(tmp_path: Path) -> None:
    """The record has n, and for each budget each method with its difference to the first."""
    file = tmp_path / "herons.jsonl"
    lines = [raw(evidence=["spring"], answers=["spring"]), raw(evidence=[], answers=[])]
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    result = measure(Study(files=[file], shares=(0.5,), split="dev"))["sets"]["herons"]
    assert result["n"] == 1
    methods = result["budgets"]["0.5"]
    assert list(methods) == [
        "lexical",
        "first tokens",
        "passage BM25",
        "span BM25",
        "perfect choice",
    ]
    assert methods["lexical"]["behind"] == 0.0
    assert all(method["over_budget"] == 0.0 for method in methods.values())


def test_the_command_repeats_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The record names a command that measures the same."""
    file = tmp_path / "herons.jsonl"
    file.write_text(json.dumps(raw(evidence=["spring"], answers=["spring"])), encoding="utf-8")
    assert main([str(file), "--share", "0.5", "--limit", "1"]) == 0
    command = json.loads(capsys.readouterr().out)["command"]
    assert main(command.split()[3:]) == 0
    assert json.loads(capsys.readouterr().out)["command"] == command


def test_token_counts_of_inputs_include_titles() -> None:
    """The tokens of the input are those of all passages as they are rendered."""
    asked = record("spring", answers=("spring",))
    words = sum(len(f"{p.title} {p.text}".split()) for p in passages_of(asked))
    assert input_token_count(COUNTER, asked) == words
