"""What a stage is: a frozen set of options with one hook that changes a selection."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from ctxpack.errors import ContractError, shown
from ctxpack.packing import PackingProblem
from ctxpack.render import Renderer
from ctxpack.scoring.base import ConfiguredScorer, Scorer
from ctxpack.selection import FloatArray, Selection
from ctxpack.tokens import TokenCounter

PinOverflow = Literal["raise", "degrade"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """What one call of the pipeline gives to every stage.

    Args:
        counter: counts tokens.
        renderer: writes a selection as text.
        scorer: the pipeline's scorer.
        budget: most tokens the output may have; None for no limit.
        pin_overflow: what to do when the pinned spans alone do not fit the budget.
        expires_at: `time.perf_counter` seconds after which the call is cut short; None for never.
        notes: facts for the report, such as a changed mark; stages append to it.
        others: scorers that options of stages name → the same behind queue and cache, or the
            lexical scorer if they do not know the language of the call.
        rescored_by: names of those of them that have changed scores; stages append to it.
        words: the scores of `blend.by_words`, once a stage has asked for them.
    """

    counter: TokenCounter
    renderer: Renderer
    scorer: Scorer
    budget: int | None = None
    pin_overflow: PinOverflow = "raise"
    expires_at: float | None = None
    notes: list[str] = field(default_factory=list)
    others: Mapping[ConfiguredScorer, Scorer] = field(default_factory=dict)
    rescored_by: list[str] = field(default_factory=list)
    words: list[FloatArray] = field(default_factory=list)

    def expired(self) -> bool:
        """Return whether the deadline has passed; the first time that it has, note it."""
        late = self.expires_at is not None and time.perf_counter() >= self.expires_at
        if late and "deadline" not in self.notes:
            self.notes.append("deadline")
        return late

    def problem(self, selection: Selection, budget: int) -> PackingProblem:
        """Return the packing problem of the kept spans, with planned costs.

        A span's utility is its score, that of a frame 0. Unscored spans are worth less the later
        they stand in the output, so that a cut keeps the beginning.

        Args:
            selection: spans that are not kept are excluded from the problem.
            budget: in tokens.
        """
        n_spans, kept = len(selection.spans), np.flatnonzero(selection.kept).tolist()
        cost = np.zeros(n_spans, dtype=np.int64)
        # A space at the end joins the word after it, and costs nothing of its own.
        texts = [selection.text_of(number).rstrip(" ") for number in kept]
        cost[kept] = self.counter.count_many(texts)
        passage_cost = np.zeros(len(selection.passages), dtype=np.int64)
        for index in selection.kept_passages():
            passage_cost[index] = self.renderer.frame_cost(index, self.counter.count)
        if selection.span_scores is not None:
            utility = selection.span_scores.astype(np.float64)
        else:
            rank_of_passage = np.argsort(selection.order)
            in_output = np.argsort(rank_of_passage[selection.passage_of], kind="stable")
            utility = np.empty(n_spans)
            utility[in_output] = np.linspace(1.0, 0.0, n_spans, endpoint=False)
        utility[selection.is_frame] = 0.0
        return PackingProblem(
            utility=utility,
            cost=cost,
            parent=selection.parents,
            passage=selection.passage_of,
            passage_cost=passage_cost,
            gap_cost=self.counter.count(self.renderer.gap_text),
            forced=selection.pinned,
            excluded=~selection.kept,
            # Every passage's cost holds a separator, but the first one in the output has none.
            budget=max(0, budget + self.renderer.separator_cost(self.counter.count)),
        )


def by_passage(problem: PackingProblem, selection: Selection) -> PackingProblem:
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


class Stage(BaseModel, ABC):
    """One step of a recipe: options from YAML, and one hook, `_apply`.

    A stage holds no state between calls, so one instance serves many threads. An option that is a
    `ConfiguredScorer`, with a default, is written as a recipe's `scorer` is.

    Attributes:
        name: what a recipe calls the stage.
        value_option: the option that ``name: value`` sets; None when the stage has no such form.
        needs_scores: whether a ``score`` step must come before.
        restores: whether the stage may bring back spans that an earlier stage dropped.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: ClassVar[str]
    value_option: ClassVar[str | None] = None
    needs_scores: ClassVar[bool] = False
    restores: ClassVar[bool] = False

    def __call__(self, selection: Selection, call: Call) -> Selection:
        """Return the changed selection.

        Raises:
            ContractError: the stage returned something else, replaced query, passages or spans, or
                brought back a dropped span without saying that it `restores`.
        """
        after = self._apply(selection, call)
        if not isinstance(after, Selection):
            raise ContractError(f"{self.name}: must return a selection, got {shown(after)}")
        for part in ("query", "passages", "spans", "first", "parents"):
            if getattr(after, part) is not getattr(selection, part):
                raise ContractError(f"{self.name}: a stage must not replace `{part}`")
        if not self.restores and (after.kept & ~selection.kept).any():
            raise ContractError(f"{self.name}: brought back a span but does not declare `restores`")
        return after

    def check(self, scorer: Scorer) -> None:
        """Check, when a recipe is read, what the options say of its scorer.

        Raises:
            ValueError: they do not fit it.
        """

    @abstractmethod
    def _apply(self, selection: Selection, call: Call) -> Selection:
        """Return the changed selection; inputs may not be written to."""
