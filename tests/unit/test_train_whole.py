"""The whole of a training on a user's own records: killed, continued, exported, used."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("onnxscript")
pytest.importorskip("matplotlib")

import onnx  # noqa: E402
from transformers import BertModel  # noqa: E402

from ctxpack import Passage, Pipeline  # noqa: E402
from ctxpack.errors import InputError, ModelError  # noqa: E402
from ctxpack.scoring.base import PassageScores, best_of  # noqa: E402
from ctxpack.scoring.bundled import BUNDLED, Mini, Swift  # noqa: E402
from ctxpack.scoring.manifest import LOWER, MODELS, Manifest, names_in  # noqa: E402
from ctxpack.scoring.rarity import RarityTable  # noqa: E402
from ctxpack.scoring.swift import NAME, SwiftModel  # noqa: E402
from ctxpack.train import calibrate, export, fit, own, whole  # noqa: E402
from ctxpack.train.distil import Taught  # noqa: E402
from ctxpack.train.evaluate import evaluation_records  # noqa: E402
from ctxpack.train.fit import Run  # noqa: E402
from ctxpack.train.mixture import FitSettings  # noqa: E402
from ctxpack.train.pieces import word_pieces  # noqa: E402
from ctxpack.train.rebuild import encoder_weights  # noqa: E402
from ctxpack.train.records import Record, parse  # noqa: E402
from ctxpack.train.scorer import SwiftLogits  # noqa: E402
from ctxpack.train.start import (  # noqa: E402
    RARITY_FILE,
    RUN,
    START,
    Start,
    prepare,
    save_rarity,
)
from ctxpack.train.whole import TEACHER, Plan, Telling, train  # noqa: E402

SHIPS = ("Ada", "Bure", "Cato", "Dido", "Eos", "Fram", "Gaia", "Hero", "Iris", "Juno")
FACTS = ("was built in {year}", "sank off {place}", "carried {cargo} to the north")
QUERIES = ("When was the {ship} built?", "Where did the {ship} sink?", "What did the {ship} carry?")
N_STEPS = 3


def record(number: int) -> dict[str, Any]:
    """Return one of thirty records on ships, each with a passage of its own and one on oats."""
    ship, kind = SHIPS[number // 3], number % 3
    fact = FACTS[kind].format(year=1900 + number, place=f"Cape {ship}", cargo=f"{ship} oil")
    text = f"It rained all week. The {ship} {fact}. Nobody wrote it down."
    start = text.index("The")
    return {
        "query": QUERIES[kind].format(ship=ship),
        "span_kind": "sentence",
        "passages": [
            {
                "text": text,
                "title": ship,
                "gold": True,
                "evidence": [[start, text.index("Nobody")]],
            },
            {
                "text": f"Oats are sown in spring of {number}. They are cut in August.",
                "gold": False,
            },
        ],
    }


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of thirty records."""
    path = tmp_path_factory.mktemp("data") / "ships.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(record(number)) + "\n" for number in range(30))
    return path


