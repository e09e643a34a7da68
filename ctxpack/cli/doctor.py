"""``ctxpack doctor``: is this installation complete, and what can it do?"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import typer

import ctxpack
from ctxpack import recipes
from ctxpack.bench.machine import DEPENDENCIES, usable_cpus, version_of
from ctxpack.cache.keys import KEY_BYTES
from ctxpack.cli import errors, options
from ctxpack.errors import CtxpackError, RecipeError
from ctxpack.scoring.cached import CachedScorer
from ctxpack.scoring.caching import SECRET, Caching

EXTRAS = {
    "torch": (("torch", "transformers", "sentence-transformers"), "research models as scorers"),
    "tiktoken": (("tiktoken",), "exact counts for OpenAI models"),
    "langchain": (("langchain-ctxpack",), "the LangChain compressor"),
    "llama-index": (("llama-index-postprocessor-ctxpack",), "the LlamaIndex postprocessor"),
    "faiss": (("faiss-cpu",), "nearest neighbours"),
    "redis": (("redis",), "a cache shared by machines"),
    "parquet": (("pyarrow",), "passages and caches in Parquet files"),
    "ray": (("ray", "pyarrow"), "caches warmed by many machines"),
    "otel": (("opentelemetry-api",), "traces"),
    "bench": (("matplotlib",), "plots of benchmarks"),
    "train": (("torch", "onnx", "onnxscript", "matplotlib"), "training of scorers"),
}
"""What each extra installs, and what it is for."""

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "RAYON_NUM_THREADS", "TOKENIZERS_PARALLELISM")


class Finding(NamedTuple):
    """One line of the answer.

    Args:
        topic: what was looked at.
        text: what was found.
        state: ``ok``, ``off`` for something optional that is not there, or ``bad``.
    """

    topic: str
    text: str
    state: str = "ok"


def doctor(recipe: options.Recipe = "balanced") -> None:
    """Check the installation, and the cache of a recipe.

    Exit code 1 when something is missing, damaged or out of reach.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    marks = {"ok": Text("✓", "green"), "off": Text("·", "dim"), "bad": Text("✗", "bold red")}
    healthy, last_topic = True, ""
    for topic, text, state in (*_findings(), *_cache(recipe)):
        shown = "" if topic == last_topic else topic
        table.add_row(Text(shown, "bold"), marks[state], Text(text, "dim" * (state == "off")))
        healthy, last_topic = healthy and state != "bad", topic
    Console(highlight=False).print(table)
    if not healthy:
        raise typer.Exit(errors.UNEXPECTED)


def _findings() -> Iterator[Finding]:
    system = f"{platform.system()} {platform.machine()}"
    yield Finding("ctxpack", f"{ctxpack.__version__}, Python {platform.python_version()}, {system}")
    installed = {name: version_of(name) for name in DEPENDENCIES}
    present = [f"{name} {found}" for name, found in installed.items() if found is not None]
    yield Finding("packages", ", ".join(present))
    for name, found in installed.items():
        if found is None:
            yield Finding("packages", f"{name} is missing: pip install ctxpack-rag", "bad")
    for extra, (distributions, purpose) in EXTRAS.items():
        complete = all(version_of(name) is not None for name in distributions)
        yield Finding("extras", f"{extra}: {purpose}", "ok" if complete else "off")
    yield Finding("extras", 'to add one: pip install "ctxpack-rag[NAME]"', "off")
    yield from _models(Path(ctxpack.__file__).parent / "models")
    yield from _recipes()
    threads = [f"{name}={os.environ.get(name, 'unset')}" for name in _THREAD_VARIABLES]
    yield Finding("processor", f"{usable_cpus()} of {os.cpu_count()} CPUs, {', '.join(threads)}")
    yield Finding("network", "not needed: the shipped recipes read only files of this package")


def _cache(name: str) -> Iterator[Finding]:
    """Look at the store of a recipe, and ask it for something that it has not."""
    try:
        recipe = recipes.load(name)
        caching = Caching(recipe.scorer, recipe.cache)
    except CtxpackError as error:
        yield Finding("cache", str(error), "bad")
        return
    scorer = caching.scorer
    if not isinstance(scorer, CachedScorer):
        why = "by choice" if scorer.pointwise else f"{recipe.scorer.name} looks at the whole call"
        yield Finding("cache", f"{recipe.name}: none, {why}", "off")
        return
    with caching.recorded() as use:
        scorer.cache.get_many([bytes(KEY_BYTES)])
    caching.close()
    secret = f"secret of {SECRET}" if os.environ.get(SECRET) else "no secret"
    text = f"{recipe.name}: {scorer.cache!r}, tiers {', '.join(scorer.tiers)}, {secret}"
    if use is not None and use.notes():
        yield Finding("cache", f"{text}: {use.notes()[0]}", "bad")
    else:
        yield Finding("cache", text)


def _models(folder: Path) -> Iterator[Finding]:
    """Look at the model files, and compare them with the sums in the models' manifests."""
    sums: dict[str, str] = {}
    for manifest in sorted(folder.glob("*/manifest.json")):
        sums |= json.loads(manifest.read_text(encoding="utf-8"))["files"]
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.*")}
    for name in sorted({*sums, *found}):
        if name not in found:
            yield Finding("models", f"{name} is missing: reinstall ctxpack-rag", "bad")
        elif not name.endswith("manifest.json"):
            yield _model_file(name, found[name].read_bytes(), sums.get(name))


def _model_file(name: str, content: bytes, expected: str | None) -> Finding:
    size = f"{name}, {len(content) / 1e6:.1f} MB"
    if expected is None:
        return Finding("models", f"{size}, no checksum on record")
    if hashlib.sha256(content).hexdigest() == expected:
        return Finding("models", f"{size}, checksum verified")
    return Finding("models", f"{size}, damaged: not the SHA-256 on record", "bad")


def _recipes() -> Iterator[Finding]:
    valid = []
    for name in recipes.names():
        try:
            recipes.load(name)
            valid.append(name)
        except RecipeError as error:
            yield Finding("recipes", str(error), "bad")
    state = "ok" if valid else "bad"
    yield Finding("recipes", f"{', '.join(valid) or 'none'} in {recipes.folder()}", state)
