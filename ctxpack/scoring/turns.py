"""Turns: work of concurrent calls, done by a few threads in an order that is fair.

    calls ──► line ──► ring ──► threads
       │      first     ▲  one unit a turn,
       │      come      │  then to the back
       └─── if light ───┘

A call with 20 units is done after at most 20 rounds, however many units the others have.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ctxpack.errors import ContractError, QueueError

Unit = TypeVar("Unit")
Result = TypeVar("Result")


@dataclass(eq=False, slots=True)
class _Call:
    """One call's units.

    Args:
        work: makes one result of each unit that it is given.
        units: of the call.
        waiting: number → group of the units that no thread has begun, in order.
        light: whether it does without the line.
        results: by number, as far as they are there.
        unfinished: how many results are missing.
        error: why there will be no results.
        over: set when all results are there, or an error is.
    """

    work: Callable[[list[Any]], Sequence[Any]]
    units: Sequence[Any]
    waiting: dict[int, Hashable]
    light: bool
    results: list[Any]
    unfinished: int
    error: BaseException | None = None
    over: threading.Event = field(default_factory=threading.Event)

    def give_up(self, error: BaseException) -> None:
        self.waiting.clear()
        self.error = error
        self.over.set()


_Batch = list[tuple[_Call, int]]


class Turns:
    """Shares a few threads between all calls of one process.

    Threads are started when there is work and end when there is none: nothing idles, and nothing
    holds up the end of the program.

    Args:
        n_threads: most units that are worked on at a time.
        n_calls: most calls that take turns, light ones not counted; the next ones stand in line,
            first come, first served.
        max_batch: most units of one group that are worked on together.
        max_wait_s: how long a batch that is not full waits for units while there is nothing else
            to do.
    """

    def __init__(
        self, n_threads: int, *, n_calls: int, max_batch: int = 1, max_wait_s: float = 0.0
    ) -> None:
        self._n_threads = n_threads
        self._n_calls = n_calls
        self._max_batch = max_batch
        self._max_wait_s = max_wait_s
        self._changed = threading.Condition()
        self._line: deque[_Call] = deque()
        self._ring: deque[_Call] = deque()
        self._inside: set[_Call] = set()
        self._n_busy = 0
        self._closed = False

    @property
    def n_waiting(self) -> int:
        """How many units no thread has begun."""
        with self._changed:
            return sum(len(call.waiting) for call in (*self._ring, *self._line))

    def take(
        self,
        work: Callable[[list[Unit]], Sequence[Result]],
        units: Sequence[Unit],
        *,
        group_of: Callable[[Unit], Hashable] | None = None,
        light: bool = False,
        timeout_s: float | None = None,
    ) -> list[Result]:
        """Return one result of `work` for each unit, in order, once all their turns have come.

        Args:
            work: called from other threads, with one unit, or with several of one group.
            units: of this call.
            group_of: units of equal groups, of any call, may be worked on together; None for never.
                Every call that gives one must give the same `work`.
            light: whether the call takes its first turn at once, in no line, because its units
                take little time.
            timeout_s: most seconds until the last result; None for no limit.

        Raises:
            QueueError: `timeout_s` has passed, `close` was called, or no thread can be started.
            Exception: the first one that `work` raised for a unit of this call; the units that
                wait behind it are not begun.
        """
        if not units:
            return []
        groups = {n: group_of and group_of(unit) for n, unit in enumerate(units)}
        call = _Call(work, units, groups, light, [None] * len(units), len(units))
        try:
            self._enter(call)
            if not call.over.wait(timeout_s):
                raise QueueError(f"turns: not done in {timeout_s} s, {call.unfinished} units left")
        finally:
            # Whatever ended the wait, also an interrupt: no thread works for a caller that is gone.
            self._leave(call)
        if call.error is not None:
            raise call.error
        return call.results

    def close(self) -> None:
        """End the calls that wait with a `QueueError`, and return when no thread works any more."""
        with self._changed:
            self._closed = True
            for call in (*self._inside, *self._line):
                call.give_up(QueueError("turns: closed while a call waited"))
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._n_busy == 0)

    def _enter(self, call: _Call) -> None:
        with self._changed:
            if self._closed:
                raise QueueError("turns: closed")
            if call.light:
                self._let_in(call)
            else:
                self._line.append(call)
                self._move_up()

    def _leave(self, call: _Call) -> None:
        with self._changed:
            call.waiting.clear()
            if call in self._line:
                self._line.remove(call)
            self._inside.discard(call)
            self._move_up()

    def _move_up(self) -> None:
        """Let calls in from the line while there is room."""
        room = self._n_calls - sum(not call.light for call in self._inside)
        for _ in range(min(room, len(self._line))):
            self._let_in(self._line.popleft())

    def _let_in(self, call: _Call) -> None:
        """Let a call take turns, and see to it that there are threads to serve it."""
        self._inside.add(call)
        self._ring.append(call)
        for _ in range(min(len(call.waiting), self._n_threads - self._n_busy)):
            try:
                threading.Thread(target=self._serve, name="ctxpack-turn").start()
            except RuntimeError as error:  # of the system: those that there are serve it later
                if self._n_busy == 0:
                    call.give_up(QueueError(f"turns: {error}"))
                break
            self._n_busy += 1
        self._changed.notify_all()

    def _serve(self) -> None:
        """Work until nothing waits; the body of a thread."""
        while batch := self._next():
            self._work(batch)

    def _next(self) -> _Batch:
        """Return the units of the next turn, which wait no more; none when the thread may end."""
        with self._changed:
            while self._ring:
                call = self._ring.popleft()
                if call.waiting:
                    number, group = next(iter(call.waiting.items()))
                    del call.waiting[number]
                    self._ring.append(call)
                    batch = [(call, number)]
                    if group is not None:
                        self._fill(batch, group)
                    return batch
            self._n_busy -= 1
            self._changed.notify_all()
            return []

    def _fill(self, batch: _Batch, group: Hashable) -> None:
        """Add waiting units of `group`; wait for some only while no other unit waits."""
        until = time.monotonic() + self._max_wait_s
        while True:
            for call in self._ring:
                same = [number for number, other in call.waiting.items() if other == group]
                for number in same[: self._max_batch - len(batch)]:
                    del call.waiting[number]
                    batch.append((call, number))
            left = until - time.monotonic()
            others = any(call.waiting for call in self._ring)
            if len(batch) == self._max_batch or others or self._closed or left <= 0:
                return
            self._changed.wait(left)

    def _work(self, batch: _Batch) -> None:
        units = [call.units[number] for call, number in batch]
        try:
            results = batch[0][0].work(units)
            if len(results) != len(units):
                raise ContractError(f"scorer: must make {len(units)} results, got {len(results)}")
        except BaseException as error:  # noqa: BLE001 - the call raises it
            if len(batch) == 1:
                with self._changed:
                    batch[0][0].give_up(error)
            else:
                # One of them is at fault, and only its own call may see that.
                for pair in batch:
                    self._work([pair])
            return
        with self._changed:
            for (call, number), result in zip(batch, results, strict=True):
                call.results[number] = result
                call.unfinished -= 1
                if call.unfinished == 0:
                    call.over.set()
