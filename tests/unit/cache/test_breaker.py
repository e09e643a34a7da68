"""When a circuit breaker lets calls through, by a clock that the test moves."""

from __future__ import annotations

import threading

import pytest

from ctxpack.cache.breaker import CircuitBreaker


class Clock:
    """A clock that stands still until it is told otherwise."""

    now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Return the clock."""
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    """Return a breaker that opens at the third failure, waits 5 s, and never over 15 s."""
    return CircuitBreaker(failures=3, reset_s=5.0, longest_s=15.0, clock=clock)


def opened(breaker: CircuitBreaker) -> CircuitBreaker:
    """Return the breaker after as many failures as open it."""
    assert [breaker.failed() for _ in range(3)] == [False, False, True]
    return breaker


def test_failures_in_a_row_open_it(breaker: CircuitBreaker) -> None:
    """The third failure in a row opens it, and calls are kept away."""
    assert breaker.allow()
    opened(breaker)
    assert breaker.is_open
    assert not breaker.allow()


def test_a_success_between_failures_keeps_it_closed(breaker: CircuitBreaker) -> None:
    """Failures that are not in a row do not add up."""
    for _ in range(5):
        assert not breaker.failed()
        assert not breaker.failed()
        assert not breaker.succeeded()
    assert not breaker.is_open


def test_one_call_tries_after_the_wait(breaker: CircuitBreaker, clock: Clock) -> None:
    """After the wait one call goes through, and the others wait for how it ends."""
    opened(breaker)
    clock.now += 5.0
    assert [breaker.allow() for _ in range(3)] == [True, False, False]
    assert breaker.is_open


def test_a_good_trial_closes_it(breaker: CircuitBreaker, clock: Clock) -> None:
    """A trial that succeeds lets every call through again, and the next wait is short again."""
    opened(breaker)
    clock.now += 5.0
    assert breaker.allow()
    assert breaker.succeeded()
    assert [breaker.allow() for _ in range(3)] == [True, True, True]
    opened(breaker)
    clock.now += 5.0
    assert breaker.allow()


def test_failed_trials_double_the_wait_up_to_a_bound(breaker: CircuitBreaker, clock: Clock) -> None:
    """The waits are 5, 10, 15 and 15 seconds, each to its end."""
    opened(breaker)
    for wait in (5.0, 10.0, 15.0, 15.0):
        clock.now += wait - 0.1
        assert not breaker.allow()
        clock.now += 0.1
        assert breaker.allow()
        assert not breaker.failed()


def test_late_failures_do_not_prolong_the_wait(breaker: CircuitBreaker, clock: Clock) -> None:
    """Calls that began before it opened and fail after it change nothing."""
    opened(breaker)
    assert [breaker.failed() for _ in range(10)] == [False] * 10
    clock.now += 5.0
    assert breaker.allow()


def test_a_trial_that_never_reports_is_not_waited_for(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    """When the trial's call never says how it ended, another call tries after the next wait."""
    opened(breaker)
    clock.now += 5.0
    assert breaker.allow()
    clock.now += 5.0
    assert breaker.allow()


def test_one_of_many_threads_tries(breaker: CircuitBreaker, clock: Clock) -> None:
    """Of threads that ask at once after the wait, one is let through."""
    opened(breaker)
    clock.now += 5.0
    barrier, answers = threading.Barrier(16), list[bool]()

    def ask() -> None:
        barrier.wait()
        answers.append(breaker.allow())

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(answers) == 1
