"""The training loop: resumable after a kill at any moment, with a JSON line for every report."""

from __future__ import annotations

import json
import math
import os
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file

from ctxpack.train import augment
from ctxpack.train.batches import Batch, Batches, BatchSize
from ctxpack.train.collection import Collection
from ctxpack.train.distil import Taught
from ctxpack.train.hops import second_hops
from ctxpack.train.mixture import FitSettings
from ctxpack.train.rearrange import rearranged
from ctxpack.train.rename import Names
from ctxpack.train.step import Lesson, Rarity, Swift, losses
from ctxpack.train.teacher import Teacher
from ctxpack.train.weights import fresh, load_weights, start_projections, trainable, weights_of

Figures = dict[str, Any]
Report = Callable[[Swift], Figures]
"""Evaluates a model in training and returns figures for the log."""
Watch = Callable[[Figures], None]
"""Is told after every step how far a run is: ``step``, ``of``, ``eta_s``, and what the log is."""
CHECKPOINT = "checkpoint.pt"
N_START = 200
"""Segments that the first projections are computed from."""
LOG = "log.jsonl"
REPORT_STEPS = 20
"""A line of the log is the mean over this many steps."""


@dataclass(slots=True)
class Progress:
    """Where a run stands.

    Args:
        step: steps taken.
        seconds: that they took, over all restarts.
        evaluation_s: seconds that the last evaluation took.
    """

    step: int = 0
    seconds: float = 0.0
    evaluation_s: float = 0.0


class Lessons(NamedTuple):
    """What is learnt from.

    Args:
        collection: passages and questions.
        teacher: what the base knows of them; None where nothing is distilled.
        weights: data set → passes over it in an epoch.
        names: what may be renamed; None where nothing is.
        joint: a joint model whose scores are distilled, too; None for none.
    """

    collection: Collection
    teacher: Teacher | None
    weights: dict[str, float]
    names: Names | None = None
    joint: Swift | None = None


def nobody(figures: Figures) -> None:
    """Watch nothing."""


