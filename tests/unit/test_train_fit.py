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
from ctxpack.train.batches import Batch  # noqa: E402
from ctxpack.train.collection import Collection, rarity_table  # noqa: E402
from ctxpack.train.fit import LOG, Lessons, Run  # noqa: E402
from ctxpack.train.joint import N_APART  # noqa: E402
from ctxpack.train.mixture import Augment, FitSettings, Source  # noqa: E402
from ctxpack.train.pieces import continuations  # noqa: E402
from ctxpack.train.records import parse  # noqa: E402
from ctxpack.train.rename import Spellings  # noqa: E402
from ctxpack.train.teacher import Teacher, base_embeddings  # noqa: E402
from ctxpack.train.weights import fresh, weights_of  # noqa: E402

SETTINGS = FitSettings(
    steps=4, frozen_layers=1, head_only_steps=1, batch_tokens=60, batch_queries=4, checkpoint_s=0
)
JOINT = SETTINGS.model_copy(update={"joint": True, "frozen_layers": N_APART})


@pytest.fixture(scope="module")
def lessons(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Lessons:
    """Return twenty questions with a passage that answers and one that does not."""
    made = Collection(WordPieces(Tokenizer.from_file(str(MODELS / "tokenizer.json"))))
    source = Source(file="toy", licence="none", negatives="mined")
    for number in range(20):
        text = f"Ann built ship {number}. It sank."
        passages = [
            {"text": text, "gold": True, "evidence": [[0, 5]]},
            {"text": f"Rain fell on day {number}.", "gold": False},
        ]
        made.add(parse({"query": f"Who built ship {number}?", "passages": passages}), "toy", source)
    made.mine()
    path = tmp_path_factory.mktemp("teacher") / "teacher.npy"
    return Lessons(made, Teacher(path, made, partial(base_embeddings, base)), {"toy": 1.0})


def run(directory: Path, base: Path, lessons: Lessons, settings: FitSettings = SETTINGS) -> Run:
    """Return a run, fresh or continued."""
    directory.mkdir(exist_ok=True)
    rarity = rarity_table([unit.segment for unit in lessons.collection.units])
    return Run(directory, base, settings, rarity)


@pytest.mark.parametrize("settings", [SETTINGS, JOINT], ids=["swift", "mini"])
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
    """Renamed batches and a joint teacher reach the weights, and the log tells of the teacher."""
    spellings = Spellings(continuations())
    pieces = lessons.collection.pieces
    for text in ("I met Ann.", "He saw Ann.", "We like Bob.", "They like Bob."):
        spellings.add(text, pieces.tokens(text))
    rarity = rarity_table([unit.segment for unit in lessons.collection.units])
    names = spellings.names(RarityTable(np.array([1]), np.ones(1, np.float32)))
    assert len(names.keys) == 2
    ways = {
        "plain": (SETTINGS, lessons),
        "renamed": (
            SETTINGS.model_copy(update={"augment": Augment(renamed=1.0)}),
            lessons._replace(names=names),
        ),
        "taught": (SETTINGS, lessons._replace(joint=fresh(base, rarity, N_APART, joint=True))),
    }
    found = {}
    for way, (settings, learnt) in ways.items():
        made = run(tmp_path / way, base, learnt, settings)
        figures = watched(made, monkeypatch)
        made.train(learnt, lambda swift: {})
        found[way] = torch.cat([weight.flatten() for weight in weights_of(made.swift).values()])
        taught = [one["taught_spans"] for one in figures if "taught_spans" in one]
        assert len(taught) == (SETTINGS.steps if way == "taught" else 0)
        assert all(value > 0 for value in taught)
        assert all(("distilled" in one) != (way == "renamed") for one in figures)
    assert not torch.equal(found["plain"], found["renamed"])
    assert not torch.equal(found["plain"], found["taught"])
