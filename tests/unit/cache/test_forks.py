"""What a fork waits for, and what waits for a fork."""

from __future__ import annotations

import os
import threading

import pytest

from ctxpack.cache import forks
from ctxpack.cache.forks import ForkGuard


def test_no_guard_is_made_during_a_fork() -> None:
    """A guard that a fork does not know of could be taken in the child for ever."""
    forks._before()
    try:
        maker = threading.Thread(target=ForkGuard)
        maker.start()
        maker.join(0.05)
        assert maker.is_alive()
    finally:
        forks._after()
    maker.join(10)
    assert not maker.is_alive()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # that is what is tested
def test_a_fork_waits_for_a_guard() -> None:
    """A child finds a guard free that another thread of its parent held."""
    guard, held, go = ForkGuard(), threading.Event(), threading.Event()

    def hold() -> None:
        with guard:
            held.set()
            go.wait(0.05)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(10)
    child = os.fork()
    if child == 0:
        os._exit(0 if guard._lock.acquire(blocking=False) else 1)
    assert os.waitpid(child, 0)[1] == 0
    holder.join()


def test_a_fork_keeps_no_guard_alive() -> None:
    """What was guarded during a fork can go after it."""
    guard = ForkGuard()
    forks._before()
    forks._after()
    assert guard in forks._guards
    del guard
    assert forks._taken == []
