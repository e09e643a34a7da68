"""What a training run starts from: the installed model, an earlier run, or a base model.

A start is a directory of its own, so that a run can be killed, moved and continued without what it
was made from: ``config.json`` and ``model.safetensors`` of the base, what was trained on top of it
in ``weights.safetensors`` and ``rarity.npz``, and ``start.json``.
"""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from ctxpack.errors import InputError, ModelError
from ctxpack.scoring.bundled import BUNDLED
from ctxpack.scoring.manifest import LOWER, MODELS, RARITY, TOKENIZER, Manifest, names_in
from ctxpack.scoring.rarity import RarityTable
from ctxpack.scoring.segments import WINDOW
from ctxpack.train.export_head import head_weights
from ctxpack.train.fit import CHECKPOINT
from ctxpack.train.rebuild import encoder_weights
from ctxpack.train.step import Swift
from ctxpack.train.weights import fresh, load_weights

BASE_FILES = ("config.json", "model.safetensors")
WEIGHTS, RARITY_FILE, STORY = "weights.safetensors", "rarity.npz", "start.json"
ASKING = "encoder.asking"
"""Weight that joint models alone have, see `joint.JointEncoder`."""
RUN, START = "run", "start"
"""Directories: of a run in what `ctxpack train` writes, and of the start in a run."""


class Start(NamedTuple):
    """A start on disk.

    Args:
        directory: see above.
        name: what it was made from, for the model card.
        distilled: ``base`` where the base's own cosines are kept in training, ``start`` where those
            that the start gives are, because its base has been trained on.
    """

    directory: Path
    name: str
    distilled: str

    @property
    def weights(self) -> Path | None:
        """What was trained on top of the base, if anything was."""
        return _if_there(self.directory / WEIGHTS)

    @property
    def rarity(self) -> RarityTable | None:
        """The rarity table that the head learnt with, if there is one."""
        path = _if_there(self.directory / RARITY_FILE)
        return None if path is None else load_rarity(path)

    @property
    def joint(self) -> bool:
        """Whether what was trained is a joint model."""
        if self.weights is None:
            return False
        with safe_open(self.weights, "pt") as weights:
            return ASKING in weights.keys()  # noqa: SIM118  # no dict

    def swift(self, rarity: RarityTable, frozen_layers: int) -> Swift:
        """Return the model as it is before training."""
        swift = fresh(self.directory, rarity, frozen_layers, joint=self.joint)
        if self.weights is not None:
            load_weights(swift, load_start(self.directory))
        return swift


def prepare(source: str, directory: Path, option: str = "--from") -> Start:
    """Return the start in `directory`, made from `source` unless it is there.

    Args:
        source: ``ctxpack-swift`` or ``ctxpack-mini`` for an installed model; or a directory: of
            `ctxpack train`, of a model that it exported, or of a BERT-style sentence-embedding
            model.
        directory: where it is kept.
        option: that names the source, for the message.

    Raises:
        InputError: the source is none of these.
        ModelError: its files are damaged or of another version.
    """
    if not directory.exists():
        part = directory.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        try:
            story = _made(source, part)
        except InputError as error:
            raise InputError(f"{option} {error}") from None
        except ModelError as error:
            raise ModelError(f"{option} {source}: {error}") from None
        (part / STORY).write_text(json.dumps(story), encoding="utf-8")
        os.replace(part, directory)  # a kill before leaves no half of it
    story = json.loads((directory / STORY).read_text(encoding="utf-8"))
    return Start(directory, story["name"], story["distilled"])


def _made(source: str, directory: Path) -> dict[str, str]:
    """Return the story of a start whose files are written; what fails leaves no directory."""
    try:
        return _make(source, directory)
    except Exception:
        shutil.rmtree(directory)
        raise


def _make(source: str, directory: Path) -> dict[str, str]:
    """Write the files of a start; return its story."""
    path = Path(source)
    if source in BUNDLED:
        return _from_graphs(source, MODELS, directory)
    if (path / RUN / CHECKPOINT).is_file():
        return _from_run(path / RUN, directory)
    names = names_in(path)
    if len(names) == 1:
        return _from_graphs(names[0], path, directory)
    if all((path / name).is_file() for name in BASE_FILES):
        return _from_base(path, directory)
    raise InputError(
        f"{source}: must be {' or '.join(map(repr, BUNDLED))}, a directory that"
        f" `ctxpack train` wrote, or one with {' and '.join(BASE_FILES)}"
    )


