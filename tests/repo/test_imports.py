"""Imports point down, and importing or running the default touches no network and no torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXTRAS = {"torch", "transformers", "sentence_transformers", "tiktoken", "faiss", "redis", "ray"}


def touched_by(statement: str, forbidden: set[str]) -> str:
    """Run `statement` in a new process; return which `forbidden` modules it loaded, and "network".

    ``touched_by("import numpy", {"numpy", "torch"})`` is ``"numpy"``.
    """
    probe = f"""
import socket, sys
touched = set()
def refuse(*args, **kwargs):
    touched.add("network")
    raise OSError("offline")
socket.socket.connect = socket.getaddrinfo = refuse
{statement}
print(*sorted(touched | {forbidden!r} & sys.modules.keys()))
"""
    command = [sys.executable, "-c", probe]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_imports_point_down() -> None:
    """No module imports one above it in the layers of `pyproject.toml`."""
    # A process of its own: the linter configures logging, for the other tests too.
    code = "from importlinter.cli import lint_imports as lint; exit(lint(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_import_is_light() -> None:
    """`import ctxpack` loads no extra, no inference engine, no command line, and no network."""
    forbidden = EXTRAS | {"onnxruntime", "typer", "rich"}
    assert touched_by("import ctxpack", forbidden) == ""


def test_the_default_is_light() -> None:
    """A call with the default recipe loads no extra and touches no network."""
    call = (
        "from ctxpack import Passage, Pipeline\n"
        "passages = [Passage('The bridge opened in 1932. Ferries leave at noon.')]\n"
        "Pipeline.from_recipe('balanced').compress('When did it open?', passages, budget=32)"
    )
    assert touched_by(call, EXTRAS) == ""
