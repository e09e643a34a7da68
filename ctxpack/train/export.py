"""From a training run to the files of a bundled model: quantised, calibrated, with a manifest."""

from __future__ import annotations

import filecmp
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ctxpack.errors import InputError, ModelError
from ctxpack.scoring import mini, swift
from ctxpack.scoring.bundled import BUNDLED
from ctxpack.scoring.manifest import (
    LOWER,
    MODELS,
    RARITY,
    SHARED,
    TOKENIZER,
    Calibration,
    Manifest,
    names_in,
)
from ctxpack.train import calibrate
from ctxpack.train.export_encoder import lower_graph, upper_graph
from ctxpack.train.export_head import head_graph
from ctxpack.train.fit import CHECKPOINT
from ctxpack.train.joint import Mini
from ctxpack.train.mixture import FitSettings
from ctxpack.train.records import parse
from ctxpack.train.start import RARITY_FILE, load_rarity, load_start, rarity_bytes
from ctxpack.train.step import Swift
from ctxpack.train.weights import fresh, load_weights

CALIBRATION_SETS = (
    "nq_litm",
    "hotpotqa",
    "2wikimultihopqa",
    "squad_dev",
    "selqa",
    "qed",
    "fairytaleqa",
)
"""Whose records calibration is fitted to (every other one) and measured on (the rest); if a mixture
has none of these, all sets that it keeps for evaluation."""
N_RECORDS = 120
"""Records of a large set for each of the two; of others fewer than twice as many."""
ALL_SETS = "all sets"
"""What calibration is worth on the records of all of these together."""
UNCALIBRATED = Calibration(relevance=(1.0, 0.0), evidence=(1.0, 0.0))


def load_run(run: Path, base: Path, settings: FitSettings) -> tuple[Swift, Path]:
    """Return the model of a run's last checkpoint, and its rarity file.

    Args:
        run: directory of the run.
        base: what it started from: a start, or the directory of a base model.
        settings: of the run.

    Raises:
        ModelError: the run has no checkpoint, or it is of another model.
    """
    path = run / CHECKPOINT
    if not path.exists():
        raise ModelError(f"{run}: no {CHECKPOINT!r}; train first")
    rarity = load_rarity(run / RARITY_FILE)
    model = fresh(base, rarity, settings.frozen_layers, joint=settings.joint)
    weights = load_start(base) | torch.load(path, weights_only=True, map_location="cpu")["weights"]
    load_weights(model, weights)
    return model, run / RARITY_FILE


def name_of(model: Swift) -> str:
    """Return the name of the bundled model that a trained one is of the kind of."""
    return mini.NAME if isinstance(model, Mini) else swift.NAME


@contextmanager
def beside(name: str, out: Path) -> Iterator[Path]:
    """Yield an empty directory in a models directory, for a model's new files until `publish`.

    It is removed in the end; what a kill leaves of it, the next export of the model removes.
    """
    part = out / f"{name}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
    finally:
        shutil.rmtree(part)


def write_graphs(model: Swift, rarity: Path, out: Path, *, quantise: bool = True) -> Manifest:
    """Write a model's files; return a manifest that is not calibrated yet.

    Args:
        model: the trained model.
        rarity: its rarity file.
        out: a directory without a model.
        quantise: whether the encoder's weights and activations are rounded to int8, and the head's
            weights to float16; else all is float32.
    """
    name = name_of(model)
    manifest = Manifest(
        name=name,
        version="",
        files={},
        calibration=UNCALIBRATED,
        operating_points={},
        training={},
    )
    (out / name).mkdir(parents=True)
    encoder = model.encoder
    contents = {
        TOKENIZER: (MODELS / TOKENIZER).read_bytes(),
        LOWER: lower_graph(encoder, quantise=quantise).SerializeToString(),
        RARITY: rarity_bytes(load_rarity(rarity)),
        manifest.upper: upper_graph(encoder, quantise=quantise).SerializeToString(),
        manifest.head: head_graph(model.head, halved=quantise).SerializeToString(),
    }
    files = {file: hashlib.sha256(content).hexdigest() for file, content in contents.items()}
    for file, content in contents.items():
        (out / file).write_bytes(content)
    version = hashlib.sha256("".join(files.values()).encode()).hexdigest()[:12]
    return manifest.model_copy(update={"files": files, "version": version})


