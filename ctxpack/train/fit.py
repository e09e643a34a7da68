"""The training loop: resumable after a kill at any moment, with a JSON line for every report."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import BertModel

from ctxpack.errors import ModelError
from ctxpack.scoring.segments import Segment
from ctxpack.train import augment
from ctxpack.train.batches import Batch, Batches, BatchSize
from ctxpack.train.collection import Collection
from ctxpack.train.device import fast_bfloat16
from ctxpack.train.hops import second_hops
from ctxpack.train.mixture import FitSettings
from ctxpack.train.model import Encoder, Head
from ctxpack.train.step import Rarity, Swift, losses
from ctxpack.train.teacher import Teacher

Report = Callable[[Swift], dict[str, Any]]
"""Evaluates a model in training and returns figures for the log."""
CHECKPOINT = "checkpoint.pt"
N_START = 200
"""Segments that the first projections are computed from."""
LOG = "log.jsonl"
REPORT_STEPS = 20
"""A line of the log is the mean over this many steps."""


@dataclass(slots=True)
class Progress:
    """Where a run stands; `seconds` counts training alone, over all restarts."""

    step: int = 0
    seconds: float = 0.0


class Lessons(NamedTuple):
    """What is learnt from.

    Args:
        collection: passages and questions.
        teacher: what the base knows of them.
    """

    collection: Collection
    teacher: Teacher


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
        self.swift = fresh(base, rarity, settings.frozen_layers)
        groups = [
            {"params": _trainable(self.swift.encoder.base), "rate": settings.encoder_rate},
            {
                "params": [
                    *self.swift.head.parameters(),
                    *self.swift.encoder.segment.parameters(),
                    *self.swift.encoder.query.parameters(),
                ],
                "rate": settings.head_rate,
            },
        ]
        self._optimiser = torch.optim.AdamW(groups, lr=0.0, weight_decay=0.01, betas=(0.9, 0.98))
        self._started = start is not None
        if start is not None:
            load_weights(self.swift, {n: w.float() for n, w in load_file(start).items()})
        self._resume()

    def train(self, lessons: Lessons, weights: dict[str, float], report: Report) -> None:
        """Learn until the last step.

        Args:
            lessons: what to learn from.
            weights: data set → passes over it in an epoch.
            report: called now and then; returns figures for the log.
        """
        collection = lessons.collection
        if self.progress.step == 0 and not self._started:
            units = collection.units[:: max(1, len(collection.units) // N_START)]
            start_projections(self.swift, [unit.segment for unit in units])
        size = BatchSize(self.settings.batch_tokens, self.settings.batch_queries)
        batches = _endless(Batches(collection, weights, size), self.settings.seed)
        saved = evaluated = time.monotonic()
        figures: list[dict[str, float]] = []
        for batch in islice(batches, self.progress.step, self.settings.steps):
            began = time.monotonic()
            figures.append(self._step(lessons, batch))
            self.progress.step += 1
            self.progress.seconds += time.monotonic() - began
            if len(figures) == REPORT_STEPS:
                self._log(_mean(figures))
                figures = []
            if time.monotonic() - evaluated > self.settings.evaluate_s:
                self._log(report(self.swift))
                evaluated = time.monotonic()
            if time.monotonic() - saved > self.settings.checkpoint_s:
                self.save()
                saved = time.monotonic()
        self.save()
        self._log(report(self.swift))

    def _step(self, lessons: Lessons, batch: Batch) -> dict[str, float]:
        rng = np.random.default_rng((self.settings.seed, self.progress.step))
        segments = [augment.segment(lessons.collection.units[n].segment, rng) for n in batch.units]
        queries = [
            augment.query(question.tokens, self._rarity(question.tokens.words), rng)
            for question in batch.questions
        ]
        scale = _schedule(self.progress.step, self.settings.steps)
        frozen = self.progress.step < self.settings.head_only_steps
        for group in self._optimiser.param_groups:
            group["lr"] = group["rate"] * scale
        for weight in self._optimiser.param_groups[0]["params"]:
            weight.requires_grad_(not frozen)
        cosines = lessons.teacher.cosines(batch)
        batch, queries = second_hops(batch, segments, queries, rng)
        named = losses(self.swift, batch, segments, queries, cosines)
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

    def _log(self, figures: dict[str, Any]) -> None:
        done, total = self.progress.step, self.settings.steps
        eta = self.progress.seconds / max(done, 1) * (total - done)
        line = {"step": done, "of": total, "seconds": round(self.progress.seconds)}
        line["eta_s"] = round(eta)
        with open(self.directory / LOG, "a", encoding="utf-8") as log:
            log.write(json.dumps({**line, **figures}) + "\n")

    def save(self) -> None:
        """Write the checkpoint; a kill while writing leaves the one before."""
        state = {
            "weights": weights_of(self.swift),
            "optimiser": self._optimiser.state_dict(),
            "step": self.progress.step,
            "seconds": self.progress.seconds,
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
            self.progress = Progress(state["step"], state["seconds"])


def fresh(base: Path, rarity: Rarity, frozen_layers: int) -> Swift:
    """Return an untrained model on a base encoder, on torch's default device.

    `start_projections` is the next step.
    """
    device = torch.get_default_device()
    bert = BertModel.from_pretrained(
        base,
        add_pooling_layer=False,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        # On a CPU the fused kernel is slower than plain products at 32 dimensions a head.
        attn_implementation="eager" if device.type == "cpu" else "sdpa",
    )
    for part in (bert.embeddings, *bert.encoder.layer[:frozen_layers]):
        part.requires_grad_(False)
    encoder, head = Encoder(bert).to(device), Head().to(device)
    torch.nn.init.constant_(head.span_out.bias, -3.0)
    torch.nn.init.constant_(head.segment_out.bias, -2.0)
    bfloat16 = partial(torch.autocast, device.type, dtype=torch.bfloat16)
    autocast = bfloat16 if fast_bfloat16(device) else nullcontext
    return Swift(encoder, head, rarity, autocast)


def start_projections(swift: Swift, segments: Sequence[Segment]) -> None:
    """Set both projections to the first principal directions of the base's hidden states.

    So the untrained model already has most of the base's cosines.
    """
    with torch.no_grad():
        states = [
            swift.encoder.base(torch.as_tensor(segment.ids)[None]).last_hidden_state[0]
            for segment in segments
        ]
        directions = torch.linalg.svd(torch.cat(states), full_matrices=False).Vh
        for projection in (swift.encoder.segment, swift.encoder.query):
            projection.weight.copy_(directions[: projection.out_features])


def weights_of(swift: Swift) -> dict[str, torch.Tensor]:
    """Return what was trained, by name."""
    modules: tuple[tuple[str, torch.nn.Module], ...] = (
        ("encoder", swift.encoder),
        ("head", swift.head),
    )
    return {
        f"{part}.{name}": weight.detach()
        for part, module in modules
        for name, weight in module.named_parameters()
        if weight.requires_grad or not name.startswith("base.")
    }


def load_weights(swift: Swift, weights: dict[str, torch.Tensor]) -> None:
    """Put trained weights into a model on the same base."""
    for part, module in (("encoder", swift.encoder), ("head", swift.head)):
        own = {
            name.removeprefix(f"{part}."): weight
            for name, weight in weights.items()
            if name.startswith(f"{part}.")
        }
        missing, unexpected = module.load_state_dict(own, strict=False)
        if unexpected or any(not name.startswith("base.") for name in missing):
            raise ModelError(f"checkpoint: missing {missing!r}, unexpected {unexpected!r}")


def _schedule(step: int, steps: int) -> float:
    """Return the share of the highest rate: up over 3 % of the steps, then down along a cosine."""
    warm_up = max(1, round(0.03 * steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 + 0.5 * math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up))


def _mean(figures: list[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each figure: ``[{"a": 1}, {"a": 2}]`` → ``{"a": 1.5}``."""
    return {name: round(sum(one[name] for one in figures) / len(figures), 4) for name in figures[0]}


def _trainable(module: torch.nn.Module) -> list[torch.nn.Parameter]:
    return [weight for weight in module.parameters() if weight.requires_grad]


def _endless(batches: Batches, seed: int) -> Iterator[Batch]:
    for epoch in count():
        yield from batches.epoch(seed + epoch)
