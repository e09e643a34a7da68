"""Values that belong to one process: sessions and pools that must not cross a fork."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerProcess(Generic[T]):
    """Makes a value on first use, once per process, and again in a forked child.

    Locks are kept per process too: a lock that another thread held during the fork stays locked for
    ever in the child.

    Args:
        make: called without arguments, by one thread at a time.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._locks: dict[int, threading.Lock] = {}
        self._values: dict[int, T] = {}

    def get(self) -> T:
        """Return this process's value, made now if it is the first use."""
        pid = os.getpid()
        try:
            return self._values[pid]
        except KeyError:
            with self._locks.setdefault(pid, threading.Lock()):
                if pid not in self._values:
                    self._values[pid] = self._make()
                return self._values[pid]

    def pop(self) -> T | None:
        """Forget this process's value and return it, or None when there is none."""
        pid = os.getpid()
        with self._locks.setdefault(pid, threading.Lock()):
            return self._values.pop(pid, None)
