"""Turns on an event loop: calls that come at once do not hold it up together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakKeyDictionary


class Turns:
    """Lets a few calls at a time, on each event loop, do what they must do on it.

    Two hundred calls that come in the same moment otherwise prepare in one go, before the loop runs
    anything else. Waiting for a turn takes one round of the loop, and no time of a worker.

    Args:
        at_once: calls that have a turn in one round of a loop.
    """

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = (
            WeakKeyDictionary()
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._at_once,)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, which ends in the next round of the loop."""
        loop = asyncio.get_running_loop()
        async with self._of_loop.setdefault(loop, asyncio.Semaphore(self._at_once)):
            yield
            await asyncio.sleep(0)
