"""Work of concurrent calls, done in turns by a few threads."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from ctxpack.errors import QueueError
from ctxpack.scoring.turns import Turns

LIMIT_S = 20


class Work:
    """Doubles its units, and writes down what it is given.

    Args:
        shut: units that wait for `gate`.
        bad: units that raise.
    """

    def __init__(self, *, shut: str = "", bad: str = "") -> None:
        self.gate, self.begun = threading.Event(), threading.Event()
        self.shut, self.bad = shut, bad
        self.batches: list[list[str]] = []

    def __call__(self, units: list[str]) -> list[str]:
        self.batches.append(units)
        self.begun.set()
        if any(unit in self.shut for unit in units):
            assert self.gate.wait(LIMIT_S)
        if any(unit in self.bad for unit in units):
            raise ValueError(f"bad unit in {units}")
        return [unit * 2 for unit in units]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads of callers."""
    with ThreadPoolExecutor(16) as pool:
        yield pool


def until(condition: Callable[[], bool]) -> None:
    """Return as soon as `condition` holds."""
    expires = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < expires


def behind_a_shut_gate(
    turns: Turns, work: Work, pool: ThreadPoolExecutor, *calls: str
) -> list[Future[list[str]]]:
    """Return calls that wait, in order, the first one with its first unit begun."""
    futures = [pool.submit(turns.take, work, calls[0])]
    assert work.begun.wait(LIMIT_S)
    for number, _ in enumerate(calls[1:], 1):
        futures.append(pool.submit(turns.take, work, calls[number]))
        waiting = sum(map(len, calls[: number + 1])) - 1
        until(lambda waiting=waiting: turns.n_waiting == waiting)
    return futures


def test_results_are_in_order() -> None:
    """A call gets one result for each of its units, in their order."""
    assert Turns(4, n_calls=8).take(Work(), "abcdefgh") == [letter * 2 for letter in "abcdefgh"]


def test_no_units_no_turn() -> None:
    """A call without units returns at once."""
    work = Work()
    assert Turns(1, n_calls=1).take(work, "") == []
    assert work.batches == []


def test_calls_take_turns(pool: ThreadPoolExecutor) -> None:
    """A short call behind a long one is done after as many rounds as it has units."""
    turns, work = Turns(1, n_calls=8), Work(shut="a")
    futures = behind_a_shut_gate(turns, work, pool, "abcde", "XY")
    work.gate.set()
    assert [future.result(LIMIT_S) for future in futures][1] == ["XX", "YY"]
    assert [unit for (unit,) in work.batches] == list("abXcYde")


def test_as_many_at_a_time_as_threads(pool: ThreadPoolExecutor) -> None:
    """Threads work side by side, and never more of them than was said."""
    turns, together, lock, most, now = (
        Turns(3, n_calls=8),
        threading.Barrier(3),
        threading.Lock(),
        [0],
        [0],
    )

    def work(units: list[int]) -> list[int]:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        together.wait(LIMIT_S)  # breaks unless three meet
        with lock:
            now[0] -= 1
        return units

    futures = [pool.submit(turns.take, work, range(6)) for _ in range(6)]
    assert all(future.result(LIMIT_S) == list(range(6)) for future in futures)
    assert most == [3]


def test_calls_stand_in_line(pool: ThreadPoolExecutor) -> None:
    """When as many calls as may take turns, the next one starts when one of them is over."""
    turns, work = Turns(1, n_calls=1), Work(shut="a")
    futures = behind_a_shut_gate(turns, work, pool, "abc", "XY", "Z")
    work.gate.set()
    assert [future.result(LIMIT_S) for future in futures][2] == ["ZZ"]
    assert [unit for (unit,) in work.batches] == list("abcXYZ")


def test_a_light_call_stands_in_no_line(pool: ThreadPoolExecutor) -> None:
    """A light call takes its first turn next, however many calls stand in line."""
    turns, work = Turns(1, n_calls=1), Work(shut="a")
    futures = behind_a_shut_gate(turns, work, pool, "abc", "Z")
    futures.append(pool.submit(turns.take, work, "XY", light=True))
    until(lambda: turns.n_waiting == 5)
    work.gate.set()
    assert [future.result(LIMIT_S) for future in futures][2] == ["XX", "YY"]
    assert [unit for (unit,) in work.batches] == list("abXcYZ")


def test_an_error_is_its_callers(pool: ThreadPoolExecutor) -> None:
    """A unit that raises ends its own call, with the units behind it; the others go on."""
    turns, work = Turns(1, n_calls=8), Work(shut="a", bad="b")
    bad, good = behind_a_shut_gate(turns, work, pool, "abc", "XY")
    work.gate.set()
    with pytest.raises(ValueError, match="bad unit"):
        bad.result(LIMIT_S)
    assert good.result(LIMIT_S) == ["XX", "YY"]
    assert ["c"] not in work.batches


def test_a_call_waits_no_longer_than_it_may(pool: ThreadPoolExecutor) -> None:
    """A call whose time is over raises, and its units are never begun."""
    turns, work = Turns(1, n_calls=8), Work(shut="a")
    (first,) = behind_a_shut_gate(turns, work, pool, "a")
    with pytest.raises(QueueError, match=r"not done in 0\.01 s, 2 units left"):
        turns.take(work, "XY", timeout_s=0.01)
    assert turns.n_waiting == 0
    work.gate.set()
    assert first.result(LIMIT_S) == ["aa"]
    assert work.batches == [["a"]]


