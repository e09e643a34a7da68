"""Files of a model that come into a models directory: beside another, and in place of old ones."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("onnxscript")

from ctxpack.errors import InputError, ModelError
from ctxpack.scoring.manifest import LOWER, SHARED, Manifest
from ctxpack.train import export

NAME = "ctxpack-swift"


def made(directory: Path, weights: str) -> Manifest:
    """Return the manifest of a model whose own files hold `weights`, written to a directory."""
    empty = Manifest.load(NAME).model_copy(update={"files": {}, "training": {}})
    files = {}
    (directory / NAME).mkdir(parents=True)
    for file in (*SHARED, empty.upper, empty.head):
        content = b"shared" if file in SHARED else f"{file} {weights}".encode()
        (directory / file).write_bytes(content)
        files[file] = hashlib.sha256(content).hexdigest()
    return empty.model_copy(update={"files": files, "version": weights})


def version(models: Path) -> str:
    """Return the version of the model in a directory, all of whose files are verified."""
    manifest = Manifest.load(NAME, models=models)
    for file in manifest.files:
        manifest.read(file, models=models)
    return manifest.version


def publish_killed(manifest: Manifest, part: Path, out: Path, after: int) -> None:
    """Publish a model, killed after so many renames."""
    left = iter(range(after))

    def replace(source: Path, target: Path) -> None:
        next(left)
        os.replace(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "os", SimpleNamespace(replace=replace))
        with pytest.raises(StopIteration):
            export.publish(manifest, part, out)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Return a models directory that holds a model."""
    export.publish(made(tmp_path / "part", "old"), tmp_path / "part", tmp_path)
    return tmp_path


def test_published_model_takes_the_place_of_the_old_one(old: Path) -> None:
    """Its files are those of its manifest; what is the same stays the same file."""
    shared = (old / LOWER).stat()
    export.publish(made(old / "new", "new"), old / "new", old)
    assert version(old) == "new"
    assert (old / LOWER).stat() == shared


def test_model_of_before_stays_until_the_first_rename(old: Path) -> None:
    """Nothing but renames changes a models directory."""
    publish_killed(made(old / "new", "new"), old / "new", old, after=0)
    assert version(old) == "old"


@pytest.mark.parametrize("after", [1, 2])
def test_kill_between_renames_is_a_clear_error_until_the_next(old: Path, after: int) -> None:
    """New weights do not match the manifest of before; the same export repairs it."""
    publish_killed(made(old / "new", "new"), old / "new", old, after)
    with pytest.raises(ModelError, match=r"ctxpack-swift/upper\.onnx' must have SHA-256"):
        version(old)
    export.publish(made(old / "again", "new"), old / "again", old)
    assert version(old) == "new"


@pytest.mark.parametrize("after", range(6))
def test_kill_leaves_no_half_of_a_first_model(tmp_path: Path, after: int) -> None:
    """The manifest comes last: without it there is no model."""
    publish_killed(made(tmp_path / "new", "new"), tmp_path / "new", tmp_path, after)
    with pytest.raises(ModelError, match="no manifest"):
        version(tmp_path)


def test_model_with_other_lower_layers_needs_its_own_directory(tmp_path: Path) -> None:
    """Files that models share are never changed under another model."""
    files = dict.fromkeys(SHARED, "0a")
    (tmp_path / "ctxpack-swift").mkdir()
    manifest = Manifest.load("ctxpack-swift").model_copy(update={"files": files})
    (tmp_path / "ctxpack-swift" / "manifest.json").write_text(manifest.model_dump_json())
    export.check_shared("ctxpack-mini", files, tmp_path)
    with pytest.raises(InputError, match=r"ctxpack-swift there has another 'lower\.onnx'"):
        export.check_shared("ctxpack-mini", files | {"lower.onnx": "0b"}, tmp_path)
