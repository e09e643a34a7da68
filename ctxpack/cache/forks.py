"""Locks that a fork waits for, so that a child finds them free and what they guard whole."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from types import TracebackType
from weakref import WeakMethod, WeakSet


class ForkGuard:
    """A lock for `with` that no other thread holds while this one forks.

    Args:
        close: called before a fork, with the lock held, to close what must not cross it; a bound
            method, which is not kept alive.
    """

    def __init__(self, close: Callable[[], object] | None = None) -> None:
        self._lock = threading.RLock()
        self._close = None if close is None else WeakMethod(close)
        with _forking:
            _guards.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lock.release()

    def _before_fork(self) -> None:
        self._lock.acquire()
        close = None if self._close is None else self._close()
        if close is not None:
            close()

    def _after_fork(self) -> None:
        self._lock.release()


_guards: WeakSet[ForkGuard] = WeakSet()
_forking = threading.RLock()  # so that no guard is made meanwhile
_taken: list[ForkGuard] = []


def _before() -> None:
    _forking.acquire()
    _taken.extend(_guards)
    for guard in _taken:
        guard._before_fork()


def _after() -> None:
    for guard in _taken:
        guard._after_fork()
    _taken.clear()
    _forking.release()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)
