"""From a training run to the files of a bundled model: quantised, calibrated, with a manifest."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ctxpack.errors import InputError, ModelError
from ctxpack.scoring.manifest import MODELS, Calibration, Manifest
from ctxpack.scoring.swift import ENCODER, HEAD, NAME, RARITY, TOKENIZER, SwiftModel
from ctxpack.train import calibrate
from ctxpack.train.export_encoder import encoder_graph
from ctxpack.train.export_head import head_graph
from ctxpack.train.fit import CHECKPOINT
from ctxpack.train.mixture import FitSettings
from ctxpack.train.records import parse
from ctxpack.train.start import RARITY_FILE, load_rarity, load_start, save_rarity
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
"""Most records of a set for each of the two."""
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
    swift = fresh(base, load_rarity(run / RARITY_FILE), settings.frozen_layers)
    weights = load_start(base) | torch.load(path, weights_only=True, map_location="cpu")["weights"]
    load_weights(swift, weights)
    return swift, run / RARITY_FILE


def write_graphs(swift: Swift, rarity: Path, out: Path) -> Manifest:
    """Write the graphs and the rarity table; return a manifest that is not calibrated yet.

    Args:
        swift: the trained model.
        rarity: its rarity file.
        out: the models directory; it gets the tokenizer too, unless it has it.
    """
    (out / NAME).mkdir(parents=True, exist_ok=True)
    if not (out / TOKENIZER).exists():
        shutil.copyfile(MODELS / TOKENIZER, out / TOKENIZER)
    (out / ENCODER).write_bytes(encoder_graph(swift.encoder).SerializeToString())
    (out / HEAD).write_bytes(head_graph(swift.head).SerializeToString())
    save_rarity(out / RARITY, load_rarity(rarity))
    files = {
        file: hashlib.sha256((out / file).read_bytes()).hexdigest()
        for file in (TOKENIZER, ENCODER, HEAD, RARITY)
    }
    version = hashlib.sha256("".join(files.values()).encode()).hexdigest()[:12]
    return Manifest(
        name=NAME,
        version=version,
        files=files,
        calibration=UNCALIBRATED,
        operating_points={},
        training={},
    )


def calibrated(
    manifest: Manifest, out: Path, raws: dict[str, list[dict[str, Any]]]
) -> tuple[Manifest, dict[str, Any]]:
    """Return the manifest with its calibration and thresholds, and how good they are.

    Both are fitted to one half of the development records and measured on the other.

    Raises:
        InputError: there is no evidence in the half that they are fitted to.
    """
    model = SwiftModel(manifest, models=out)
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
    quality = {
        name: _quality(calibration, points, part)
        for name, part in measured.items()
        if part.evidence.any()
    }
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


def save(manifest: Manifest, out: Path, training: dict[str, Any]) -> Manifest:
    """Write the manifest with a summary of the training, and return it."""
    done = manifest.model_copy(update={"training": training})
    path = out / NAME / "manifest.json"
    path.with_suffix(".part").write_text(done.model_dump_json(indent=2) + "\n", encoding="utf-8")
    os.replace(path.with_suffix(".part"), path)
    return done
