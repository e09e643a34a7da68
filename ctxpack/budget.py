"""The budget law: what a call returns never has more tokens than its budget."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ctxpack.errors import BudgetError
from ctxpack.packing import shed
from ctxpack.render import Rendered
from ctxpack.selection import BoolArray, Selection
from ctxpack.stages.base import Call, by_passage

STAGE = "budget"
"""Stage name in the drop records of spans that the final count leaves no room for."""


class Fitted(NamedTuple):
    """A selection whose text fits the budget, that text, and its tokens."""

    selection: Selection
    rendered: Rendered
    token_count: int


def fit(selection: Selection, call: Call) -> Fitted:
    """Return the selection cut until the tokens of its rendered text are within the budget.

    The stages plan with counts of single spans, which need not add up to the count of the whole;
    here the whole is counted. Gaps that are cheaper to fill than to mark are filled. What does not
    fit is dropped, lowest utility first, in closures.

    Raises:
        BudgetError: the pinned spans alone do not fit and the call says ``pin_overflow: raise``.
    """
    fitted = _write(fill_gaps(selection, call), call)
    if call.budget is None:
        return fitted
    surplus = 0
    while fitted.token_count > call.budget:
        # Planned and true savings differ; a surplus that doubles keeps the rounds few.
        saving = fitted.token_count - call.budget + surplus
        fitted = _write(_cut(fitted.selection, call, call.budget, saving), call)
        surplus = max(1, 2 * surplus)
    if surplus == 0:
        return fitted
    # Not inside the loop: what a round cuts, filling may bring back, and the rounds would not end.
    filled = _write(fill_gaps(fitted.selection, call), call)
    return filled if filled.token_count <= call.budget else fitted


def _write(selection: Selection, call: Call) -> Fitted:
    rendered = call.renderer.write(selection)
    # No text has no tokens, even by a counter that adds marks of its own to every text.
    token_count = call.counter.count(rendered.text) if rendered.text else 0
    return Fitted(selection, rendered, token_count)


def _cut(selection: Selection, call: Call, budget: int, saving: int) -> Selection:
    kept = _shed(selection, call, budget, saving)
    if (kept == selection.kept).all():
        if call.pin_overflow == "raise":
            need = call.counter.count(call.renderer.write(selection).text)
            raise BudgetError(f"`budget` is {budget} but the pinned spans need {need} tokens")
        call.notes.append("pins_dropped")
        selection = selection.unpin()
        kept = _shed(selection, call, budget, saving)
    return selection.drop(~kept, stage=STAGE, reason="over_budget")


def _shed(selection: Selection, call: Call, budget: int, saving: int) -> BoolArray:
    """Return the (n_spans,) mask of what stays when `saving` planned tokens go."""
    problem, kept = call.problem(selection, budget), selection.kept
    if not selection.whole_passages:
        return shed(problem, kept, saving)
    alive = np.zeros(len(selection.passages), dtype=np.bool_)
    alive[selection.passage_of[kept]] = True
    stays: BoolArray = shed(by_passage(problem, selection), alive, saving)[selection.passage_of]
    return stays & kept


def fill_gaps(selection: Selection, call: Call) -> Selection:
    """Return the selection with every gap filled that has no more tokens than its mark.

    Text that was dropped as a duplicate stays out.
    """
    if not call.renderer.gap:
        return selection
    count, mark = call.counter.count, call.counter.count(call.renderer.gap_text)
    fillers = np.zeros_like(selection.kept)
    kept = np.flatnonzero(selection.kept).tolist()
    for before, after in pairwise(kept):
        # A token is rarely longer than 16 characters, so a long gap need not be counted.
        start, end = selection.spans[before].end, selection.spans[after].start
        if 0 < end - start <= 16 * mark and _may_fill(selection, before + 1, after):
            passage = selection.passages[int(selection.passage_of[before])]
            fillers[before + 1 : after] = count(passage.text[start:end].rstrip(" ")) <= mark
    return selection.restore(fillers) if fillers.any() else selection


def _may_fill(selection: Selection, begin: int, end: int) -> bool:
    """Return whether spans ``begin:end`` are of one passage, no duplicates, and need no others."""
    if selection.passage_of[begin - 1] != selection.passage_of[end]:
        return False
    reasons = (selection.drops[number] for number in selection.drop_of[begin:end].tolist())
    required = selection.parents[begin:end]
    outside = required[(required >= 0) & (required < begin)]
    return bool(selection.kept[outside].all()) and all(why.merged_into is None for why in reasons)
