"""The whole of a training: records in; a calibrated, quantised model with its card out.

Every part leaves its result in the run's directory, and what is there is not made again: after a
kill the same call goes on.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ctxpack.errors import InputError
from ctxpack.scoring.manifest import Manifest
from ctxpack.scoring.rarity import RarityTable
from ctxpack.train import own
from ctxpack.train.batches import Batches, BatchSize
from ctxpack.train.collection import Admits, Collection, rarity_table
from ctxpack.train.export import (
    beside,
    calibrated,
    check_shared,
    load_run,
    name_of,
    publish,
    write_graphs,
)
from ctxpack.train.fit import Lessons, Run, Watch
from ctxpack.train.mixture import FitSettings, Mixture
from ctxpack.train.pieces import word_pieces
from ctxpack.train.prepare import Prepared
from ctxpack.train.rename import Spellings
from ctxpack.train.report import DevReport
from ctxpack.train.scorer import SwiftLogits
from ctxpack.train.start import RARITY_FILE, RUN, START, Start, prepare, save_rarity
from ctxpack.train.step import Swift
from ctxpack.train.story import CARD, summary, write_own_card
from ctxpack.train.teacher import Teacher, Texts, base_embeddings, own_embeddings

TEACHER, ASKED = "teacher.npy", "run.json"
JOINT_TEACHER = "teacher"
"""Directory, in a run, of the joint model that it distils."""


class Plan(NamedTuple):
    """What is asked for.

    Args:
        mixture: data sets and settings.
        data: directory that the mixture's files are relative to.
        source: what to start from, see `start.prepare`.
        out: directory of the result.
        steps: in place of the mixture's; None for its own, or, where `is_own`, for as many as
            `own.PASSES` take.
        is_own: whether the data is a user's own, without a mixture file.
        quantise: whether the graphs are int8; float32 otherwise.
        teacher: a joint model to distil, by what `start.prepare` takes; None for none.
    """

    mixture: Mixture
    data: Path
    source: str
    out: Path
    steps: int | None = None
    is_own: bool = False
    quantise: bool = True
    teacher: str | None = None


class Telling(NamedTuple):
    """Who is told of the progress.

    Args:
        note: is given a line when a part begins or ends.
        watch: see `fit.Watch`.
    """

    note: Callable[[str], None]
    watch: Watch


def train(plan: Plan, telling: Telling) -> None:
    """Train, calibrate and export a model, and write its card.

    Raises:
        InputError: the data or the start is not what it must be, or `out` holds another run.
        ModelError: the start is damaged or of another version.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    run = plan.out / RUN
    prepared = Prepared(plan.mixture, plan.data)
    if plan.is_own:
        own.check(prepared)
    run.mkdir(parents=True, exist_ok=True)
    start = _begun(run, plan)
    telling.note(_read_in_words(prepared))
    torch.set_default_device(device)
    settings = _fitted(plan, prepared, start, telling)
    torch.set_default_device("cpu")
    telling.note("export, calibrate, judge")
    mixture = plan.mixture.model_copy(update={"fit": settings})
    trained = Trained(run, start, mixture, hardware(device))
    manifest = trained.export(plan.out, prepared.evaluation, quantise=plan.quantise)
    if plan.is_own:
        write_own_card(manifest, prepared, plan.out, _before(start, settings))
        telling.note(f"done: {plan.out / CARD}")


