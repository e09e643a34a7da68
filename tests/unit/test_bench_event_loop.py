"""The heartbeat beside many calls."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from ctxpack.bench import event_loop
from ctxpack.bench.steps import Workload


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    """Return the record of a very short measurement."""
    workload = Workload(recipe="lexical", passages=2, characters=80, budget=None, calls=3)
    return event_loop.measure(workload)


def test_the_frameworks_stand_beside_the_engine(record: dict[str, Any]) -> None:
    """The record has delays by two clocks and the calls' own times, of the engine and of all."""
    names = ["engine", "langchain runnable", "langchain compressor", "llama_index"]
    assert list(record["ms"]) == names
    for summary in record["ms"].values():
        assert list(summary) == ["late wall", "late cpu", "call"]
        assert 0 < summary["call"]["median"] <= summary["call"]["worst"]


def test_the_record_says_what_it_was_measured_on(record: dict[str, Any]) -> None:
    """The record is JSON, and has the command, n, and the frameworks' versions."""
    assert json.loads(json.dumps(record)) == record
    assert record["command"] == "ctxpack bench event-loop --recipe=lexical --passages=2 --calls=3"
    assert record["n"] == 9
    assert None not in record["versions"].values()


def test_a_call_that_holds_the_loop_makes_a_beat_late() -> None:
    """What a call computes on the loop is how late the heartbeat comes, by both clocks."""

    async def hold() -> None:
        until = time.process_time() + 0.05
        while time.process_time() < until:
            pass
        await asyncio.sleep(2 * event_loop.BEAT_S)

    done = asyncio.run(event_loop._round([hold]))
    assert max(done.wall) > 40
    assert max(done.cpu) > 40
