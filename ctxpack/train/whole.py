"""The whole of a training: records in; a calibrated, quantised model with its card out.

Every part leaves its result in the run's directory, and what is there is not made again: after a
kill the same call goes on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ctxpack.errors import InputError
from ctxpack.scoring.rarity import RarityTable
from ctxpack.train import own
from ctxpack.train.batches import Batches, BatchSize
from ctxpack.train.collection import Collection, Question, rarity_table
from ctxpack.train.export import calibrated, load_run, save, write_graphs
from ctxpack.train.fit import Lessons, Run, Watch
from ctxpack.train.mixture import FitSettings, Mixture
from ctxpack.train.pieces import word_pieces
from ctxpack.train.prepare import Prepared
from ctxpack.train.report import DevReport
from ctxpack.train.scorer import SwiftLogits
from ctxpack.train.start import RARITY_FILE, RUN, START, Start, prepare, save_rarity
from ctxpack.train.story import CARD, summary, write_own_card
from ctxpack.train.teacher import Teacher, Texts, base_embeddings, own_embeddings

TEACHER, ASKED = "teacher.npy", "run.json"


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
    """

    mixture: Mixture
    data: Path
    source: str
    out: Path
    steps: int | None = None
    is_own: bool = False


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
    _claim(run, plan)
    telling.note(_read_in_words(prepared))
    start = prepare(plan.source, run / START)
    torch.set_default_device(device)
    settings = _fitted(plan, prepared, start, telling)
    torch.set_default_device("cpu")
    telling.note("export: quantise, calibrate, judge")
    manifest = write_graphs(*load_run(run, start.directory, settings), plan.out)
    manifest, quality = calibrated(manifest, plan.out, prepared.evaluation)
    mixture = plan.mixture.model_copy(update={"fit": settings})
    training = summary(run, mixture, quality, hardware(device))
    manifest = save(manifest, plan.out, {**training, "base": plan.mixture.base or start.name})
    if plan.is_own:
        write_own_card(manifest, prepared, plan.out, _before(start, settings))
        telling.note(f"done: {plan.out / CARD}")


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
    run, settings = plan.out / RUN, plan.mixture.fit
    pieces = word_pieces()
    collection = prepared.collection(pieces)
    rarity = start.rarity or rarity_table([unit.segment for unit in collection.units])
    save_rarity(run / RARITY_FILE, rarity)
    telling.note(f"embed {len(collection.units)} passages, mine negatives")
    embed = partial(_embedded, start, rarity, settings.frozen_layers)
    teacher = Teacher(run / TEACHER, collection, embed)
    collection.mine(partial(_below, teacher, settings.mined_below))
    steps = plan.steps or _default_steps(plan, collection, prepared.weights)
    settings = settings.model_copy(update={"steps": steps})
    telling.note(f"train: {steps} steps, log in {run / 'log.jsonl'}")
    made = Run(run, start.directory, settings, rarity, start=start.weights)
    lessons = Lessons(collection, teacher, prepared.weights)
    made.train(lessons, DevReport(prepared, pieces), telling.watch)
    return settings


def _embedded(
    start: Start, rarity: RarityTable, frozen_layers: int, texts: Texts
) -> np.ndarray[Any, np.dtype[np.float16]]:
    if start.distilled == "base":
        return base_embeddings(start.directory, texts)
    return own_embeddings(start.swift(rarity, frozen_layers), texts)


def _below(
    teacher: Teacher, limit: float | None, question: Question, numbers: list[int]
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return which units may be mined negatives of a question."""
    if limit is None:
        return np.ones(len(numbers), np.bool_)
    return np.asarray(teacher.nearness(question, numbers) < limit)


def _default_steps(plan: Plan, collection: Collection, weights: dict[str, float]) -> int:
    settings = plan.mixture.fit
    if not plan.is_own:
        return settings.steps
    size = BatchSize(settings.batch_tokens, settings.batch_queries)
    n_batches = sum(1 for _ in Batches(collection, weights, size).epoch(settings.seed))
    return max(own.MIN_STEPS, own.PASSES * n_batches)


def _claim(run: Path, plan: Plan) -> None:
    """Write down what the run was asked for, or check that it was asked for the same.

    Raises:
        InputError: the directory holds a run that was asked for something else.
    """
    asked = {
        "from": plan.source,
        "steps": plan.steps,
        "mixture": plan.mixture.model_dump(mode="json"),
        "files": {
            name: hashlib.sha256((plan.data / source.file).read_bytes()).hexdigest()
            for name, source in plan.mixture.sources.items()
        },
    }
    path = run / ASKED
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        other = [name for name, value in asked.items() if before.get(name) != value]
        if other:
            what = ", ".join(other)
            raise InputError(f"{run}: is of other {what}; give another --out, or delete it")
    else:
        path.write_text(json.dumps(asked, indent=1), encoding="utf-8")


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
