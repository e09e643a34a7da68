"""What a number was measured on: versions, commit, hardware."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

import ctxpack

DEPENDENCIES = (
    "numpy",
    "onnxruntime",
    "tokenizers",
    "pydantic",
    "PyYAML",
    "sentencex",
    "markdown-it-py",
    "typer",
    "rich",
)
"""Distributions that the base install needs."""


def versions() -> dict[str, str | None]:
    """Return the versions of ctxpack, Python and the base dependencies; None for a missing one."""
    found = {name: version_of(name) for name in DEPENDENCIES}
    return {"ctxpack": ctxpack.__version__, "python": platform.python_version(), **found}


def version_of(distribution: str) -> str | None:
    """Return the installed version of a distribution, or None."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def usable_cpus() -> int:
    """Return how many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def hardware() -> dict[str, Any]:
    """Return processor, number of CPUs and operating system."""
    return {
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "usable_cpus": usable_cpus(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def commit() -> str | None:
    """Return the commit of the checkout, ``-dirty`` when it has changes; None outside one."""
    folder = str(files("ctxpack"))
    command = ["git", "-C", folder, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    name = re.search(r"^model name\s*: (.*)$", lines, re.MULTILINE)
    return name[1] if name else platform.processor()
