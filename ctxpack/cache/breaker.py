"""A circuit breaker: something that keeps failing is left alone for a while.

closed ──`failures` in a row──► open ──after a wait──► one call tries ──► closed,
   ▲                             ▲                          │            or open for
   └── calls go through          └── calls do not ◄─────────┘            twice as long
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class CircuitBreaker:
    """Says whether to try something, from how the last tries went; safe for many threads.

    Every call that `allow` lets through reports `succeeded` or `failed`. One that never does, as
    when its thread was killed, keeps the others waiting once more and not for ever. Belongs to one
    process: its lock must not cross a fork.

    Args:
        failures: so many in a row open it; >= 1.
        reset_s: seconds from there to the first trial; every failed trial doubles the wait.
        longest_s: bound of the wait.
        clock: seconds since any moment, never going back.
    """

    def __init__(
        self,
        *,
        failures: int = 3,
        reset_s: float = 5.0,
        longest_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._failures = failures
        self._reset_s = reset_s
        self._longest_s = longest_s
        self._clock = clock
        self._lock = threading.Lock()
        self._in_a_row = 0
        self._wait_s = reset_s
        self._trial_at: float | None = None  # not before then; None while closed
        self._on_trial = False

    @property
    def is_open(self) -> bool:
        """Whether calls are kept away; true until a trial has succeeded."""
        return self._trial_at is not None

    def allow(self) -> bool:
        """Return whether to try now; while open, True once per wait."""
        if self._trial_at is None:
            return True
        with self._lock:
            if self._trial_at is None:
                return True
            now = self._clock()
            if now < self._trial_at:
                return False
            self._trial_at = now + self._wait_s
            self._on_trial = True
            return True

    def succeeded(self) -> bool:
        """Take note that a call went well; return whether that closed the breaker."""
        with self._lock:
            was_open = self._trial_at is not None
            self._in_a_row = 0
            self._wait_s = self._reset_s
            self._trial_at = None
            self._on_trial = False
            return was_open

    def failed(self) -> bool:
        """Take note that a call failed; return whether that opened the breaker."""
        with self._lock:
            if self._trial_at is None:
                self._in_a_row += 1
                if self._in_a_row < self._failures:
                    return False
                self._trial_at = self._clock() + self._wait_s
                return True
            if self._on_trial:  # and not a call from before it opened, which says nothing new
                self._on_trial = False
                self._wait_s = min(2 * self._wait_s, self._longest_s)
                self._trial_at = self._clock() + self._wait_s
            return False