@pytest.fixture(scope="module")
def joint(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a joint model that has learnt nothing yet."""
    out = tmp_path_factory.mktemp("out") / "untrained"
    start = prepare(str(base), out / RUN / START)
    rarity = RarityTable(np.array([1]), np.ones(1, np.float32))
    save_rarity(out / RUN / RARITY_FILE, rarity)
    Run(out / RUN, start.directory, FitSettings(steps=1, joint=True), rarity).save()
    return out


def plan(data: Path, source: Path, out: Path) -> Plan:
    """Return a plan of a few small steps that saves after each."""
    mixture = own.mixture([data], "none")
    settings = {"batch_tokens": 60, "batch_queries": 4, "checkpoint_s": 0}
    mixture = mixture.model_copy(update={"fit": mixture.fit.model_copy(update=settings)})
    return Plan(mixture, Path(), str(source), out, N_STEPS, is_own=True)


class Trained:
    """A run that was killed once and then finished.

    Args:
        name: of the kind of model that it makes.
        plan_of_it: what it was asked for.
    """

    def __init__(self, name: str, plan_of_it: Plan) -> None:
        self.name = name
        self.plan = plan_of_it
        self.out = plan_of_it.out
        self.steps: list[int] = []
        self.n_taught = 0
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fit, "Taught", self.taught)
            with pytest.raises(KeyboardInterrupt):
                train(plan_of_it, Telling(lambda line: None, self.die_at_two))
            train(plan_of_it, Telling(lambda line: None, self.see))

    def taught(self, *given: Any) -> Taught:
        """Count the batches that a joint teacher scores."""
        self.n_taught += 1
        return Taught(*given)

    def see(self, line: dict[str, Any]) -> None:
        """Remember the step."""
        self.steps.append(line["step"])

    def die_at_two(self, line: dict[str, Any]) -> None:
        """Kill the run when a checkpoint of its first step is there."""
        self.see(line)
        if line["step"] == 2:
            raise KeyboardInterrupt


@pytest.fixture(scope="module", params=[Swift.name, Mini.name])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Return a trained model of each kind, with its run.

    The joint one starts from a joint one and is exported in float32; the other one starts from a
    base, has a joint teacher, and is exported in int8.
    """
    is_joint = request.param == Mini.name
    joint: Path = request.getfixturevalue("joint")
    source = joint if is_joint else request.getfixturevalue("base")
    out = tmp_path_factory.mktemp("out") / "ships"
    asked = plan(request.getfixturevalue("data"), source, out)
    teacher = None if is_joint else str(joint)
    return Trained(request.param, asked._replace(quantise=not is_joint, teacher=teacher))


def test_killed_run_goes_on_from_its_checkpoint(trained: Trained) -> None:
    """The second step is taken again, the first is not; the log ends with the last one."""
    assert trained.steps == [0, 1, 2, 2, 3, 3]


def test_trained_model_packs(trained: Trained) -> None:
    """A recipe that names the directory runs with the model."""
    scorer = {trained.name: {"path": str(trained.out)}}
    pipeline = Pipeline.from_recipe("balanced", scorer=scorer)
    passages = [Passage(part["text"]) for part in record(4)["passages"]]
    packed = pipeline.compress("Where did the Bure sink?", passages, budget=40)
    assert packed.evidence
    assert pipeline.recipe.scorer == BUNDLED[trained.name](path=str(trained.out))


def test_card_and_diagrams_are_written(trained: Trained) -> None:
    """The card names the data, the start, the licence and the diagrams."""
    text = (trained.out / "model-card.md").read_text()
    kind, start = f"scorer: {{{trained.name}: {{path", "tiny-base"
    for words in ("# ships", "`ships` | 22 | none", kind, start, "calibration.svg"):
        assert words in text
    assert "<svg" in (trained.out / "calibration.svg").read_text()


def test_only_a_run_that_distils_embeds_its_passages(trained: Trained) -> None:
    """A joint run has no teacher, so its start need not read every passage first."""
    assert (trained.out / RUN / TEACHER).exists() == (trained.name == Swift.name)


def test_joint_start_needs_a_joint_mixture(joint: Path, data: Path, tmp_path: Path) -> None:
    """What a mixture file says of the kind is not changed silently."""
    other = plan(data, joint, tmp_path / "out")._replace(is_own=False)
    with pytest.raises(InputError, match="is a joint model; the mixture needs `joint: true`"):
        train(other, Telling(print, print))
    assert list((other.out / RUN).iterdir()) == []


def test_teacher_scores_every_batch(trained: Trained) -> None:
    """Also after a kill; the second step is taken twice."""
    assert trained.n_taught == (1 + N_STEPS if trained.name == Swift.name else 0)


def test_manifest_tells_of_the_teacher(trained: Trained) -> None:
    """By the name that the start of it had."""
    teacher = Manifest.load(trained.name, models=trained.out).training["teacher"]
    assert teacher == ("a run from tiny-base" if trained.name == Swift.name else None)


def test_run_that_is_older_than_a_setting_goes_on(trained: Trained, tmp_path: Path) -> None:
    """A setting that its `run.json` does not name has its default; others are of another run."""
    out = tmp_path / "older"
    shutil.copytree(trained.out, out)
    asked = json.loads((out / RUN / whole.ASKED).read_text())
    del asked["mixture"]["bridges"], asked["mixture"]["fit"]["taught_queries"]
    (out / RUN / whole.ASKED).write_text(json.dumps(asked))
    whole._claim(out / RUN, trained.plan)
    asked["mixture"]["fit"]["unheard"] = 1
    (out / RUN / whole.ASKED).write_text(json.dumps(asked))
    with pytest.raises(InputError, match="is of other mixture"):
        whole._claim(out / RUN, trained.plan)


def test_teacher_must_be_a_joint_model(base: Path, joint: Path, data: Path, tmp_path: Path) -> None:
    """A base has no scores to learn from, and a joint model has no teacher."""
    apart = plan(data, base, tmp_path / "apart")._replace(teacher=str(base))
    with pytest.raises(InputError, match=r"--teacher .*: must be a joint model"):
        train(apart, Telling(print, print))
    nothing = plan(data, base, tmp_path / "nothing")._replace(teacher=str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"--teacher .*nowhere: must be 'ctxpack-swift' or"):
        train(nothing, Telling(print, print))
    together = plan(data, joint, tmp_path / "together")._replace(teacher=str(joint))
    with pytest.raises(InputError, match=r"--teacher .*: a joint model learns from no other"):
        train(together, Telling(print, print))
    for wrong in (apart, nothing, together):
        assert list((wrong.out / RUN).iterdir()) == []  # the right one may be given after it


def damaged_config(base: Path, directory: Path) -> Path:
    """Return a base model whose config.json is cut off."""
    shutil.copytree(base, directory)
    (directory / "config.json").write_text("{")
    return directory


def damaged_head(trained: Path, directory: Path) -> Path:
    """Return a trained model whose head is not what its manifest says."""
    shutil.copytree(trained, directory, ignore=shutil.ignore_patterns(RUN))
    (head,) = directory.glob("*/head.onnx")
    head.write_bytes(b"damaged")
    return directory


def damaged_weights(base: Path, directory: Path) -> Path:
    """Return a base model whose weights cannot be read."""
    shutil.copytree(base, directory)
    (directory / "model.safetensors").write_bytes(b"damaged")
    return directory


def test_what_cannot_start_leaves_nothing(
    trained: Trained, base: Path, data: Path, tmp_path: Path
) -> None:
    """The message names the start that was asked for, and the directory takes another."""
    starts = {
        damaged_config(base, tmp_path / "a"): (InputError, "a: config.json must be JSON"),
        damaged_head(trained.out, tmp_path / "b"): (ModelError, "b: .*head.onnx' must have SHA"),
        damaged_weights(base, tmp_path / "c"): (ModelError, "c: model.safetensors cannot be read"),
    }
    for start, (error, message) in starts.items():
        wrong = plan(data, start, tmp_path / "out")
        with pytest.raises(error, match=f"--from .*{message}"):
            train(wrong, Telling(print, print))
        assert list((wrong.out / RUN).iterdir()) == []


def test_started_run_outlives_a_failure(trained: Trained) -> None:
    """Where a run has begun, a call that fails deletes nothing of it."""
    run = trained.out / RUN
    there = sorted(run.rglob("*"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(whole, "_check_teacher", failing)
        with pytest.raises(InputError, match="on purpose"):
            whole._begun(run, trained.plan)
    assert sorted(run.rglob("*")) == there


def failing(*parts: object) -> None:
    """Fail as what cannot start does."""
    raise InputError("on purpose")


def test_other_data_is_refused(trained: Trained) -> None:
    """A directory holds one run; what differs is said."""
    other = trained.plan._replace(steps=9)
    with pytest.raises(InputError, match="run: is of other steps; give another --out"):
        train(other, Telling(lambda line: None, lambda line: None))


RECORDS = [parse(record(number)) for number in (0, 1, 2, 15, 29)]


def spans(score: Callable[[Record], list[PassageScores]]) -> NDArray[np.float32]:
    """Return the span logits of a few records."""
    return np.concatenate([part.spans for record in RECORDS for part in score(record)])


def exported_logits(models: Path) -> NDArray[np.float32]:
    """Return the span logits of an exported model."""
    (name,) = names_in(models)
    model = BUNDLED[name].model(Manifest.load(name, models=models), models=models)

    def score(record: Record) -> list[PassageScores]:
        asked = model.asked(record.query)
        found = []
        for split in (candidate.split for candidate in record.candidates):
            parts = model.segments(split)
            logits = [model.logits(asked, model.encoded(part)) for part in parts]
            found.append(best_of(split, parts, logits, lowest=-np.inf))
        return found

    return spans(score)


def rebuilt_logits(start: Start) -> NDArray[np.float32]:
    """Return the span logits of a start."""
    assert start.rarity is not None
    scorer = SwiftLogits(start.swift(start.rarity, 0), word_pieces())
    return spans(
        lambda record: scorer.score(record.query, [one.split for one in record.candidates])
    )


def test_run_is_a_start(trained: Trained, tmp_path: Path) -> None:
    """Training can go on from the weights of a run, which are those before quantisation."""
    start = prepare(str(trained.out), tmp_path / "start")
    assert start.name.endswith("run from tiny-base")
    assert start.joint == (trained.name == Mini.name)
    np.testing.assert_allclose(rebuilt_logits(start), exported_logits(trained.out), atol=0.05)


def test_exported_model_is_a_start(trained: Trained, tmp_path: Path) -> None:
    """Without its run, a model's weights are rebuilt from its graphs."""
    shutil.copytree(trained.out, tmp_path / "model", ignore=shutil.ignore_patterns("run"))
    start = prepare(str(tmp_path / "model"), tmp_path / "start")
    assert start.distilled == "start"
    np.testing.assert_allclose(rebuilt_logits(start), exported_logits(trained.out), atol=0.05)


def test_float32_graphs_hold_every_number(trained: Trained) -> None:
    """Four bytes a weight in place of one: the run of a joint model was asked for them."""
    n_bytes = (trained.out / LOWER).stat().st_size / (30522 * 128)
    assert n_bytes > 4 if trained.name == Mini.name else n_bytes < 2


def test_finished_run_is_read_for_another_export(trained: Trained) -> None:
    """Its settings have the kind of model that it made, which nobody named."""
    run = whole.Trained.load(trained.out / RUN, "a CPU")
    assert run.mixture.fit.joint == (trained.name == Mini.name)
    assert [len(raws) for raws in evaluation_records(run.mixture, Path()).values()] == [8]


@pytest.fixture
def again(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return what exports a model to `tmp_path`, which holds it, in the precision it lacks there.

    Its head comes from its file, because to trace one takes ten seconds.
    """
    ignored = shutil.ignore_patterns("run")
    shutil.copytree(trained.out, tmp_path, dirs_exist_ok=True, ignore=ignored)
    head = onnx.load(tmp_path / trained.name / "head.onnx")
    monkeypatch.setattr(export, "head_graph", lambda _, *, halved: head)
    run = whole.Trained.load(trained.out / RUN, "a CPU")
    records = evaluation_records(run.mixture, Path())
    return lambda: run.export(tmp_path, records, quantise=not trained.plan.quantise) and None


def die(_: object) -> None:
    """Stand for a kill."""
    raise KeyboardInterrupt


def test_export_killed_while_calibrating_leaves_the_model_of_before(
    again: Callable[[], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new files are beside the old ones until the manifest is ready, too."""
    before = exported_logits(tmp_path)
    monkeypatch.setattr(calibrate, "fit", die)
    with pytest.raises(KeyboardInterrupt):
        again()
    np.testing.assert_array_equal(exported_logits(tmp_path), before)


def test_export_takes_the_place_of_the_model_of_before(
    again: Callable[[], None], tmp_path: Path
) -> None:
    """Almost the same logits come from another file, and nothing is left beside."""
    (name,) = names_in(tmp_path)
    (tmp_path / f"{name}.part" / name).mkdir(parents=True)  # of an export that was killed
    before, files = exported_logits(tmp_path), Manifest.load(name, models=tmp_path).files
    again()
    assert Manifest.load(name, models=tmp_path).files[LOWER] != files[LOWER]
    np.testing.assert_allclose(exported_logits(tmp_path), before, atol=0.05)
    assert not list(tmp_path.glob("*.part"))


def test_installed_encoder_is_rebuilt() -> None:
    """Rebuilt, it gives almost the vectors of its graph: only activations are rounded there."""
    manifest = Manifest.load(NAME)
    config, base, own = encoder_weights(manifest.read(LOWER), manifest.read(manifest.upper))
    bert = BertModel(config, add_pooling_layer=False).eval()
    bert.load_state_dict(base)
    model = SwiftModel(manifest)
    ids = word_pieces().query("Who designed the lighthouse at Cape Arden?").ids
    with torch.no_grad():
        states = bert(torch.from_numpy(ids)[None]).last_hidden_state[0]
        found = torch.nn.functional.normalize(states @ own["query.weight"].T, dim=-1)
    wanted = model._query(model._states(ids))
    assert (found.numpy() * wanted).sum(1).min() > 0.99


def test_start_of_another_kind_is_refused(tmp_path: Path) -> None:
    """A directory with nothing to start from raises, and leaves nothing behind."""
    with pytest.raises(InputError, match=r"--from .*: must be 'ctxpack-swift' or"):
        prepare(str(tmp_path), tmp_path / "start")
    assert not (tmp_path / "start").exists()


def test_base_of_another_vocabulary_is_refused(base: Path, tmp_path: Path) -> None:
    """The bundled tokenizer's numbers would mean other words to it."""
    shutil.copytree(base, tmp_path / "base")
    (tmp_path / "base" / "vocab.txt").write_text("[PAD]\n[UNK]\n")
    with pytest.raises(InputError, match="must have the vocabulary of bert-base-uncased"):
        prepare(str(tmp_path / "base"), tmp_path / "start")


def test_damaged_model_is_no_start(trained: Trained, tmp_path: Path) -> None:
    """A graph that is not the one of the manifest is not read."""
    shutil.copytree(trained.out, tmp_path / "model", ignore=shutil.ignore_patterns("run"))
    (tmp_path / "model" / LOWER).write_bytes(b"other")
    with pytest.raises(ModelError, match="must have SHA-256"):
        prepare(str(tmp_path / "model"), tmp_path / "start")


def test_data_without_evidence_is_refused(base: Path, tmp_path: Path) -> None:
    """Nothing can be calibrated to passages alone; the message says how many records have it."""
    path = tmp_path / "bare.jsonl"
    raws = [record(number) for number in range(20)]
    for raw in raws:
        raw["passages"][0]["evidence"] = []
    path.write_text("".join(json.dumps(raw) + "\n" for raw in raws))
    with pytest.raises(InputError, match="bare: train has 12 records, 0 of them with `evidence`"):
        train(plan(path, base, tmp_path / "out"), Telling(print, print))


def test_installed_models_stay_as_they_are() -> None:
    """A run never writes into the package."""
    assert not (MODELS / "run").exists()