class Trained(NamedTuple):
    """A run that has taken its steps.

    Args:
        run: its directory.
        start: what it started from.
        mixture: its data sets, and the settings that it was trained with.
        hardware: what it ran on, in words.
    """

    run: Path
    start: Start
    mixture: Mixture
    hardware: str

    @classmethod
    def load(cls, run: Path, hardware: str) -> Trained:
        """Return the run in a directory.

        Raises:
            InputError: there is none.
        """
        try:
            asked = json.loads((run / ASKED).read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"--run {run}: must hold a run of `ctxpack train`: {error}") from error
        start = prepare(asked["from"], run / START)
        mixture = Mixture.model_validate(asked["mixture"])
        settings = _settings(mixture.fit, start)
        return cls(run, start, mixture.model_copy(update={"fit": settings}), hardware)

    def export(
        self, out: Path, records: dict[str, list[dict[str, Any]]], *, quantise: bool
    ) -> Manifest:
        """Write the model's files, calibrated, and return its manifest.

        The model that `out` holds by that name stays until all is ready; see `export.publish`.

        Args:
            out: the models directory; it may hold the other model, if both share what models share.
            records: data set → raw records to calibrate with.
            quantise: see `Plan`.

        Raises:
            InputError: there is no evidence in the records, or another model in the directory
                needs other shared files.
            ModelError: the run has no checkpoint.
        """
        model, rarity = load_run(self.run, self.start.directory, self.mixture.fit)
        with beside(name_of(model), out) as part:
            manifest = write_graphs(model, rarity, part, quantise=quantise)
            check_shared(manifest.name, manifest.files, out)
            manifest, quality = calibrated(manifest, part, records)
            training = summary(self.run, self.mixture, quality, self.hardware)
            training["base"] = self.mixture.base or self.start.name
            teacher = _joint_teacher(self.run)
            training["teacher"] = None if teacher is None else teacher.name
            manifest = manifest.model_copy(update={"training": training})
            publish(manifest, part, out)
        return manifest


def hardware(device: str) -> str:
    """Return what a device is, in words."""
    return torch.cuda.get_device_name() if device == "cuda" else "a CPU"


def _before(start: Start, settings: FitSettings) -> SwiftLogits | None:
    """Return what a run started from as a scorer; None where its head had learnt nothing."""
    rarity = start.rarity
    if rarity is None:
        return None
    return SwiftLogits(start.swift(rarity, settings.frozen_layers), word_pieces())


def _fitted(plan: Plan, prepared: Prepared, start: Start, telling: Telling) -> FitSettings:
    """Train to the last step; return the settings, with the number of steps."""
    run, settings = plan.out / RUN, _settings(plan.mixture.fit, start)
    pieces = word_pieces()
    collection = prepared.collection(pieces)
    rarity = start.rarity or rarity_table([unit.segment for unit in collection.units])
    save_rarity(run / RARITY_FILE, rarity)
    teacher = None
    if not settings.joint or settings.mined_below is not None:
        telling.note(f"embed {len(collection.units)} passages")
        embed = partial(_embedded, start, rarity, settings.frozen_layers)
        teacher = Teacher(run / TEACHER, collection, embed)
    telling.note("mine negatives")
    collection.mine(_admits(teacher, settings.mined_below))
    steps = plan.steps or settings.steps
    if plan.is_own and plan.steps is None:
        steps = _own_steps(settings, collection, prepared.weights)
    settings = settings.model_copy(update={"steps": steps})
    telling.note(f"train: {steps} steps, log in {run / 'log.jsonl'}")
    made = Run(run, start.directory, settings, rarity, start=start.weights)
    names = None
    if settings.augment.renamed:
        names = Spellings.of(text for _, text in sorted(prepared.texts())).names(rarity)
    lessons = Lessons(
        collection, teacher, prepared.weights, names, _taught_by(run, settings.frozen_layers)
    )
    made.train(lessons, DevReport(prepared, pieces), telling.watch)
    return settings


def _begun(run: Path, plan: Plan) -> Start:
    """Return the start of a run, and claim its directory; what cannot start leaves nothing there.

    Raises:
        InputError: the start or the teacher is not what it must be, or it is another run's place.
        ModelError: one of them is damaged or of another version.
    """
    is_new = _claim(run, plan)
    try:
        start = prepare(plan.source, run / START)
        if start.joint and not plan.is_own and not plan.mixture.fit.joint:
            rule = "is a joint model; the mixture needs `joint: true`"
            raise InputError(f"--from {plan.source}: {rule}")
        _check_teacher(plan, start)
    except Exception:
        if is_new:
            for part in (START, JOINT_TEACHER):
                if (run / part).exists():
                    shutil.rmtree(run / part)
            (run / ASKED).unlink()  # last: a start without a claim would be taken for another's
        raise
    return start


