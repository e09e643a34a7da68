from __future__ import annotations

import json
from typing import Any

import pytest

from ctxpack.bench import adapters
from ctxpack.bench.steps import Workload


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    """Return the record of a very short measurement."""
    return adapters.measure(
        Workload(recipe="lexical", passages=2, characters=80, budget=None, calls=3)
    )


def test_both_adapters_stand_beside_the_engine(record: dict[str, Any]) -> None:
    """The record has clock and processor time of the engine and of both adapters."""
    assert list(record["ms"]) == ["engine", "langchain", "llama_index"]
    for clocks in record["ms"].values():
        assert list(clocks) == ["wall", "cpu"]
        assert 0 < clocks["wall"]["median"] <= clocks["wall"]["p95"]


def test_the_record_says_what_it_was_measured_on(record: dict[str, Any]) -> None:
    """The record is JSON, and has the command, n, and the frameworks' versions."""
    assert json.loads(json.dumps(record)) == record
    assert record["command"] == "ctxpack bench adapters --recipe=lexical --passages=2 --calls=3"
    assert record["n"] == 3
    assert None not in record["versions"].values()


def test_the_difference_is_call_by_call() -> None:
    """What an adapter costs is the difference of the times of the same call."""
    own, engine = {"wall": [5.0, 9.0], "cpu": [3.0, 3.0]}, {"wall": [4.0, 2.0], "cpu": [1.0, 2.0]}
    assert adapters._difference(own, engine) == {"wall": [1.0, 7.0], "cpu": [2.0, 1.0]}
