"""The examples run offline, and their prompts show what they claim."""

from __future__ import annotations

import runpy
from pathlib import Path

from ctxpack import Pipeline

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_query_engine() -> None:
    """The packed prompt still has the answer, in less than half of the tokens."""
    before, after = runpy.run_path(str(EXAMPLES / "query_engine.py"))["main"]()
    count = Pipeline.from_recipe("balanced").token_counter.count
    answer = "The archive lends the harbour maps from nine to eleven"
    assert answer in before
    assert answer in after
    assert count(after) < count(before) / 2
