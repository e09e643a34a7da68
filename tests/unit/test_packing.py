from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ctxpack.errors import ContractError
from ctxpack.packing import (
    PackingProblem,
    cost_of,
    exact,
    fill_gaps,
    forced_cost,
    greedy,
    pack,
    shed,
)
from ctxpack.selection import BoolArray, IntArray

SOLVERS = pytest.mark.parametrize("solve", [exact, greedy])
Solver = Callable[[PackingProblem], BoolArray]


def problem(
    utility: list[float],
    cost: list[int],
    *,
    parent: list[int] | None = None,
    passage: list[int] | None = None,
    passage_cost: list[int] | None = None,
    gap_cost: int = 0,
    forced: tuple[int, ...] = (),
    excluded: tuple[int, ...] = (),
    budget: int = 100,
) -> PackingProblem:
    """Return a problem from lists; by default the spans of one passage, without shared costs."""
    numbers = np.arange(len(cost))
    return PackingProblem(
        utility=np.array(utility, dtype=np.float64),
        cost=np.array(cost, dtype=np.int64),
        parent=np.array(parent or [-1] * len(cost), dtype=np.int64),
        passage=np.array(passage or [0] * len(cost), dtype=np.int64),
        passage_cost=np.array(passage_cost or [0], dtype=np.int64),
        gap_cost=gap_cost,
        forced=np.isin(numbers, forced),
        excluded=np.isin(numbers, excluded),
        budget=budget,
    )


def kept(mask: BoolArray) -> list[int]:
    """Return the numbers of the spans in a mask: ``[True, False, True]`` → ``[0, 2]``."""
    return np.flatnonzero(mask).tolist()


def random_problem(seed: int, *, most_spans: int = 12, plain: bool = False) -> PackingProblem:
    """Return a problem with all features, or one without shared costs when `plain`.

    Utilities are multiples of 1/8, so that their sums are exact.
    """
    rng = np.random.default_rng(seed)
    n = int(rng.integers(most_spans + 1))
    passage = np.cumsum(rng.random(n) < rng.choice([0.1, 0.3])).tolist()
    parent, forced, excluded = [-1] * n, set[int](), set[int]()
    for span in range(n):
        path = [span - 1] if span and passage[span] == passage[span - 1] and not plain else [-1]
        while path[-1] >= 0:
            path.append(parent[path[-1]])
        parent[span] = int(rng.choice([-1, *path]))
        if plain:
            continue
        if parent[span] in excluded or rng.random() < 0.1:
            excluded.add(span)
        elif rng.random() < 0.1:
            forced.update({span, *path[path.index(parent[span]) : -1]})
    utility = rng.integers(0, 17, n) / 8
    utility[[above for above in parent if above >= 0 and above % 2]] = 0.0
    return problem(
        utility.tolist(),
        rng.integers(0, 9, n).tolist(),
        parent=parent,
        passage=passage,
        passage_cost=(rng.integers(0, 6, n + 1) * (not plain)).tolist(),
        gap_cost=0 if plain else int(rng.integers(6)),
        forced=tuple(forced),
        excluded=tuple(excluded),
        budget=int(rng.integers(50)),
    )


SEEDS = st.integers(0, 2**32 - 1)
PROBLEMS = SEEDS.map(random_problem)
LARGER_PROBLEMS = SEEDS.map(lambda seed: random_problem(seed, most_spans=40))
PLAIN_PROBLEMS = SEEDS.map(lambda seed: random_problem(seed, most_spans=40, plain=True))


def all_masks(packing: PackingProblem) -> BoolArray:
    """Return all (2**n, n) masks."""
    n = len(packing.cost)
    return (np.arange(2**n)[:, np.newaxis] >> np.arange(n) & 1).astype(np.bool_)


def costs(packing: PackingProblem, masks: BoolArray) -> IntArray:
    """Return the costs of (m, n) masks, summed span by span as the definition says it."""
    total, last = np.zeros(len(masks), dtype=np.int64), np.full(len(masks), -1)
    for span, passage in enumerate(packing.passage):
        same = (last >= 0) & (packing.passage[last] == passage)
        gap = packing.gap_cost * (last != span - 1)
        price = packing.cost[span] + np.where(same, gap, packing.passage_cost[passage])
        total += price * masks[:, span]
        last = np.where(masks[:, span], span, last)
    return total


