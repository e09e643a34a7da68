"""The best mask that can be found in time."""

from __future__ import annotations

from ctxpack.packing.exact import exact
from ctxpack.packing.greedy import greedy
from ctxpack.packing.problem import PackingProblem, cost_of
from ctxpack.selection import BoolArray


def pack(problem: PackingProblem, *, exact_limit: int = 8_000_000) -> BoolArray:
    """Return the mask of `exact` if that takes at most `exact_limit` steps, else of `greedy`.

    When the forced spans alone cost more than the budget, the result is those, with cheap gaps
    filled, and costs `forced_cost`; whether that is an error is for the caller to decide.

    Args:
        problem: what to pack.
        exact_limit: most spans times tokens for `exact`, which takes 3 bytes for each.
    """
    tokens = min(problem.budget, cost_of(problem, problem.allowed))
    solve = exact if len(problem.cost) * tokens <= exact_limit else greedy
    return solve(problem)
