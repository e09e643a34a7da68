"""A pool of threads that computes for event loops."""

from __future__ import annotations

import asyncio
import contextvars
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from ctxpack.process import PerProcess

T = TypeVar("T")

_asked_at: contextvars.ContextVar[float | None] = contextvars.ContextVar("asked_at", default=None)


class Workers:
    """Threads that are made on first use, once per process, and again after `close`."""

    def __init__(self) -> None:
        self._pool = PerProcess(_thread_pool)

    async def run(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, called by one of the threads in the caller's context."""
        call = partial(_call, work, time.perf_counter())
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._pool.get(), context.run, call)

    def close(self) -> None:
        """End the threads once they have done their work."""
        pool = self._pool.pop()
        if pool is not None:
            pool.shutdown()


def asked_at() -> float:
    """Return when the work of this thread was asked for, outside a pool now.

    In seconds of `time.perf_counter`.
    """
    asked = _asked_at.get()
    return time.perf_counter() if asked is None else asked


def _call(work: Callable[[], T], asked: float) -> T:
    _asked_at.set(asked)
    return work()


def _thread_pool() -> ThreadPoolExecutor:
    # Half of the processors: with a thread on each, the caller's event loop waits for its turn.
    n_workers = min(4, max(1, (os.cpu_count() or 1) // 2))
    return ThreadPoolExecutor(n_workers, thread_name_prefix="ctxpack")