def valid(packing: PackingProblem, masks: BoolArray) -> BoolArray:
    """Return which of (m, n) masks keep every rule but the budget."""
    good: BoolArray = masks[:, packing.forced].all(axis=1) & ~masks[:, packing.excluded].any(axis=1)
    for span, parent in enumerate(packing.parent):
        dependents = masks[:, packing.parent == span]
        if parent >= 0:
            good &= masks[:, parent] | ~masks[:, span]
        if dependents.size and not packing.forced[span] and not packing.utility[span]:
            good &= dependents.any(axis=1) | ~masks[:, span]
    return good


def utilities(packing: PackingProblem, masks: BoolArray) -> NDArray[np.float64]:
    """Return the utilities of (m, n) masks."""
    return np.where(masks, packing.utility, 0.0).sum(axis=1)


def best_by_trying_all(packing: PackingProblem) -> tuple[float, int] | None:
    """Return the utility and the cost of the best of all masks, None when none fits."""
    masks = all_masks(packing)
    masks = masks[valid(packing, masks) & (costs(packing, masks) <= packing.budget)]
    found = zip(utilities(packing, masks), -costs(packing, masks), strict=True)
    utility, cost = max(found, default=(None, 0))
    return None if utility is None else (utility, -cost)


def utility_of(packing: PackingProblem, mask: BoolArray) -> float:
    """Return the utility of one mask."""
    return float(utilities(packing, mask[np.newaxis])[0])


def is_filled(packing: PackingProblem, mask: BoolArray) -> bool:
    """Return whether each gap without an excluded span costs less than what would fill it."""
    for left, right in pairwise(kept(mask)):
        if packing.passage[left] == packing.passage[right] and right > left + 1:
            inside = slice(left + 1, right)
            cheap = packing.cost[inside].sum() <= packing.gap_cost
            if cheap and not packing.excluded[inside].any():
                return False
    return True


@settings(max_examples=300, deadline=None)
@given(PROBLEMS)
def test_exact_is_the_best_of_all_masks(packing: PackingProblem) -> None:
    """Of all masks that keep the rules and fit, exact finds the utility and least cost of one."""
    best = best_by_trying_all(packing)
    mask = exact(packing)
    if best is None:
        assert (mask == fill_gaps(packing, packing.forced)).all()
    else:
        assert (utility_of(packing, mask), cost_of(packing, mask)) == best


@SOLVERS
@settings(max_examples=100, deadline=None)
@given(packing=LARGER_PROBLEMS)
def test_a_result_keeps_the_rules_and_the_budget(solve: Solver, packing: PackingProblem) -> None:
    """Forced is in, excluded out, required spans go with dependents, cheap gaps are filled."""
    mask = solve(packing)
    assert valid(packing, mask[np.newaxis]).all()
    assert is_filled(packing, mask)
    assert cost_of(packing, mask) <= max(packing.budget, forced_cost(packing))
    assert (solve(packing) == mask).all()


@settings(max_examples=100, deadline=None)
@given(LARGER_PROBLEMS, st.integers(0, 20))
def test_exact_gains_from_a_larger_budget(packing: PackingProblem, more: int) -> None:
    """A larger budget never has less utility."""
    assume(forced_cost(packing) <= packing.budget)
    larger = replace(packing, budget=packing.budget + more)
    assert utility_of(packing, exact(larger)) >= utility_of(packing, exact(packing))


@settings(max_examples=100, deadline=None)
@given(LARGER_PROBLEMS)
def test_greedy_is_not_better_than_exact(packing: PackingProblem) -> None:
    """Where the forced spans fit, exact has at least the utility of greedy."""
    assume(forced_cost(packing) <= packing.budget)
    assert utility_of(packing, greedy(packing)) <= utility_of(packing, exact(packing))


@settings(max_examples=100, deadline=None)
@given(PLAIN_PROBLEMS)
def test_greedy_has_half_the_best_where_no_costs_are_shared(packing: PackingProblem) -> None:
    """On plain knapsacks greedy has at least half the utility of exact."""
    assert 2 * utility_of(packing, greedy(packing)) >= utility_of(packing, exact(packing))


@settings(max_examples=100, deadline=None)
@given(PROBLEMS, SEEDS)
def test_cost_adds_spans_passages_and_gaps(packing: PackingProblem, seed: int) -> None:
    """The cost of any mask is that of its definition, summed span by span."""
    mask = np.random.default_rng(seed).random(len(packing.cost)) < 0.5
    assert cost_of(packing, mask) == costs(packing, mask[np.newaxis])[0]