def check_shared(name: str, files: dict[str, str], out: Path) -> None:
    """Check that no other model of a directory breaks when a model's files come into it.

    Args:
        name: of the model that comes.
        files: its files, to SHA-256.
        out: the directory.

    Raises:
        InputError: one does; it needs other shared files.
    """
    for other in names_in(out):
        there = Manifest.load(other, models=out).files
        changed = [file for file in SHARED if there.get(file) != files[file]]
        if other != name and changed:
            raise InputError(f"{out}: {other} there has another {changed[0]!r} than {name}")


def calibrated(
    manifest: Manifest, out: Path, raws: dict[str, list[dict[str, Any]]]
) -> tuple[Manifest, dict[str, Any]]:
    """Return the manifest with its calibration and thresholds, and how good they are.

    Both are fitted to one half of the development records and measured on the other.

    Raises:
        InputError: there is no evidence in the half that they are fitted to.
    """
    model = BUNDLED[manifest.name].model(manifest, models=out)
    fitted, measured = [], {}
    present = [name for name in CALIBRATION_SETS if raws.get(name)]
    for name in present or [name for name, part in raws.items() if part]:
        step = max(1, len(raws[name]) // (2 * N_RECORDS))
        records = [parse(raw) for raw in raws[name][::step]]
        fitted.append(calibrate.sample(model, records[0::2]))
        measured[name] = calibrate.sample(model, records[1::2])
    if not any(part.evidence.any() for part in fitted):
        raise InputError("no evidence is marked in the records that calibration is fitted to")
    calibration = calibrate.fit(fitted)
    points = calibrate.thresholds(calibration, fitted)
    measured = {name: part for name, part in measured.items() if part.evidence.any()}
    if len(measured) > 1:
        measured[ALL_SETS] = calibrate.pooled(list(measured.values()))
    quality = {name: _quality(calibration, points, part) for name, part in measured.items()}
    done = manifest.model_copy(update={"calibration": calibration, "operating_points": points})
    return done, quality


def _quality(
    calibration: Calibration, points: dict[str, float], part: calibrate.Sample
) -> dict[str, Any]:
    """Return what the calibration is worth on records that it was not fitted to."""
    found = calibrate.probabilities(calibration, part)
    needed = calibrate.needed_probabilities(calibration, part)
    return {
        "ece": round(calibrate.calibration_error(found, part.evidence), 4),
        "brier_skill": round(calibrate.brier_skill(found, part.evidence), 4),
        "recall": {name: _share(needed >= point) for name, point in points.items()},
        "kept": {name: _share(found >= point) for name, point in points.items()},
        "n_needs": len(needed),
        "bins": [
            (round(probability, 4), round(share, 4), n)
            for probability, share, n in calibrate.reliability(found, part.evidence)
        ],
    }


def _share(flags: Any) -> float:
    return round(float(np.mean(flags)), 4)


def publish(manifest: Manifest, part: Path, out: Path) -> None:
    """Put a model's files, and at last its manifest, in the place of those of before.

    Files that are the same, as the shared ones mostly are, stay. A kill before the first rename
    leaves the model of before, one after the last the new model. One between, within milliseconds,
    leaves new files with the manifest of before: to load that is a `ModelError` that names a file
    and its SHA-256, until the export is run again. Where there was no model, there is none before
    the last rename.

    Args:
        manifest: the model's.
        part: directory that its files are in.
        out: the models directory.
    """
    (out / manifest.name).mkdir(exist_ok=True)
    (part / manifest.path).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    changed = [file for file in manifest.files if not _same(part / file, out / file)]
    for file in (*changed, manifest.path):
        os.replace(part / file, out / file)


def _same(new: Path, old: Path) -> bool:
    return old.is_file() and filecmp.cmp(new, old, shallow=False)
