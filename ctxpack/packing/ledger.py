"""A mask that knows what a change of it costs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ctxpack.packing.problem import PackingProblem
from ctxpack.selection import BoolArray


class Ledger:
    """A mask that changes span by span and returns the planned tokens of each change.

    The kept spans of a passage form ``r`` runs with ``r - 1`` gaps between them. So one more span
    changes the number of gaps by one less the number of its kept neighbours, and the first span of
    a passage pays no gap but what the passage costs. The sum is that of `cost_of`.

    Args:
        problem: whose costs count.
        mask: (n,) bool, where to start.
    """

    def __init__(self, problem: PackingProblem, mask: BoolArray) -> None:
        # Lists, because an element of an array takes several times as long to read. The last
        # element is no span; the first span and the last have it for a neighbour.
        self.kept: list[bool] = [*mask.tolist(), False]
        self._opens: list[bool] = [*problem.opens.tolist(), True]
        self._parent: list[int] = problem.parent.tolist()
        self._cost: list[int] = problem.cost.tolist()
        self._passage: list[int] = problem.passage.tolist()
        self._passage_cost: list[int] = problem.passage_cost.tolist()
        self._gap_cost = problem.gap_cost
        n_kept = np.bincount(problem.passage[mask], minlength=len(problem.passage_cost))
        self._n_kept: list[int] = n_kept.tolist()

    @property
    def mask(self) -> BoolArray:
        """(n,) bool, what is kept now."""
        return np.array(self.kept[:-1], dtype=np.bool_)

    def missing(self, span: int) -> list[int]:
        """Return a dropped span with the dropped ones that it requires, nearest first."""
        spans = [span]
        while (above := self._parent[spans[-1]]) >= 0 and not self.kept[above]:
            spans.append(above)
        return spans

    def keep(self, spans: Sequence[int]) -> int:
        """Keep dropped spans and return how many tokens that adds, which may be negative."""
        added = 0
        for span in spans:
            added += self._price(span)
            self.kept[span] = True
            self._n_kept[self._passage[span]] += 1
        return added

    def drop(self, spans: Sequence[int]) -> int:
        """Drop kept spans and return how many tokens that saves, which may be negative."""
        saved = 0
        for span in spans:
            self.kept[span] = False
            self._n_kept[self._passage[span]] -= 1
            saved += self._price(span)
        return saved

    def price(self, spans: Sequence[int]) -> int:
        """Return how many tokens it would add to keep dropped spans."""
        added = self.keep(spans)
        self.drop(spans)
        return added

    def _price(self, span: int) -> int:
        """Return how many tokens a dropped span would add."""
        passage = self._passage[span]
        if self._n_kept[passage] == 0:
            return self._cost[span] + self._passage_cost[passage]
        before = self.kept[span - 1] and not self._opens[span]
        after = self.kept[span + 1] and not self._opens[span + 1]
        return self._cost[span] + self._gap_cost * (1 - before - after)
