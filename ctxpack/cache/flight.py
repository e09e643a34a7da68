"""Single flight: what several calls need at once is computed by the first of them.

call A   owns 1 2 3 ── computes ── publishes
call B   owns 4 ── computes ── publishes ── waits for 2 3 of A

No call waits before it has published what it owns, so calls cannot wait for each other in a circle.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence


class _Owner:
    """A call that computes values which others may wait for."""

    def __init__(self) -> None:
        self.values: Mapping[bytes, bytes] = {}
        self.over = threading.Event()


class Flight:
    """Shares values between the concurrent calls of one process; holds nothing between calls."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owners: dict[bytes, _Owner] = {}

    def get(
        self,
        keys: Sequence[bytes],
        compute: Callable[[Sequence[bytes]], Mapping[bytes, bytes]],
    ) -> dict[bytes, bytes]:
        """Return the value of every key, computed here or by a call that had begun it.

        Args:
            keys: different ones.
            compute: returns the values of the keys that it is given. Those whose owner failed are
                computed here too.

        Raises:
            BaseException: what `compute` raised for this call; no other call sees it.
        """
        me = _Owner()
        found: dict[bytes, bytes] = {}
        others: dict[bytes, _Owner] = {}
        try:
            with self._lock:
                for key in keys:
                    owner = self._owners.setdefault(key, me)
                    if owner is not me:
                        others[key] = owner
            own = [key for key in keys if key not in others]
            if own:
                me.values = compute(own)
                found.update(me.values)
        finally:
            me.over.set()  # first: an interrupt may end what follows
            with self._lock:
                for key in keys:
                    if self._owners.get(key) is me:
                        del self._owners[key]
        left = []
        for key, owner in others.items():
            owner.over.wait()
            if key in owner.values:
                found[key] = owner.values[key]
            else:
                left.append(key)
        if left:
            found.update(compute(left))
        return found
