"""A value per process."""

from __future__ import annotations

import os
import threading

from ctxpack.process import PerProcess


def test_makes_the_value_once() -> None:
    """Threads that ask at once share one value."""
    made: list[int] = []
    value = PerProcess(lambda: made.append(1) or object())
    barrier, seen = threading.Barrier(8), set()

    def ask() -> None:
        barrier.wait()
        seen.add(value.get())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(made), len(seen)) == (1, 1)


def test_a_child_makes_its_own() -> None:
    """After a fork the child does not use the parent's value."""
    value = PerProcess(os.getpid)
    assert value.get() == os.getpid()
    child = os.fork()
    if child == 0:
        os._exit(0 if value.get() == os.getpid() else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_pop_forgets() -> None:
    """After `pop` the next use makes a value again."""
    value = PerProcess(object)
    first = value.get()
    assert value.pop() is first
    assert value.pop() is None
    assert value.get() is not first
