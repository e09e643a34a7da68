"""Single flight: a value that several calls need at once is computed once."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from ctxpack.cache.flight import Flight


class Slow:
    """Computes when it is let go, and remembers which keys it computed."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self.error = error
        self.keys: list[bytes] = []

    def __call__(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return every key as its own value."""
        self.keys += keys
        self.begun.set()
        assert self.go.wait(10)
        if self.error is not None:
            raise self.error
        return {key: key for key in keys}


def at_once(keys: Sequence[bytes]) -> dict[bytes, bytes]:
    """Return every key as its own value."""
    return {key: key for key in keys}


def test_waits_for_the_call_that_has_begun() -> None:
    """The second call computes only what the first does not."""
    flight, first, second = Flight(), Slow(), Slow()
    second.go.set()
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(flight.get, [b"a", b"b"], first)
        assert first.begun.wait(10)
        two = pool.submit(flight.get, [b"b", b"c"], second)
        assert second.begun.wait(10)
        assert not two.done()
        first.go.set()
        assert one.result() == {b"a": b"a", b"b": b"b"}
        assert two.result() == {b"b": b"b", b"c": b"c"}
    assert second.keys == [b"c"]


def test_publishes_before_it_waits() -> None:
    """Calls that need each other's values do not wait in a circle."""
    flight, first, second = Flight(), Slow(), Slow()
    with ThreadPoolExecutor(3) as pool:
        one = pool.submit(flight.get, [b"a"], first)
        assert first.begun.wait(10)
        two = pool.submit(flight.get, [b"b", b"a"], second)
        assert second.begun.wait(10)
        three = pool.submit(flight.get, [b"b"], at_once)
        second.go.set()
        assert three.result(10) == {b"b": b"b"}
        first.go.set()
        assert (one.result(10), two.result(10)) == ({b"a": b"a"}, {b"b": b"b", b"a": b"a"})


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
def test_computes_itself_when_the_owner_failed(error: BaseException) -> None:
    """An error is the owner's alone, and so is an interrupt."""
    flight, first = Flight(), Slow(error)
    caught = []

    def own() -> None:
        try:
            flight.get([b"a"], first)
        except BaseException as raised:  # noqa: BLE001 - it is looked at
            caught.append(raised)

    owner = threading.Thread(target=own)
    owner.start()
    assert first.begun.wait(10)
    with ThreadPoolExecutor(1) as pool:
        follower = pool.submit(flight.get, [b"a"], at_once)
        first.go.set()
        assert follower.result(10) == {b"a": b"a"}
    owner.join()
    assert caught == [error]


def test_holds_nothing_between_calls() -> None:
    """Neither values nor owners stay, whether a call succeeded or failed."""
    flight, failing = Flight(), Slow(ValueError("broken"))
    failing.go.set()
    flight.get([b"a"], at_once)
    with pytest.raises(ValueError, match="broken"):
        flight.get([b"b"], failing)
    assert flight._owners == {}


def test_computes_again_when_it_is_over() -> None:
    """Values are for calls at the same time; a later call asks the cache."""
    flight, later = Flight(), Slow()
    later.go.set()
    flight.get([b"a"], at_once)
    flight.get([b"a"], later)
    assert later.keys == [b"a"]
