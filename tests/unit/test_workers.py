"""Threads that compute for event loops."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time

from ctxpack.workers import Workers, asked_at

NAME: contextvars.ContextVar[str] = contextvars.ContextVar("name")


def test_works_in_another_thread_in_the_callers_context() -> None:
    """Work runs away from the event loop and sees the context variables of who asked."""

    async def main() -> tuple[int, str]:
        NAME.set("mine")
        return await Workers().run(lambda: (threading.get_ident(), NAME.get()))

    thread, name = asyncio.run(main())
    assert thread != threading.get_ident()
    assert name == "mine"


def test_work_knows_when_it_was_asked_for() -> None:
    """What waited for a thread was asked for before it waited."""
    workers, may_end = Workers(), threading.Event()

    async def main() -> float:
        busy = [asyncio.create_task(workers.run(may_end.wait)) for _ in range(8)]
        waiting = asyncio.create_task(workers.run(asked_at))
        await asyncio.sleep(0)
        let_go = time.perf_counter()
        may_end.set()
        await asyncio.gather(*busy)
        return let_go - await waiting

    assert asyncio.run(main()) > 0


def test_outside_a_pool_it_is_now() -> None:
    """Where nothing waits, a call is asked for when it begins."""
    before = time.perf_counter()
    assert before <= asked_at() <= time.perf_counter()
