"""The step that chooses what is worth its tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from ctxpack.packing import PackingProblem, cost_of, pack
from ctxpack.selection import BoolArray, Selection
from ctxpack.stages.base import Call, Stage


class Select(Stage):
    """Keep the spans, or whole passages, of the highest total score that fit the call's budget.

    Fitting is planned with the tokens of single spans, frames and gap marks; the count of the
    final text decides later. When everything kept so far fits, all of it stays. Pinned spans stay
    even if they alone do not fit. Before scoring, earlier spans are worth more than later ones.

    Args:
        unit: what is kept or dropped at a time: ``span``, the default, or ``passage``, which means
            all spans of it that are still kept.
        min_utility: drop units with a lower score, in [0, 1], even if the budget has room; 0, the
            default, drops none. A frame is not judged by its own score.

    Drops with reasons ``below_min_utility`` and ``over_budget``; never the latter without a budget.
    """

    name: ClassVar[str] = "select"
    value_option: ClassVar[str | None] = "unit"

    unit: Literal["span", "passage"] = "span"
    min_utility: float = Field(default=0.0, ge=0, le=1)

    def _apply(self, selection: Selection, call: Call) -> Selection:
        low = self._below_min_utility(selection)
        selection = selection.drop(low, stage=self.name, reason="below_min_utility")
        if call.budget is None:
            return selection
        problem = call.problem(selection, call.budget)
        if cost_of(problem, selection.kept) <= problem.budget:
            return selection
        if self.unit == "span":
            taken = pack(problem)
        else:
            taken = pack(_by_passage(problem, selection))[selection.passage_of]
        return selection.drop(~taken, stage=self.name, reason="over_budget")

    def _below_min_utility(self, selection: Selection) -> BoolArray:
        """Return the (n_spans,) bool mask of spans of units with too low a score."""
        if selection.span_scores is None or selection.passage_scores is None:
            return np.zeros_like(selection.kept)
        if self.unit == "span":
            return (selection.span_scores < self.min_utility) & ~selection.is_frame
        low: BoolArray = selection.passage_scores < self.min_utility
        return low[selection.passage_of]


def _by_passage(problem: PackingProblem, selection: Selection) -> PackingProblem:
    """Return `problem` with passages in place of spans.

    A passage is worth its score, unscored its best span; it costs its kept spans and their gaps.
    """
    n_passages = len(selection.passages)
    cost, utility = np.zeros(n_passages, dtype=np.int64), np.zeros(n_passages)
    forced = np.zeros(n_passages, dtype=np.bool_)
    kept = np.flatnonzero(selection.kept)
    owner = selection.passage_of[kept]
    np.add.at(cost, owner, problem.cost[kept])
    np.add.at(cost, owner[1:][(np.diff(owner) == 0) & (np.diff(kept) > 1)], problem.gap_cost)
    np.maximum.at(utility, owner, problem.utility[kept])
    if selection.passage_scores is not None:
        utility = selection.passage_scores.astype(np.float64)
    forced[selection.passage_of[selection.pinned]] = True
    return replace(
        problem,
        utility=utility,
        cost=cost,
        parent=np.full(n_passages, -1, dtype=np.int64),
        passage=np.arange(n_passages),
        forced=forced,
        excluded=np.zeros_like(forced),
    )
