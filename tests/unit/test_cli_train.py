"""``ctxpack train`` on the command line: what it refuses, and how it shows progress."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ctxpack.cli.commands import app
from ctxpack.cli.train import _shown


def message(*arguments: str) -> tuple[int, str]:
    """Return exit code and standard error of a command."""
    result = CliRunner().invoke(app, ["train", *arguments])
    return result.exit_code, result.stderr


def test_data_and_out_are_needed() -> None:
    """There is no default place for either."""
    assert message("--out", "x") == (
        2,
        "ctxpack: needs --data and --out; see ctxpack train --help\n",
    )


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without torch the message is the line that installs it."""
    real = builtins.__import__

    def without_torch(name: str, *rest: Any) -> Any:
        if name == "torch":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_torch)
    code, text = message("--data", "mine.jsonl", "--out", str(tmp_path))
    assert code == 2
    assert 'pip install "ctxpack-rag[train]"' in text


@pytest.fixture
def extra() -> None:
    """Skip where the extra is not installed."""
    for name in ("matplotlib", "onnxscript", "torch", "transformers"):
        pytest.importorskip(name)


@pytest.mark.usefixtures("extra")
def test_export_needs_a_run(tmp_path: Path) -> None:
    """Settings, start and data sets are read from the run; without one there is nothing to do."""
    code, text = message("export", "--run", str(tmp_path / "run"), "--out", str(tmp_path / "out"))
    assert code == 2
    assert "must hold a run of `ctxpack train`" in " ".join(text.split())
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("extra")
def test_missing_file_is_named(tmp_path: Path) -> None:
    """Nothing is made for it."""
    code, text = message("--data", str(tmp_path / "no.jsonl"), "--out", str(tmp_path / "out"))
    assert code == 2
    assert "no.jsonl: must be a file of JSON lines" in " ".join(text.split())
    assert not (tmp_path / "out").exists()


def test_evaluation_is_shown_with_train_beside_dev() -> None:
    """So one sees when a run learns its records by heart."""
    line = {"step": 9, "of": 10, "eta_s": 1, "dev mine AP": 0.81, "train mine AP": 0.9}
    assert _shown(line) == "mine AP 0.81 (train 0.9)"
    assert _shown({"step": 9, "of": 10, "eta_s": 1, "total": 1.0}) == ""
