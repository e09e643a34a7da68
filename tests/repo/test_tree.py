"""The tree holds what it should, and nothing of the machine that it was written on."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOP_LEVEL = {
    "LICENSE", "README.md", "ctxpack", "docs", "integrations", "pyproject.toml", "recipes", "tests",
}  # fmt: skip
MACHINE_PATH = re.compile(rb"(?<![\w./:-])/(?:home|root|work|Users|opt|tmp|mnt)/\w")


def tracked_files() -> list[str]:
    """Return the paths of all files that git knows, relative to the root."""
    command = ["git", "ls-files", "-z"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    return [path for path in done.stdout.split("\0") if (ROOT / path).is_file()]


def test_top_level_is_fixed() -> None:
    """The top level has the names of the design and dot-files, and nothing else."""
    names = {path.split("/")[0] for path in tracked_files()}
    assert {name for name in names if not name.startswith(".")} == TOP_LEVEL


def test_no_machine_paths() -> None:
    """No tracked text file names a path of somebody's machine."""
    found = []
    for path in tracked_files():
        content = (ROOT / path).read_bytes()
        if b"\0" not in content:  # text
            found += [f"{path}: {match[0].decode()}" for match in MACHINE_PATH.finditer(content)]
    assert found == []


def test_llama_index_stays_a_namespace() -> None:
    """No `__init__.py` above our package: it would hide `llama_index.core`."""
    above = {
        "integrations/llama_index/llama_index/__init__.py",
        "integrations/llama_index/llama_index/postprocessor/__init__.py",
    }
    assert above.isdisjoint(tracked_files())