@settings(max_examples=100, deadline=None)
@given(PROBLEMS)
def test_forced_cost_is_the_least_of_all_masks(packing: PackingProblem) -> None:
    """A budget of the forced cost is enough for some mask, and one token less is not."""
    need = forced_cost(packing)
    assert best_by_trying_all(replace(packing, budget=need)) is not None
    assert need == 0 or best_by_trying_all(replace(packing, budget=need - 1)) is None


@settings(max_examples=100, deadline=None)
@given(LARGER_PROBLEMS, st.integers(1, 30))
def test_shed_saves_the_excess_or_all_that_may_go(packing: PackingProblem, excess: int) -> None:
    """Shed drops at least one span, saves enough or leaves what is forced, and orphans none."""
    mask = exact(replace(packing, budget=60))
    rest = shed(packing, mask, excess)
    stays = fill_gaps(packing, packing.forced)
    assert valid(packing, rest[np.newaxis]).all()
    assert not (rest & ~mask).any()
    assert (rest != mask).any() or (mask == stays).all()
    saved = cost_of(packing, mask) - cost_of(packing, rest)
    assert saved >= excess or (rest == stays).all()


@SOLVERS
def test_the_cheaper_of_equals_wins(solve: Solver) -> None:
    """Of two masks with one utility, the cheaper is taken."""
    assert kept(solve(problem([0.5, 0.5], [7, 6], budget=7))) == [1]


@SOLVERS
def test_the_earlier_of_equals_wins(solve: Solver) -> None:
    """Of two masks with one utility and one cost, the one with the earlier span is taken."""
    assert kept(solve(problem([0.5, 0.5, 0.5], [4, 4, 4], budget=8))) == [0, 1]


@SOLVERS
def test_a_frame_is_not_kept_alone(solve: Solver) -> None:
    """A required span without utility is left out when its dependent does not fit."""
    packing = problem([0.0, 1.0, 0.1], [1, 9, 1], parent=[-1, 0, -1], budget=5)
    assert kept(solve(packing)) == [2]


@SOLVERS
def test_a_required_span_with_utility_stands_alone(solve: Solver) -> None:
    """A required span that is worth something is kept without those that require it."""
    packing = problem([0.5, 1.0, 0.1], [1, 9, 1], parent=[-1, 0, -1], budget=5)
    assert kept(solve(packing)) == [0, 2]


@SOLVERS
def test_an_excluded_span_takes_its_dependents_with_it(solve: Solver) -> None:
    """What requires an excluded span is left out, directly or not."""
    packing = problem([0.0, 0.0, 1.0, 1.0], [1, 1, 1, 1], parent=[-1, 0, 1, -1], excluded=(0,))
    assert kept(solve(packing)) == [3]


@SOLVERS
def test_a_passage_is_paid_once(solve: Solver) -> None:
    """Two spans of one passage are taken before a more useful one, for its passage costs more."""
    packing = problem(
        [0.6, 0.5, 0.5], [5, 5, 5], passage=[0, 1, 1], passage_cost=[10, 5], budget=15
    )
    assert kept(solve(packing)) == [1, 2]


@SOLVERS
def test_a_gap_is_filled_at_the_cost_of_its_mark(solve: Solver) -> None:
    """A span without utility is kept where leaving it out costs as much."""
    assert kept(solve(problem([1.0, 0.0, 1.0], [5, 2, 5], gap_cost=2, budget=12))) == [0, 1, 2]


@SOLVERS
def test_a_gap_with_an_excluded_span_is_marked(solve: Solver) -> None:
    """An excluded span fills no gap."""
    packing = problem([1.0, 0.0, 1.0], [5, 1, 5], gap_cost=2, excluded=(1,))
    assert kept(solve(packing)) == [0, 2]


@SOLVERS
def test_forced_spans_that_do_not_fit_come_alone(solve: Solver) -> None:
    """When the forced spans cost more than the budget, they are the result."""
    packing = problem([0.1, 1.0, 0.1], [5, 1, 5], forced=(0, 2), budget=9)
    assert kept(solve(packing)) == [0, 2]
    assert forced_cost(packing) == 10


def test_greedy_is_not_misled_by_a_span_that_cannot_fit() -> None:
    """A dense span larger than the budget does not keep the price up for the others."""
    packing = problem(
        [50.0, 0.5, 0.5, 0.5, 0.5],
        [1000, 20, 5, 5, 5],
        passage=[0, 1, 2, 2, 2],
        passage_cost=[0, 0, 20],
        budget=40,
    )
    assert kept(greedy(packing)) == [2, 3, 4]


