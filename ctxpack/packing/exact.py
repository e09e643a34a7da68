"""The best mask under the budget, by dynamic programming over the forest of required spans."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ctxpack.packing.problem import PackingProblem, cost_of, fill_gaps
from ctxpack.selection import BoolArray, IntArray

_NONE_KEPT, _AFTER_GAP, _AFTER_KEPT = range(3)
"""States before a span: nothing of its passage is kept yet, something is but not the span just
before, the span just before is kept."""


def exact(problem: PackingProblem) -> BoolArray:
    """Return the (n,) bool mask of the most utility that costs no more than the budget.

    The "left-right" dynamic programme for tree knapsacks (Johnson and Niemi 1983, "On knapsacks,
    partitions, and a new dynamic programming technique for trees", Mathematics of Operations
    Research 8(1)): spans are decided in document order, and dropping one jumps past all that
    require it, so that a kept span has what it requires. With `c` tokens left before span `i`::

        best(i, state, c) = max(best(end[i], dropped(state), c),
                                utility[i] + best(i + 1, AFTER_KEPT, c - price(i, state)))

    where the price depends on the state by the passage's cost or a gap mark. O(n * budget) time,
    3 bytes for each span and token of the budget.

    Of masks with equal utility (as float64 sums from the last span to the first) the cheapest
    wins, and of those the one that keeps the earliest span in which they differ; spans without
    utility are then left out, except where they fill a gap at no more than the cost of its mark.
    When the forced spans alone cost more than the budget, the result is those, with cheap gaps
    filled (see `forced_cost`).
    """
    # Keeping all that is allowed is worth the most, so the best mask never costs more than that.
    budget = min(problem.budget, cost_of(problem, problem.allowed))
    prices = problem.cost[:, np.newaxis] + np.zeros(3, dtype=np.int64)
    prices[:, _NONE_KEPT] += problem.passage_cost[problem.passage]
    prices[:, _AFTER_GAP] += problem.gap_cost
    best, keeps = _solve(problem, prices, budget)
    if np.isneginf(best[-1]):
        return fill_gaps(problem, problem.forced)
    return fill_gaps(problem, _trace(problem, prices, keeps, left=int(best.argmax())))


def _solve(
    problem: PackingProblem, prices: IntArray, budget: int
) -> tuple[NDArray[np.float64], BoolArray]:
    """Return the best utility for each number of tokens, and the decisions that lead there.

    Args:
        problem: what to pack, in at most `budget` tokens.
        prices: (n, 3) int64, tokens to keep each span in each state.
        budget: in tokens.

    Returns:
        (budget + 1,) float64, -inf where the forced spans do not fit; and (n, 3, budget + 1) bool,
        whether to keep a span, by the state before it and the tokens left.
    """
    n, width = len(problem.cost), budget + 1
    keeps = np.zeros((n, 3, width), dtype=np.bool_)
    # `after` is the utility once a span is kept, by the tokens then left. Read from `padded` a
    # price further left, it is by the tokens left before, with -inf where they do not suffice.
    padded = np.full(2 * width, -np.inf)
    never, after = padded[:width], padded[width:]
    starts = (width - np.minimum(prices, width)).tolist()
    end, opens = problem.end.tolist(), problem.opens.tolist()
    utility = problem.utility.tolist()
    outer_end = np.where(problem.parent < 0, n, problem.end[problem.parent]).tolist()
    rows = {n: [np.zeros(width)] * 3}
    for span in range(n - 1, -1, -1):
        none_kept, after_gap, _ = [never] * 3 if problem.forced[span] else rows[end[span]]
        row = [none_kept, after_gap, after_gap]
        if problem.allowed[span]:
            np.add(rows[span + 1][_AFTER_KEPT], utility[span], out=after)
            is_better = np.greater_equal if utility[span] > 0 else np.greater
            for state in range(1 if opens[span] else 3):
                kept = padded[starts[span][state] :][:width]
                is_better(kept, row[state], out=keeps[span, state])
                row[state] = np.maximum(kept, row[state])
        # Rows that no earlier span leads to are removed, so that few are alive at a time.
        if end[span] != outer_end[span]:
            del rows[end[span]]
        if end[span] != span + 1:
            del rows[span + 1]
        rows[span] = [row[_NONE_KEPT]] * 3 if opens[span] else row
    return rows[0][_NONE_KEPT], keeps


def _trace(problem: PackingProblem, prices: IntArray, keeps: BoolArray, *, left: int) -> BoolArray:
    """Return the (n,) bool mask that the decisions lead to with `left` tokens."""
    mask = np.zeros(len(problem.cost), dtype=np.bool_)
    span, state = 0, _NONE_KEPT
    while span < len(mask):
        if problem.opens[span]:
            state = _NONE_KEPT
        if keeps[span, state, left]:
            mask[span] = True
            left -= int(prices[span, state])
            span, state = span + 1, _AFTER_KEPT
        else:
            span, state = int(problem.end[span]), min(state, _AFTER_GAP)
    return mask