class Run:
    """A training run in a directory, continued from its checkpoint if there is one.

    Args:
        directory: checkpoint and log go here.
        base: directory of the base model (``config.json``, ``model.safetensors``).
        settings: see `FitSettings`.
        rarity: word keys to rarity.
        start: safetensors file of `weights_of` an earlier run, to go on from; None for the base.
    """

    def __init__(
        self,
        directory: Path,
        base: Path,
        settings: FitSettings,
        rarity: Rarity,
        *,
        start: Path | None = None,
    ) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.directory = directory
        self.progress = Progress()
        self._rarity = rarity
        self.swift = self._fresh(base)
        groups = [
            {"params": trainable(self.swift.encoder.base), "rate": settings.encoder_rate},
            {
                "params": [
                    *self.swift.head.parameters(),
                    *(
                        weight
                        for name, weight in self.swift.encoder.named_parameters()
                        if not name.startswith("base.")
                    ),
                ],
                "rate": settings.head_rate,
            },
        ]
        self._optimiser = torch.optim.AdamW(groups, lr=0.0, weight_decay=0.01, betas=(0.9, 0.98))
        self._started = start is not None
        self._recent: deque[float] = deque(maxlen=50)
        if start is not None:
            load_weights(self.swift, {n: w.float() for n, w in load_file(start).items()})
        self._resume()

    def _fresh(self, base: Path) -> Swift:
        """Return the model before training."""
        settings = self.settings
        return fresh(base, self._rarity, settings.frozen_layers, joint=settings.joint)

    def train(self, lessons: Lessons, report: Report, watch: Watch = nobody) -> None:
        """Learn until the last step.

        Args:
            lessons: what to learn from.
            report: called at the start, now and then, and at the end; returns figures for the log.
            watch: see `Watch`.
        """
        collection = lessons.collection
        if self.progress.step == 0:
            if not self._started:
                units = collection.units[:: max(1, len(collection.units) // N_START)]
                start_projections(self.swift, [unit.segment for unit in units])
            self._evaluate(report, watch)
        drawn = Batches(collection, lessons.weights, BatchSize.of(self.settings))
        batches = _endless(drawn, self.settings.seed)
        saved = evaluated = time.monotonic()
        figures: list[dict[str, float]] = []
        for batch in islice(batches, self.progress.step, self.settings.steps):
            began = time.monotonic()
            figures.append(self._step(lessons, batch))
            self._took(time.monotonic() - began)
            watch(self._line())
            if len(figures) == REPORT_STEPS:
                self._log(_mean(figures), watch)
                figures = []
            if time.monotonic() - evaluated > self.settings.evaluate_s:
                self._evaluate(report, watch)
                evaluated = time.monotonic()
            if time.monotonic() - saved > self.settings.checkpoint_s:
                self.save()
                saved = time.monotonic()
        self.save()
        self._evaluate(report, watch)

    def _took(self, seconds: float) -> None:
        self.progress.step += 1
        self.progress.seconds += seconds
        self._recent.append(seconds)

    def _evaluate(self, report: Report, watch: Watch) -> None:
        began = time.monotonic()
        figures = report(self.swift)
        self.progress.evaluation_s = time.monotonic() - began
        self._log(figures, watch)

    def _step(self, lessons: Lessons, batch: Batch) -> dict[str, float]:
        rng = np.random.default_rng((self.settings.seed, self.progress.step))
        shares, collection = self.settings.augment, lessons.collection
        segments = [augment.segment(collection.units[n].segment, shares, rng) for n in batch.units]
        queries = [
            augment.query(question.tokens, self._rarity(question.tokens.words), shares, rng)
            for question in batch.questions
        ]
        scale = _schedule(self.progress.step, self.settings.steps)
        frozen = self.progress.step < self.settings.head_only_steps
        for group in self._optimiser.param_groups:
            group["lr"] = group["rate"] * scale
        for weight in self._optimiser.param_groups[0]["params"]:
            weight.requires_grad_(not frozen)
        cosines = None if lessons.teacher is None else lessons.teacher.cosines(batch)
        if shares.rearranges:
            other = np.random.default_rng((self.settings.seed, self.progress.step, 1))
            batch, segments = rearranged(batch, segments, shares, collection.pieces, other)
        batch, queries = second_hops(batch, segments, queries, rng)
        by_name = np.random.default_rng((self.settings.seed, self.progress.step, 2))
        if lessons.names is not None and by_name.random() < shares.renamed:
            segments, queries = lessons.names.renamed(segments, queries, by_name)
            cosines = None  # the base's are of the names as they were
        lesson, extra = Lesson(batch, segments, queries), None
        if lessons.joint is not None:
            extra = Taught(lessons.joint, lesson, self.settings.taught_queries, by_name).losses
        named = losses(self.swift, lesson, cosines, extra)
        self._optimiser.zero_grad(set_to_none=True)
        named["total"].backward()
        for group in self._optimiser.param_groups:
            torch.nn.utils.clip_grad_norm_(group["params"], 1.0)
        self._optimiser.step()
        pairs = sum(len(pairs) for pairs in batch.pairs)
        return {
            **{name: value.item() for name, value in named.items()},
            "passages": len(batch.units),
            "queries": len(batch.questions),
            "pairs": pairs,
        }

    def _line(self) -> Figures:
        """Return how far the run is, and what is left in seconds, evaluations included.

        Nobody knows before the first step.
        """
        done, total = self.progress.step, self.settings.steps
        line: Figures = {"step": done, "of": total, "seconds": round(self.progress.seconds)}
        if not done:
            return {**line, "eta_s": None}
        per_step = self.progress.seconds / done
        if self._recent:
            per_step = sum(self._recent) / len(self._recent)
        eta = per_step * (total - done)
        if done < total:
            eta += self.progress.evaluation_s * (1 + eta // self.settings.evaluate_s)
        return {**line, "eta_s": round(eta)}

    def _log(self, figures: Figures, watch: Watch) -> None:
        line = {**self._line(), **figures}
        with open(self.directory / LOG, "a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        watch(line)

    def save(self) -> None:
        """Write the checkpoint; a kill while writing leaves the one before."""
        state = {
            "weights": weights_of(self.swift),
            "optimiser": self._optimiser.state_dict(),
            "step": self.progress.step,
            "seconds": self.progress.seconds,
            "evaluation_s": self.progress.evaluation_s,
        }
        path = self.directory / CHECKPOINT
        torch.save(state, path.with_suffix(".part"))
        os.replace(path.with_suffix(".part"), path)

    def _resume(self) -> None:
        path = self.directory / CHECKPOINT
        if path.exists():
            state = torch.load(path, weights_only=True, map_location=torch.get_default_device())
            load_weights(self.swift, state["weights"])
            self._optimiser.load_state_dict(state["optimiser"])
            self.progress = Progress(state["step"], state["seconds"], state["evaluation_s"])


def _schedule(step: int, steps: int) -> float:
    """Return the share of the highest rate: up over 3 % of the steps, then down along a cosine."""
    warm_up = max(1, round(0.03 * steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 + 0.5 * math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up))


def _mean(figures: list[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each figure where it is: ``[{"a": 1}, {"a": 2, "b": 1}]`` → a 1.5, b 1."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for one in figures:
        for name, value in one.items():
            found[name].append(value)
    return {name: round(sum(values) / len(values), 4) for name, values in found.items()}


def _endless(batches: Batches, seed: int) -> Iterator[Batch]:
    for epoch in count():
        yield from batches.epoch(seed + epoch)