def _from_graphs(name: str, models: Path, directory: Path) -> dict[str, str]:
    manifest = Manifest.load(name, models=models)
    lower, upper, head = (
        manifest.read(file, models=models) for file in (LOWER, manifest.upper, manifest.head)
    )
    encoder = encoder_weights(lower, upper)
    encoder.config.save_pretrained(directory)
    save_file(encoder.base, directory / "model.safetensors", metadata={"format": "pt"})
    weights = {f"encoder.{name}": weight for name, weight in encoder.own.items()}
    weights |= {f"head.{name}": weight for name, weight in head_weights(head).items()}
    save_file({n: w.contiguous() for n, w in weights.items()}, directory / WEIGHTS)
    (directory / RARITY_FILE).write_bytes(manifest.read(RARITY, models=models))
    return {"name": f"{manifest.name} {manifest.version}", "distilled": "start"}


def _from_run(run: Path, directory: Path) -> dict[str, str]:
    for name in BASE_FILES:
        shutil.copyfile(run / START / name, directory / name)
    story: dict[str, Any] = json.loads((run / START / STORY).read_text(encoding="utf-8"))
    weights = load_start(run / START)
    weights |= torch.load(run / CHECKPOINT, weights_only=True, map_location="cpu")["weights"]
    save_file({n: w.contiguous() for n, w in weights.items()}, directory / WEIGHTS)
    shutil.copyfile(run / RARITY_FILE, directory / RARITY_FILE)
    return {"name": f"a run from {story['name']}", "distilled": story["distilled"]}


def _from_base(base: Path, directory: Path) -> dict[str, str]:
    try:
        config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{base}: config.json must be JSON: {error}") from None
    try:
        safe_open(base / "model.safetensors", "pt")
    except SafetensorError as error:
        raise ModelError(f"model.safetensors cannot be read: {error}") from None
    for key, wanted in (("model_type", "bert"), ("hidden_act", "gelu")):
        if config.get(key) != wanted:
            raise InputError(f"{base}: `{key}` must be {wanted!r}, got {config.get(key)!r}")
    if config.get("max_position_embeddings", 0) < WINDOW:
        raise InputError(f"{base}: must read at least {WINDOW} tokens")
    ours = Tokenizer.from_file(str(MODELS / TOKENIZER))
    theirs = _vocabulary(base)
    if config.get("vocab_size") != ours.get_vocab_size() or theirs not in (None, ours.get_vocab()):
        raise InputError(f"{base}: must have the vocabulary of bert-base-uncased, as {TOKENIZER}")
    for name in BASE_FILES:
        shutil.copyfile(base / name, directory / name)
    return {"name": base.resolve().name, "distilled": "base"}


def _vocabulary(base: Path) -> dict[str, int] | None:
    if (base / "tokenizer.json").is_file():
        return dict(Tokenizer.from_file(str(base / "tokenizer.json")).get_vocab())
    if (base / "vocab.txt").is_file():
        tokens = (base / "vocab.txt").read_text(encoding="utf-8").splitlines()
        return {token: number for number, token in enumerate(tokens)}
    return None


def load_start(directory: Path) -> dict[str, torch.Tensor]:
    """Return what was trained on top of a start's base, by name; nothing where nothing was."""
    path = directory / WEIGHTS
    if not path.exists():
        return {}
    return {name: weight.float() for name, weight in load_file(path).items()}


def save_rarity(path: Path, table: RarityTable) -> None:
    """Write a rarity table as the model stores it."""
    path.write_bytes(rarity_bytes(table))


def rarity_bytes(table: RarityTable) -> bytes:
    """Return the file of a rarity table."""
    file = io.BytesIO()
    np.savez_compressed(
        file, keys=table.keys.astype(np.uint32), rarity=table.rarity.astype(np.float16)
    )
    return file.getvalue()


def load_rarity(path: Path) -> RarityTable:
    """Return the rarity table in a file."""
    with np.load(path, allow_pickle=False) as table:
        return RarityTable(table["keys"].astype(np.int64), table["rarity"].astype(np.float32))


def _if_there(path: Path) -> Path | None:
    return path if path.exists() else None