def _check_teacher(plan: Plan, start: Start) -> None:
    """Copy the joint teacher, if there is one, into the run.

    Raises:
        InputError: the teacher is not a joint model, or the pupil is one.
    """
    if plan.teacher is None:
        return
    if start.joint or plan.mixture.fit.joint:
        raise InputError(f"--teacher {plan.teacher}: a joint model learns from no other")
    if not prepare(plan.teacher, plan.out / RUN / JOINT_TEACHER, "--teacher").joint:
        raise InputError(f"--teacher {plan.teacher}: must be a joint model, as ctxpack-mini")


def _joint_teacher(run: Path) -> Start | None:
    """Return the joint model that a run distils, None for none."""
    directory = run / JOINT_TEACHER
    return prepare("", directory) if directory.exists() else None


def _taught_by(run: Path, frozen_layers: int) -> Swift | None:
    """Return the joint model that a run distils in torch, None for none."""
    teacher = _joint_teacher(run)
    if teacher is None:
        return None
    assert teacher.rarity is not None  # as of every model that was trained
    return teacher.swift(teacher.rarity, frozen_layers)


def _embedded(
    start: Start, rarity: RarityTable, frozen_layers: int, texts: Texts
) -> np.ndarray[Any, np.dtype[np.float16]]:
    if start.distilled == "base":
        return base_embeddings(start.directory, texts)
    return own_embeddings(start.swift(rarity, frozen_layers), texts)


def _admits(teacher: Teacher | None, limit: float | None) -> Admits | None:
    """Return what says which units may be mined negatives of a question; None for all."""
    if teacher is None or limit is None:
        return None
    return lambda question, numbers: np.asarray(teacher.nearness(question, numbers) < limit)


def _settings(settings: FitSettings, start: Start) -> FitSettings:
    """Return settings that fit the kind of the start: a joint model stays one."""
    if start.joint and not settings.joint:
        return settings.model_copy(update=own.JOINT)
    return settings


def _own_steps(settings: FitSettings, collection: Collection, weights: dict[str, float]) -> int:
    """Return how many steps a user's own run takes, unless they are given."""
    batches = Batches(collection, weights, BatchSize.of(settings)).epoch(settings.seed)
    return max(own.MIN_STEPS, own.PASSES * sum(1 for _ in batches))


def _claim(run: Path, plan: Plan) -> bool:
    """Write down what the run was asked for, or check that it was asked for the same.

    Returns whether it is new.

    Raises:
        InputError: the directory holds a run that was asked for something else.
    """
    asked = {
        "from": plan.source,
        "steps": plan.steps,
        "teacher": plan.teacher,
        "mixture": plan.mixture.model_dump(mode="json"),
        "files": {
            name: hashlib.sha256((plan.data / source.file).read_bytes()).hexdigest()
            for name, source in plan.mixture.sources.items()
        },
    }
    path = run / ASKED
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        with suppress(ValueError):  # settings that are newer than the run have their defaults
            before["mixture"] = Mixture.model_validate(before["mixture"]).model_dump(mode="json")
        other = [name for name, value in asked.items() if before.get(name) != value]
        if other:
            what = ", ".join(other)
            raise InputError(f"{run}: is of other {what}; give another --out, or delete it")
        return False
    path.write_text(json.dumps(asked, indent=1), encoding="utf-8")
    return True


def _read_in_words(prepared: Prepared) -> str:
    """Return ``mine: 900 records to learn from, 100 to judge by, 7 left out: …``."""
    lines = []
    for name in prepared.mixture.sources:
        n_train, n_dev = len(prepared.train[name]), len(prepared.evaluation[name])
        line = f"{name}: {n_train} records to learn from, {n_dev} to judge by"
        n_out = prepared.left_out.get(name, 0)
        if n_out:
            line += f", {n_out} left out because they share a query or a text with those"
        lines.append(line)
    return "\n".join(lines)
