"""The oldest frameworks that are tested are the oldest that are promised."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def promised() -> dict[str, str]:
    """Return the lowest version of every framework that an integration's metadata allows."""
    floors = {}
    for name in ("langchain", "llama_index"):
        project = tomllib.loads((ROOT / "integrations" / name / "pyproject.toml").read_text())
        extras = project["project"]["optional-dependencies"]
        for needed in [*project["project"]["dependencies"], *extras.get("agents", ())]:
            found = re.match(r"(lang\S+?|llama\S+?)>=([\d.]+),", needed)
            if found is not None:
                floors[found[1]] = found[2]
    return floors


def test_the_tested_floors_are_the_promised_ones() -> None:
    """`.ci/floors.txt` pins each framework to its lowest promised version."""
    pins = dict(re.findall(r"(?m)^(\S+)==(\S+)$", (ROOT / ".ci/floors.txt").read_text()))
    assert promised().keys() == {"langchain", "langchain-core", "llama-index-core"}
    for name, version in promised().items():
        assert pins[name] == version + ".0" * (2 - version.count("."))
