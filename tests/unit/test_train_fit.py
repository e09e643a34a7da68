"""The training loop: a kill costs time, and never changes what is learnt."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tokenizers import Tokenizer  # noqa: E402

from ctxpack.scoring.manifest import MODELS  # noqa: E402
from ctxpack.scoring.rarity import RarityTable  # noqa: E402
from ctxpack.scoring.segments import WordPieces  # noqa: E402
from ctxpack.train.batches import Batch, Batches, BatchSize  # noqa: E402
from ctxpack.train.collection import Collection, rarity_table  # noqa: E402
from ctxpack.train.distil import Taught  # noqa: E402
from ctxpack.train.fit import LOG, Lessons, Run  # noqa: E402
from ctxpack.train.joint import N_APART  # noqa: E402
from ctxpack.train.mixture import Augment, FitSettings  # noqa: E402
from ctxpack.train.records import parse  # noqa: E402
from ctxpack.train.rename import Spellings  # noqa: E402
from ctxpack.train.step import Lesson  # noqa: E402
from ctxpack.train.teacher import Teacher, base_embeddings  # noqa: E402
from ctxpack.train.weights import fresh, weights_of  # noqa: E402

SETTINGS = FitSettings(
    steps=4, frozen_layers=1, head_only_steps=1, batch_tokens=60, batch_queries=4, checkpoint_s=0
)
JOINT = SETTINGS.model_copy(update={"joint": True, "frozen_layers": N_APART})
RENAMED = SETTINGS.model_copy(update={"augment": Augment(renamed=1.0, thinned=0.5)})


@pytest.fixture(scope="module")
def lessons(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Lessons:
    """Return twenty questions with a passage that answers and one that does not."""
    made = Collection(WordPieces(Tokenizer.from_file(str(MODELS / "tokenizer.json"))))
    for number in range(20):
        text = f"Ann built ship {number}. It sank."
        passages = [
            {"text": text, "gold": True, "evidence": [[0, 5]]},
            {"text": f"Rain fell on day {number}.", "gold": False},
        ]
        made.add(
            parse({"query": f"Who built ship {number}?", "passages": passages}), "toy", "mined"
        )
    made.mine()
    path = tmp_path_factory.mktemp("teacher") / "teacher.npy"
    return Lessons(made, Teacher(path, made, partial(base_embeddings, base)), {"toy": 1.0})


def run(directory: Path, base: Path, lessons: Lessons, settings: FitSettings = SETTINGS) -> Run:
    """Return a run, fresh or continued."""
    directory.mkdir(exist_ok=True)
    rarity = rarity_table([unit.segment for unit in lessons.collection.units])
    return Run(directory, base, settings, rarity)


def with_names_and_teacher(lessons: Lessons, base: Path) -> Lessons:
    """Return lessons with two names that may be renamed, and a joint teacher."""
    texts = "I met Ann.", "He saw Ann.", "We like Bob.", "They like Bob."
    rarity = RarityTable(np.array([1]), np.ones(1, np.float32))
    names = Spellings.of(texts).names(rarity)
    assert len(names.keys) == 2
    return lessons._replace(names=names, joint=fresh(base, rarity, N_APART, joint=True))


@pytest.mark.parametrize("settings", [RENAMED, JOINT], ids=["swift", "mini"])
def test_killed_run_ends_with_the_same_weights(
    tmp_path: Path,
    base: Path,
    lessons: Lessons,
    settings: FitSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run that is killed and started again learns what one in a piece learns."""
    if settings.joint:
        lessons = lessons._replace(teacher=None)
    else:
        lessons = with_names_and_teacher(lessons, base)
    whole = run(tmp_path / "whole", base, lessons, settings)
    whole.train(lessons, lambda swift: {})
    killed = run(tmp_path / "killed", base, lessons, settings)
    step = killed._step

    def die_at_two(*arguments: object) -> dict[str, float]:
        if killed.progress.step == 2:
            raise KeyboardInterrupt
        return step(*arguments)

    monkeypatch.setattr(killed, "_step", die_at_two)
    with pytest.raises(KeyboardInterrupt):
        killed.train(lessons, lambda swift: {})
    again = run(tmp_path / "killed", base, lessons, settings)
    assert again.progress.step == 2
    again.train(lessons, lambda swift: {})
    wanted = weights_of(whole.swift)
    for name, weight in weights_of(again.swift).items():
        torch.testing.assert_close(weight, wanted[name], msg=name)


