"""The arguments of a call, checked once."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import NamedTuple

from ctxpack.errors import InputError, shown
from ctxpack.selection import Passage

Passages = Sequence[Passage | str]


class Inputs(NamedTuple):
    """The checked arguments of a call.

    Args:
        query: what the user asked.
        passages: those that came in.
        budget: in tokens, None for the recipe's.
    """

    query: str
    passages: tuple[Passage, ...]
    budget: int | None


def checked(query: str, passages: Passages, budget: int | None) -> Inputs:
    """Return the arguments, strings as passages.

    Raises:
        InputError: one has the wrong type or value.
    """
    if not isinstance(query, str):
        raise InputError(f"`query` must be a string, got {shown(query)}")
    if isinstance(passages, str | Passage) or not isinstance(passages, Sequence):
        raise InputError(f"`passages` must be a sequence of passages, got {shown(passages)}")
    for index, passage in enumerate(passages):
        if not isinstance(passage, Passage | str):
            where = f"`passages[{index}]`"
            raise InputError(f"{where} must be a Passage or a string, got {shown(passage)}")
    known = tuple(Passage(p) if isinstance(p, str) else p for p in passages)
    return Inputs(query, known, checked_budget(budget))


def checked_budget(budget: int | None) -> int | None:
    """Return the budget as an `int`, None for none.

    Raises:
        InputError: it is neither None nor an integer of 0 or more.
    """
    if budget is None:
        return None
    if isinstance(budget, Integral) and not isinstance(budget, bool) and budget >= 0:
        return int(budget)
    raise InputError(f"`budget` must be an integer of 0 or more, or None, got {shown(budget)}")


def passages_of(item: object) -> tuple[Passage, ...]:
    """Return the passages of an item of a batch that failed; none when they are the fault."""
    try:
        return checked("", item[1], None).passages  # type: ignore[index]
    except (InputError, LookupError, TypeError):
        return ()
