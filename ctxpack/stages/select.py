"""The step that chooses what is worth its tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from ctxpack.packing import cost_of, pack
from ctxpack.selection import BoolArray, Selection
from ctxpack.stages.base import Call, Stage, by_passage


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
        if self.unit == "passage":
            selection = replace(selection, whole_passages=True)
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
            taken = pack(by_passage(problem, selection))[selection.passage_of]
        return selection.drop(~taken, stage=self.name, reason="over_budget")

    def _below_min_utility(self, selection: Selection) -> BoolArray:
        """Return the (n_spans,) bool mask of spans of units with too low a score."""
        if selection.span_scores is None or selection.passage_scores is None:
            return np.zeros_like(selection.kept)
        if self.unit == "span":
            return (selection.span_scores < self.min_utility) & ~selection.is_frame
        low: BoolArray = selection.passage_scores < self.min_utility
        return low[selection.passage_of]
