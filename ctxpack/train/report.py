"""Evaluation while training: a few records of the development sets, and of the training set."""

from __future__ import annotations

from typing import Any

from ctxpack.scoring.segments import WordPieces
from ctxpack.train.evaluate import Task, evaluate
from ctxpack.train.prepare import Prepared
from ctxpack.train.scorer import SwiftLogits
from ctxpack.train.step import Swift

N_RECORDS = 40
TASKS = (
    Task("nq_litm", "retention"),
    Task("hotpotqa", "retention", "sentence"),
    Task("squad_dev", "span_ap"),
    Task("qed", "span_ap"),
)


class DevReport:
    """Figures of a model in training, dev beside train, on `N_RECORDS` of each task."""

    def __init__(self, prepared: Prepared, pieces: WordPieces) -> None:
        self._sides = {"dev": prepared.evaluation, "train": prepared.train}
        self._pieces = pieces

    def __call__(self, swift: Swift) -> dict[str, Any]:
        """Return ``{"dev qed AP": mean, ...}``."""
        scorer = SwiftLogits(swift, self._pieces)
        return {
            f"{side} {result.task} {result.measure}": round(float(result.values.mean()), 3)
            for side, raws in self._sides.items()
            for result in evaluate(scorer, raws, self._pieces, tasks=TASKS, limit=N_RECORDS)
        }
