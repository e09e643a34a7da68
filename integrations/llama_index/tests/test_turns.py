"""`Turns`: calls that come at once leave an event loop room for others."""

from __future__ import annotations

import asyncio
import pickle
from collections import Counter

import pytest
from llama_index.postprocessor.ctxpack.turns import Turns


async def rounds_of(turns: Turns, calls: int) -> list[int]:
    """Return for every call how many rounds of the loop had begun when it had its turn."""
    begun, rounds = 0, []

    async def call() -> None:
        async with turns.turn():
            rounds.append(begun)

    tasks = [asyncio.create_task(call()) for _ in range(calls)]
    while not all(task.done() for task in tasks):
        begun += 1
        await asyncio.sleep(0)
    return rounds


def test_few_calls_have_their_turn_at_once() -> None:
    """Of many calls no more than two prepare before the loop runs something else."""
    rounds = asyncio.run(rounds_of(Turns(2), 20))
    assert len(rounds) == 20
    assert max(Counter(rounds).values()) <= 2


def test_a_failed_turn_ends() -> None:
    """An error in a turn does not keep others from theirs."""
    turns = Turns(1)

    async def fail() -> None:
        async with turns.turn():
            raise LookupError

    async def main() -> list[int]:
        with pytest.raises(LookupError):
            await fail()
        return await rounds_of(turns, 2)

    assert len(asyncio.run(main())) == 2


def test_every_loop_has_its_own_turns() -> None:
    """Loops one after the other, and a copy made by pickle, start anew."""
    turns = Turns(1)
    for each in (turns, turns, pickle.loads(pickle.dumps(turns))):
        assert len(asyncio.run(rounds_of(each, 3))) == 3