def test_log_tells_what_is_left(tmp_path: Path, base: Path, lessons: Lessons) -> None:
    """The last line has the last step and nothing left to do."""
    made = run(tmp_path / "run", base, lessons)
    made.train(lessons, lambda swift: {"dev AP": 0.5})
    last = json.loads((tmp_path / "run" / LOG).read_text().splitlines()[-1])
    assert (last["step"], last["of"], last["eta_s"], last["dev AP"]) == (4, 4, 0, 0.5)


def test_frozen_layers_stay(tmp_path: Path, base: Path, lessons: Lessons) -> None:
    """Embeddings and the lowest layers leave training as they came in."""
    made = run(tmp_path / "run", base, lessons)
    before = [weight.clone() for weight in made.swift.encoder.base.encoder.layer[0].parameters()]
    made.train(lessons, lambda swift: {})
    after = list(made.swift.encoder.base.encoder.layer[0].parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def watched(made: Run, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, float]]:
    """Return a list that gets the figures of every step of a run."""
    figures: list[dict[str, float]] = []
    step = made._step

    def seen(lessons: Lessons, batch: Batch) -> dict[str, float]:
        figures.append(step(lessons, batch))
        return figures[-1]

    monkeypatch.setattr(made, "_step", seen)
    return figures


def test_names_and_a_teacher_change_what_is_learnt(
    tmp_path: Path, base: Path, lessons: Lessons, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both reach the weights; what is renamed is not held against the base's cosines."""
    more = with_names_and_teacher(lessons, base)
    ways = {
        "plain": (SETTINGS, lessons),
        "renamed": (RENAMED, more._replace(joint=None)),
        "taught": (SETTINGS, more),
    }
    weights, names = [], {}
    for way, (settings, learnt) in ways.items():
        made = run(tmp_path / way, base, learnt, settings)
        figures = watched(made, monkeypatch)
        made.train(learnt, lambda swift: {})
        weights.append(torch.cat([one.flatten() for one in weights_of(made.swift).values()]))
        names[way] = set().union(*figures)
    assert not any(torch.equal(weights[0], other) for other in weights[1:])
    assert names["plain"] - names["renamed"] == {"distilled", "order"}
    assert names["taught"] - names["plain"] == {"taught_passages", "taught_spans"}


def test_pupil_that_says_what_its_teacher_says_agrees(base: Path, lessons: Lessons) -> None:
    """Query for query and segment for segment; what is said of another one is not the same."""
    teacher = with_names_and_teacher(lessons, base).joint
    assert teacher is not None
    collection = lessons.collection
    batch = next(Batches(collection, {"toy": 1.0}, BatchSize.of(SETTINGS)).epoch(0))
    queries = [question.tokens for question in batch.questions]
    lesson = Lesson(batch, [collection.units[n].segment for n in batch.units], queries)
    taught = Taught(teacher, lesson, 2, np.random.default_rng(0))
    with torch.no_grad():
        logits = teacher.scored(lesson.queries, lesson.segments, lesson.asking).logits
    same = taught.losses(logits)
    turned = taught.losses([(-relevance, -spans) for relevance, spans in logits])
    for name in ("taught_passages", "taught_spans"):
        assert float(same[name]) == pytest.approx(0, abs=1e-6)
        assert float(turned[name]) > 1e-3
