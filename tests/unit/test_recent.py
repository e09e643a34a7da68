"""A small memory of computed values."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from ctxpack.scoring.recent import Recent


def test_makes_a_value_once() -> None:
    """The same content has the value that was made first."""
    recent: Recent[int] = Recent(2)
    assert recent.get(b"a", lambda: 1) == recent.get(b"a", lambda: 2) == 1


def test_forgets_what_was_used_least_recently() -> None:
    """Room is made for the new at the cost of what nobody asked for."""
    recent: Recent[int] = Recent(2)
    for content in (b"a", b"b", b"a", b"c"):
        recent.get(content, lambda: 1)
    assert [recent.get(content, lambda: 2) for content in (b"a", b"c", b"b")] == [1, 1, 2]


def test_serves_many_threads() -> None:
    """Threads that fill it beyond its size at once get their own values."""
    recent: Recent[int] = Recent(8)

    def ask(number: int) -> bool:
        return recent.get(str(number % 32).encode(), lambda: number % 32) == number % 32

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(2000)))
