"""Data of a user's own: files of records to a mixture with plain settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ctxpack.errors import InputError
from ctxpack.train.mixture import FitSettings, Mixture, Source
from ctxpack.train.prepare import Prepared

DEV_SHARE = 0.1
PASSES = 3
"""Passes over the records, unless a number of steps is given."""
MIN_STEPS = 100
MINED_BELOW = 0.95
"""See `FitSettings.mined_below`."""
JOINT = {
    "joint": True,
    "batch_tokens": 5000,
    "batch_queries": 8,
    "batch_hard": 5,
    "batch_candidates": 8,
    "mined_below": None,
}
"""Where a run starts from a joint model: batches as ctxpack-mini learnt from, and no teacher."""


def mixture(files: Sequence[Path], licence: str) -> Mixture:
    """Return a mixture of files, each a data set with the name of the file.

    Rates are below those that the installed model was trained with, because it goes on learning.

    Raises:
        InputError: a file is not there, or two have one name.
    """
    sources: dict[str, Source] = {}
    for path in files:
        name = path.name.removesuffix(".gz").removesuffix(".jsonl")
        if not path.is_file():
            raise InputError(f"--data {path}: must be a file of JSON lines")
        if name in sources:
            raise InputError(f"--data {path}: another file has the name {name!r}, too")
        sources[name] = Source(
            file=str(path.resolve()), licence=licence, dev_share=DEV_SHARE, negatives="auto"
        )
    settings = FitSettings(
        steps=MIN_STEPS,
        head_only_steps=0,
        encoder_rate=5e-5,
        head_rate=3e-4,
        mined_below=MINED_BELOW,
        checkpoint_s=60.0,
        evaluate_s=300.0,
    )
    return Mixture(fit=settings, sources=sources, kept_out="gold")


def check(prepared: Prepared) -> None:
    """Check that there is something to learn from and to judge by.

    Raises:
        InputError: there is not; the message says what is missing.
    """
    for side, sets in (("train", prepared.train), ("dev", prepared.evaluation)):
        n_records = sum(len(raws) for raws in sets.values())
        n_marked = sum(
            any(passage.get("evidence") for passage in raw["passages"])
            for raws in sets.values()
            for raw in raws
        )
        if n_marked < 2:
            raise InputError(
                f"{', '.join(sets)}: {side} has {n_records} records, {n_marked} of them with"
                " `evidence`; it needs at least 2"
            )
