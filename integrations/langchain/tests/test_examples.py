"""The examples run offline, and their prompts show what they claim."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from ctxpack import Pipeline

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name: str) -> Any:
    """Return what the `main` of an example returns."""
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]()


def test_rag_chain() -> None:
    """The packed prompt still has the answer, in less than half of the tokens."""
    pytest.importorskip("faiss")
    before, after = run("rag_chain")
    count = Pipeline.from_recipe("balanced").token_counter.count
    assert "the battery of the logger lasts 14 months" in before
    assert "the battery of the logger lasts 14 months" in after
    assert count(after) < count(before) / 2


def test_agent() -> None:
    """The model sees valid JSON with the order in question, and gets the rest when it asks."""
    (_, whole), (_, pruned, expanded) = run("agent")
    count = Pipeline.from_recipe("balanced").token_counter.count
    late = {"order": 137, "from": "harbour office", "state": "late", "days": 12}
    assert late in json.loads(whole[-1].text)
    *orders, mark = json.loads(pruned[-1].text)
    assert late in orders
    assert "expand_context" in mark
    assert count(pruned[-1].text) <= 120 < count(whole[-1].text) / 10
    assert '{"order": 5, ' in expanded[-1].text