def test_greedy_takes_one_span_that_outweighs_all() -> None:
    """A span worth more than all denser ones together is taken instead of them."""
    assert kept(greedy(problem([0.2, 5.0], [1, 100], budget=100))) == [1]


def test_greedy_handles_many_equal_spans() -> None:
    """Spans of one density fill the budget before a large span of a lower one."""
    packing = problem([1.0] * 101 + [1.5], [1] * 101 + [100], budget=100)
    assert kept(greedy(packing)) == list(range(100))


def test_pack_is_exact_within_the_limit() -> None:
    """The limit on spans times tokens decides between exact and greedy."""
    packing = problem([0.2, 0.6, 0.6], [2, 5, 5], budget=10)
    assert kept(pack(packing)) == kept(exact(packing)) == [1, 2]
    assert kept(pack(packing, exact_limit=0)) == kept(greedy(packing))


def test_a_huge_budget_needs_no_memory() -> None:
    """What exact computes is bounded by the cost of all spans, not by the budget."""
    assert kept(pack(problem([1.0, 0.0, 1.0], [5, 5, 5], budget=10**15))) == [0, 2]


def test_shed_drops_the_least_useful_first() -> None:
    """Spans go by rising utility, later ones first, until enough is saved."""
    packing = problem([0.5, 0.1, 0.9, 0.1], [5, 5, 5, 5])
    everything = np.ones(4, dtype=np.bool_)
    assert kept(shed(packing, everything, 1)) == [0, 1, 2]
    assert kept(shed(packing, everything, 6)) == [0, 2]


def test_shed_drops_a_required_span_with_its_last_dependent() -> None:
    """A required span stays while a dependent is kept, and goes with the last one."""
    packing = problem([0.0, 0.1, 0.2, 0.9], [5, 5, 5, 5], parent=[-1, 0, 0, -1])
    everything = np.ones(4, dtype=np.bool_)
    assert kept(shed(packing, everything, 1)) == [0, 2, 3]
    assert kept(shed(packing, everything, 6)) == [3]


def test_shed_opens_no_gap_that_costs_as_much_as_it_saves() -> None:
    """A cheap span between kept ones stays while a dearer one can go."""
    packing = problem([0.9, 0.0, 0.5], [5, 2, 5], gap_cost=2)
    assert kept(shed(packing, np.ones(3, dtype=np.bool_), 1)) == [0, 1]


def test_shed_keeps_forced_spans() -> None:
    """Nothing is dropped when only forced spans and cheap fillers between them are left."""
    packing = problem([0.0, 0.0, 0.0], [5, 2, 5], gap_cost=2, forced=(0, 2))
    everything = np.ones(3, dtype=np.bool_)
    assert (shed(packing, everything, 1) == everything).all()


def test_shed_drops_nothing_without_excess() -> None:
    """An excess of 0 leaves the mask as it is."""
    assert kept(shed(problem([0.1], [5]), np.ones(1, dtype=np.bool_), 0)) == [0]


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"utility": [-1.0, 0.0, 0.0]}, "`utility` must be finite"),
        ({"utility": [np.nan, 0.0, 0.0]}, "`utility` must be finite"),
        ({"utility": [0.0, 0.0]}, "`utility` must be"),
        ({"cost": [1, -1, 1]}, "`cost` must be >= 0"),
        ({"gap_cost": -1}, "`gap_cost` must be >= 0"),
        ({"budget": -1}, "`budget` must be >= 0"),
        ({"parent": [0, -1, -1]}, "must be -1 or an earlier span"),
        ({"parent": [-1, -1, 0]}, "without a break"),
        ({"passage": [1, 0, 0], "passage_cost": [0, 0]}, "must not fall"),
        ({"passage": [0, 0, 1]}, "must be an index into `passage_cost`"),
        ({"parent": [-1, 0, -1], "passage": [0, 1, 1], "passage_cost": [0, 0]}, "in one passage"),
        ({"parent": [-1, 0, -1], "forced": (1,)}, "must be forced"),
        ({"parent": [-1, 0, -1], "forced": (0, 1), "excluded": (0,)}, "must not be excluded"),
    ],
)
def test_a_broken_problem_is_refused(change: dict[str, object], rule: str) -> None:
    """A problem that breaks a rule raises a ContractError that says which."""
    fields = {"utility": [0.1, 0.2, 0.3], "cost": [1, 1, 1], **change}
    with pytest.raises(ContractError, match=rule):
        problem(**fields)  # type: ignore[arg-type]