def test_an_interrupted_call_leaves() -> None:
    """A caller that goes away takes its waiting units along."""
    turns, gate, caller = Turns(1, n_calls=8), threading.Event(), threading.get_ident()
    # A shell starts what runs in the background with this signal ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def work(units: list[str]) -> list[str]:
        # Again, because one that arrives just before the caller begins to wait does not wake it.
        while not gate.is_set():
            signal.pthread_kill(caller, signal.SIGINT)
            gate.wait(1)
        return units

    try:
        with pytest.raises(KeyboardInterrupt):
            turns.take(work, "abc")
        assert turns.n_waiting == 0
    finally:
        gate.set()
        signal.signal(signal.SIGINT, before)
    turns.close()


def test_close_wakes_who_waits(pool: ThreadPoolExecutor) -> None:
    """Calls in turns and in line end with an error when the queue is closed."""
    turns, work = Turns(1, n_calls=1), Work(shut="a")
    futures = behind_a_shut_gate(turns, work, pool, "ab", "X")
    closing = pool.submit(turns.close)
    for future in futures:
        with pytest.raises(QueueError, match="closed while a call waited"):
            future.result(LIMIT_S)
    assert not closing.done()
    work.gate.set()
    closing.result(LIMIT_S)
    with pytest.raises(QueueError, match="closed"):
        turns.take(work, "Y")


def test_threads_end_with_the_work() -> None:
    """A queue without work has no threads."""
    before = set(threading.enumerate())
    Turns(4, n_calls=8).take(Work(), "abcdefgh")
    for thread in set(threading.enumerate()) - before:
        thread.join(LIMIT_S)
        assert not thread.is_alive()


def test_a_system_out_of_threads_keeps_nobody_waiting(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has results keeps them, who would have none gets an error, and later calls work."""
    turns, work, start = Turns(1, n_calls=1), Work(shut="a"), threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "ctxpack-turn":
            raise RuntimeError("can't start new thread")
        start(thread)

    first, second = behind_a_shut_gate(turns, work, pool, "a", "X")
    monkeypatch.setattr(threading.Thread, "start", refuse)
    work.gate.set()
    assert first.result(LIMIT_S) == ["aa"]
    # Served by the thread that is there, if that has not ended yet.
    assert isinstance(second.exception(LIMIT_S), QueueError | None)
    with pytest.raises(QueueError, match="can't start new thread"):
        until(lambda: not turns.take(work, "Z"))
    monkeypatch.undo()
    assert turns.take(work, "Y") == ["YY"]


def test_equal_groups_share_a_batch(pool: ThreadPoolExecutor) -> None:
    """Waiting units of one group are worked on together, of whichever call, up to the most."""
    turns, work = Turns(1, n_calls=8, max_batch=3), Work(shut="a")

    def take(units: list[str]) -> list[str]:
        return turns.take(work, units, group_of=len)

    first = pool.submit(take, ["a"])
    assert work.begun.wait(LIMIT_S)
    second = pool.submit(take, ["bb", "c", "dd"])
    until(lambda: turns.n_waiting == 3)
    third = pool.submit(take, ["ee", "ff"])
    until(lambda: turns.n_waiting == 5)
    work.gate.set()
    assert first.result(LIMIT_S) == ["aa"]
    assert second.result(LIMIT_S) == ["bbbb", "cc", "dddd"]
    assert third.result(LIMIT_S) == ["eeee", "ffff"]
    assert [sorted(batch) for batch in work.batches] == [["a"], ["bb", "ee", "ff"], ["c"], ["dd"]]


def test_a_bad_unit_of_a_batch_fails_alone(pool: ThreadPoolExecutor) -> None:
    """When a batch raises, its units are worked on one by one."""
    turns, work = Turns(1, n_calls=8, max_batch=2, max_wait_s=LIMIT_S), Work(bad="b")
    good, bad = (pool.submit(turns.take, work, unit, group_of=len) for unit in "ab")
    assert good.result(LIMIT_S) == ["aa"]
    with pytest.raises(ValueError, match="bad unit"):
        bad.result(LIMIT_S)


def test_a_batch_waits_only_while_nothing_else_does(pool: ThreadPoolExecutor) -> None:
    """A batch that is not full is worked on at once when a unit of another group waits."""
    turns, work = Turns(1, n_calls=8, max_batch=2, max_wait_s=LIMIT_S), Work()
    first = pool.submit(turns.take, work, ["aa", "b"], group_of=len)
    assert work.begun.wait(LIMIT_S / 2)
    assert turns.take(work, ["c"], group_of=len) == ["cc"]
    assert first.result(LIMIT_S) == ["aaaa", "bb"]
    assert work.batches == [["aa"], ["b", "c"]]


def test_a_lone_unit_waits_no_longer_than_the_bound() -> None:
    """Without company a unit is worked on alone, in the end."""
    turns = Turns(1, n_calls=8, max_batch=2, max_wait_s=0.01)
    assert turns.take(Work(), ["a"], group_of=len) == ["aa"]


def test_a_missing_result_is_an_error() -> None:
    """Work that makes too few results raises in its caller."""
    with pytest.raises(RuntimeError, match="must make 1 results, got 0"):
        Turns(1, n_calls=1).take(lambda units: [], "a")
