"""What a packing problem is, and what a set of kept spans costs."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ctxpack.errors import ContractError
from ctxpack.selection import BoolArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class PackingProblem:
    """Which spans to keep, given what each is worth and what each costs.

    Spans are numbered in document order through several passages. A span is kept only with what it
    requires. A *frame* is a span without utility that others require: it is kept if and only if one
    of those is kept, or it is forced. An excluded span takes the spans that require it with it.

    Args:
        utility: (n,) float64, finite, >= 0.
        cost: (n,) int64, >= 0, planned tokens.
        parent: (n,) int64, number of the earlier span that each span requires, -1 for none. All
            spans that require a span, directly or not, follow it without a break.
        passage: (n,) int64, number of each span's passage, never falling.
        passage_cost: (n_passages,) int64, >= 0, tokens paid once for each passage that is not
            empty (header, separator).
        gap_cost: tokens, >= 0, of each mark for spans left out between two kept ones of a passage.
        forced: (n,) bool, spans that must be kept, with all they require.
        excluded: (n,) bool, spans that must not be kept.
        budget: most tokens, >= 0, that the kept spans may cost.

    Attributes:
        end: (n,) int64, one past the last span that requires each span, directly or not; the next
            span when there is none.
        allowed: (n,) bool, spans that are not excluded and require none that is.
        opens: (n,) bool, true for the first span of each passage.

    Raises:
        ContractError: an array has the wrong shape or dtype, or breaks a rule above.
    """

    utility: NDArray[np.float64]
    cost: IntArray
    parent: IntArray
    passage: IntArray
    passage_cost: IntArray
    gap_cost: int
    forced: BoolArray
    excluded: BoolArray
    budget: int
    end: IntArray = field(init=False, repr=False)
    allowed: BoolArray = field(init=False, repr=False)
    opens: BoolArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._check_values()
        end = _subtree_ends(self.parent)
        has_parent = self.parent >= 0
        required = np.zeros(len(self.cost), dtype=np.bool_)
        required[self.parent[has_parent]] = True
        allowed = ~self.excluded
        for span in np.flatnonzero(self.excluded & required):
            allowed[span : end[span]] = False
        object.__setattr__(self, "end", end)
        object.__setattr__(self, "allowed", allowed)
        object.__setattr__(self, "opens", np.diff(self.passage, prepend=-1) > 0)
        _require(
            (self.passage[has_parent] == self.passage[self.parent[has_parent]]).all(),
            "a span and its `parent` must lie in one passage",
        )
        _require(
            self.forced[self.parent[self.forced & has_parent]].all(),
            "the `parent` of a forced span must be forced",
        )
        _require(not (self.forced & ~allowed).any(), "a forced span must not be excluded")

    def _check_values(self) -> None:
        n, passage = len(self.cost), self.passage
        for name, dtype in (
            ("utility", np.float64),
            ("cost", np.int64),
            ("parent", np.int64),
            ("passage", np.int64),
            ("forced", np.bool_),
            ("excluded", np.bool_),
        ):
            array = getattr(self, name)
            _require(
                array.shape == (n,) and array.dtype == dtype,
                f"`{name}` must be ({n},) {dtype.__name__}, got {array.shape} {array.dtype}",
            )
        _require(
            (np.isfinite(self.utility) & (self.utility >= 0)).all(),
            "`utility` must be finite and >= 0",
        )
        for name in ("cost", "passage_cost", "gap_cost", "budget"):
            _require((np.asarray(getattr(self, name)) >= 0).all(), f"`{name}` must be >= 0")
        _require((np.diff(passage) >= 0).all(), "`passage` must not fall")
        _require(
            n == 0 or 0 <= passage[0] <= passage[-1] < len(self.passage_cost),
            "`passage` must be an index into `passage_cost`",
        )


def cost_of(problem: PackingProblem, mask: BoolArray) -> int:
    """Return the planned tokens of the spans in `mask` (n,): spans, passages and gap marks."""
    kept = np.flatnonzero(mask)
    passages = problem.passage[kept]
    same_passage = np.diff(passages) == 0
    gaps = np.count_nonzero(same_passage & (np.diff(kept) > 1))
    opened = passages[np.diff(passages, prepend=-1) > 0]
    tokens = problem.cost[kept].sum() + problem.passage_cost[opened].sum()
    return int(tokens) + problem.gap_cost * int(gaps)


def fill_gaps(problem: PackingProblem, mask: BoolArray) -> BoolArray:
    """Return `mask` (n,) with every gap filled whose spans cost no more than its mark.

    A gap that holds an excluded span stays. The result never costs more than `mask`. Where `mask`
    holds what its spans require, so does the result, without an orphan more: what a filler
    requires is in its gap or kept, and what requires a filler is in its gap.
    """
    filled = mask.copy()
    # An excluded span is dearer than any mark, so no gap that holds one is filled.
    price = np.where(problem.allowed, problem.cost, problem.gap_cost + 1)
    before = np.concatenate(([0], np.cumsum(price)))
    kept = np.flatnonzero(mask)
    cheap = before[kept[1:]] - before[kept[:-1] + 1] <= problem.gap_cost
    inside = np.diff(problem.passage[kept]) == 0
    for left in np.flatnonzero(cheap & inside & (np.diff(kept) > 1)):
        filled[kept[left] : kept[left + 1]] = True
    return filled


def forced_cost(problem: PackingProblem) -> int:
    """Return the least planned tokens of any mask that keeps the forced spans.

    More than the budget means that no mask fits: see `pack` for what then happens.
    """
    return cost_of(problem, fill_gaps(problem, problem.forced))


def _subtree_ends(parent: IntArray) -> IntArray:
    """Return where each span's dependents end: ``[-1, 0, 0, -1]`` → ``[3, 2, 3, 4]``."""
    n = len(parent)
    _require(
        ((parent >= -1) & (parent < np.arange(n))).all(), "`parent` must be -1 or an earlier span"
    )
    end, size = list(range(1, n + 1)), [1] * n
    for span, above in zip(range(n - 1, -1, -1), parent[::-1].tolist(), strict=True):
        if above >= 0:
            end[above] = max(end[above], end[span])
            size[above] += size[span]
    _require(
        end == [span + length for span, length in enumerate(size)],
        "the spans that require a span must follow it without a break",
    )
    return np.array(end, dtype=np.int64)


def _require(holds: bool | np.bool_, rule: str) -> None:
    if not holds:
        raise ContractError(f"PackingProblem: {rule}")
