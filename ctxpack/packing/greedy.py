"""A good mask under the budget, for inputs that are too large for `exact`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ctxpack.packing.ledger import Ledger
from ctxpack.packing.problem import PackingProblem, cost_of, fill_gaps
from ctxpack.selection import BoolArray

_SLACK = 0.01
"""Share of the budget that a price may leave unspent: 0.002 and 0.01 gave the same utility on
random problems of 1,000 spans, 0.02 up to 0.5 % less."""


def greedy(problem: PackingProblem) -> BoolArray:
    """Return a (n,) bool mask of much utility that costs no more than the budget.

    The greedy rule for knapsacks, to keep what has the most utility per token, ranks spans alone,
    but a span is cheaper when its passage, what it requires or its neighbour is kept. So the rule
    is turned around: at a price per token, keep what is worth its price, which dynamic programming
    finds exactly with all shared costs (Lagrangian relaxation); then look for the lowest price at
    which that fits, and spend what is left on the most useful spans that still fit.

    When one closure (a span and what it requires) is worth more than all that was chosen, closures
    are taken by utility alone instead. Where no costs are shared the result is thus worth at least
    half the best (Kellerer, Pferschy and Pisinger 2004, "Knapsack Problems", section 2.5).

    About ten passes over the spans. Ties go to earlier spans. When the forced spans alone cost
    more than the budget, the result is those, with cheap gaps filled (see `forced_cost`).
    """
    start = fill_gaps(problem, problem.forced)
    left = problem.budget - cost_of(problem, start)
    if left < 0:
        return start
    # One more span saves one gap mark at the most, so these fit in no mask; without them the price
    # need not rise until it keeps them out.
    too_dear = ~start & (problem.cost - problem.gap_cost > left)
    problem = replace(problem, excluded=problem.excluded | too_dear)
    chosen = _top_up(problem, _at_fitting_price(problem, start))
    single = problem.utility[problem.allowed & ~start].max(initial=0.0)
    if _utility(problem, chosen) - _utility(problem, start) < single:
        singly = _top_up(problem, start, by_density=False)
        return max(chosen, singly, key=lambda mask: _utility(problem, mask))
    return chosen


def _at_fitting_price(problem: PackingProblem, low: BoolArray) -> BoolArray:
    """Return what is worth its price, at about the lowest price at which that fits the budget.

    The search keeps two masks, one that fits and a dearer one that does not, and tries the price
    at which both are worth the same: a better mask at that price replaces one of them, and if
    there is none, there is nothing left to find.

    Args:
        problem: whose budget allows `low`.
        low: (n,) bool, the cheapest mask.
    """
    high = _at_price(problem, 0.0)
    low_cost, high_cost = cost_of(problem, low), cost_of(problem, high)
    if high_cost <= problem.budget:
        return high
    while problem.budget - low_cost > _SLACK * problem.budget:
        worth = _utility(problem, high) - _utility(problem, low)
        mask = _at_price(problem, worth / (high_cost - low_cost))
        cost = cost_of(problem, mask)
        if not low_cost < cost < high_cost:
            break
        if cost <= problem.budget:
            low, low_cost = mask, cost
        else:
            high, high_cost = mask, cost
    return low


def _at_price(problem: PackingProblem, price: float) -> BoolArray:
    """Return the (n,) mask of the most utility less `price` >= 0 per token, whatever it costs.

    The recursion of `exact` without the capacity; the state is in the name of the list.
    """
    n = len(problem.cost)
    # A forced span's way past it leads to a value of -inf.
    skip = np.where(problem.forced, n + 1, problem.end).tolist()
    worth = np.where(problem.allowed, problem.utility - price * problem.cost, -np.inf).tolist()
    toll = (price * problem.passage_cost[problem.passage]).tolist()
    opens, mark = problem.opens.tolist(), price * problem.gap_cost
    none_kept = [0.0] * (n + 1) + [-np.inf]
    after_gap, after_kept = none_kept.copy(), none_kept.copy()
    for span in range(n - 1, -1, -1):
        # Conditions, because a call of `max` takes several times as long.
        value, past = worth[span] + after_kept[span + 1], skip[span]
        first, other = value - toll[span], none_kept[past]
        none_kept[span] = best = first if first > other else other
        if opens[span]:
            after_gap[span] = after_kept[span] = best
            continue
        apart, other = value - mark, after_gap[past]
        after_gap[span] = apart if apart > other else other
        after_kept[span] = value if value > other else other
    mask, span, state = [False] * n, 0, none_kept
    while span < n:
        if opens[span]:
            state = none_kept
        dropped = none_kept if state is none_kept else after_gap
        if state[span] > dropped[skip[span]]:
            mask[span], span, state = True, span + 1, after_kept
        else:
            span, state = skip[span], dropped
    return np.array(mask, dtype=np.bool_)


def _top_up(problem: PackingProblem, mask: BoolArray, *, by_density: bool = True) -> BoolArray:
    """Return `mask` (n,) with the closures that still fit the budget, most useful first.

    Args:
        problem: whose budget allows `mask`.
        mask: (n,) bool, where to start.
        by_density: whether the most useful has the most utility per token that it would add to
            `mask`, or just the most utility.
    """
    mask = fill_gaps(problem, mask)
    left = problem.budget - cost_of(problem, mask)
    ledger = Ledger(problem, mask)
    # As in `greedy`: the others cannot fit.
    may_fit = problem.allowed & ~mask & (problem.utility > 0)
    may_fit &= problem.cost - problem.gap_cost <= left
    spans = np.flatnonzero(may_fit)
    rank = problem.utility[spans]
    if by_density:
        prices = [ledger.price(ledger.missing(span)) for span in spans.tolist()]
        rank = rank / np.maximum(prices, 1)
    for span in spans[np.argsort(-rank, kind="stable")].tolist():
        closure = ledger.missing(span)
        price = ledger.keep(closure)
        if price <= left:
            left -= price
        else:
            ledger.drop(closure)
    return fill_gaps(problem, ledger.mask)


def _utility(problem: PackingProblem, mask: BoolArray) -> float:
    return float(problem.utility[mask].sum())
