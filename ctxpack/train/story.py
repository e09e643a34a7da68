"""What a training run tells of itself: a summary for the manifest, and the card of a user's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ctxpack.scoring.bundled import BUNDLED
from ctxpack.scoring.manifest import Manifest
from ctxpack.train.baselines import Bm25Scorer
from ctxpack.train.card import Story, card
from ctxpack.train.evaluate import Judged, evaluate
from ctxpack.train.fit import LOG, REPORT_STEPS
from ctxpack.train.mixture import Mixture
from ctxpack.train.pieces import word_pieces
from ctxpack.train.plot import reliability_diagrams
from ctxpack.train.prepare import Prepared

CARD, PLOT = "model-card.md", "calibration.svg"
N_JUDGED = 150
"""Most records of a data set in the table of a user's own card."""


def summary(run: Path, mixture: Mixture, quality: dict[str, Any], hardware: str) -> dict[str, Any]:
    """Return what the manifest says of the training.

    Args:
        run: directory of the run.
        mixture: its data sets and settings.
        quality: what the calibration is worth.
        hardware: what it ran on, in words.
    """
    lines = _log(run)
    means = [line for line in lines if "passages" in line]
    return {
        "base": mixture.base,
        "steps": lines[-1]["step"],
        "seconds": lines[-1]["seconds"],
        "hardware": hardware,
        "passages": round(REPORT_STEPS * sum(line["passages"] for line in means)),
        "pairs": round(REPORT_STEPS * sum(line["pairs"] for line in means)),
        "bridges": None if mixture.bridges is None else mixture.bridges.model_dump(),
        "fit": {**mixture.fit.model_dump(), "steps": lines[-1]["of"]},
        "calibration_on_other_half": quality,
        "trained_on": {
            name: source.licence
            for name, source in mixture.sources.items()
            if source.role == "train"
        },
    }


def _log(run: Path) -> list[dict[str, Any]]:
    """Return a run's log, without the lines of steps that were taken again after a kill."""
    kept: list[dict[str, Any]] = []
    for line in map(json.loads, (run / LOG).read_text(encoding="utf-8").splitlines()):
        while kept and kept[-1]["step"] > line["step"]:
            kept.pop()
        kept.append(line)
    return kept


def write_own_card(
    manifest: Manifest, prepared: Prepared, out: Path, before: Judged | None
) -> None:
    """Write the card of a model that was trained on a user's own data, with its diagrams.

    Args:
        manifest: of the model.
        prepared: the data.
        out: directory of the model.
        before: what it started from, where that scores anything.
    """
    trained = BUNDLED[manifest.name](path=str(out))
    scorers: dict[str, Judged] = {"this model": trained, "BM25": Bm25Scorer()}
    if before is not None:
        scorers["before training"] = before
    tables = {
        name: [
            result.summary()
            for result in evaluate(scorer, prepared.evaluation, word_pieces(), limit=N_JUDGED)
        ]
        for name, scorer in scorers.items()
    }
    reliability_diagrams(manifest.training["calibration_on_other_half"], out / PLOT)
    text = card([manifest], _story(manifest, prepared, out), tables, {manifest.name: PLOT})
    (out / CARD).write_text(text, encoding="utf-8")


def _story(manifest: Manifest, prepared: Prepared, out: Path) -> Story:
    sets = [
        (name, source.licence, len(prepared.train[name]), len(prepared.evaluation[name]))
        for name, source in prepared.mixture.sources.items()
    ]
    trained = [f"| `{name}` | {n} | {licence} |" for name, licence, n, _ in sets]
    kept_out = [f"`{name}`: {n} records." for name, _, _, n in sets]
    n_dev = sum(n for *_, n in sets)
    return Story(
        intended=(
            f"# {out.resolve().name}\n\nA scorer of the kind `{manifest.name}`, trained on data of"
            f" one's own: `scorer: {{{manifest.name}: {{path: DIRECTORY}}}}` in a recipe."
        ),
        base=f"Training started from: {manifest.training['base']}.",
        trained_on="\n".join(("| data set | records | licence |", "|---|---|---|", *trained)),
        never_trained_on="\n".join(kept_out),
        again={
            manifest.name: "`run/run.json` says what was asked for, `run/log.jsonl` how it went."
        },
        table_note=(
            "Average precision of the spans of a record, a mean over the records that were not"
            " trained on; intervals are 95 % bootstrap over records."
        ),
        limits=(
            f"Calibration and thresholds were fitted to half of {n_dev} records; with fewer than"
            " 200 they are rough.\nNothing is known of data of another kind."
        ),
    )
