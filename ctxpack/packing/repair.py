"""Which kept spans go first when a text turns out longer than planned."""

from __future__ import annotations

import heapq

import numpy as np

from ctxpack.packing.ledger import Ledger
from ctxpack.packing.problem import PackingProblem, fill_gaps
from ctxpack.selection import BoolArray


def shed(problem: PackingProblem, mask: BoolArray, excess: int) -> BoolArray:
    """Return `mask` (n,) without its least useful closures, `excess` planned tokens cheaper.

    A closure is a span with the frames that nothing else kept requires. Those of the least
    utility go first, later ones before earlier ones; one that would leave a gap mark no cheaper
    than itself waits until nothing else is left to drop.

    Forced spans stay, and so does what fills a gap between them at no more than the cost of its
    mark. The result is `mask` itself if `excess` is 0 or less, or if only those are left; otherwise
    at least one span goes, and when there is not enough to drop, all goes but those.
    """
    ledger, parent = Ledger(problem, mask), problem.parent.tolist()
    utility = problem.utility.tolist()
    stays = fill_gaps(problem, problem.forced).tolist()
    required = problem.parent[mask & (problem.parent >= 0)]
    n_dependents = np.bincount(required, minlength=len(parent)).tolist()
    ready: list[tuple[float, int]] = []
    waiting: list[tuple[float, int]] = []

    def offer(span: int) -> None:
        if ledger.kept[span] and not stays[span] and n_dependents[span] == 0:
            heapq.heappush(ready, (utility[span], -span))

    for span in np.flatnonzero(mask).tolist():
        offer(span)
    while excess > 0 and (ready or waiting):
        queue = ready or waiting
        entry = heapq.heappop(queue)
        if not ledger.kept[-entry[1]]:
            continue
        closure = [-entry[1]]
        while (above := parent[closure[-1]]) >= 0 and n_dependents[above] == 1:
            if stays[above] or utility[above] > 0:
                break
            closure.append(above)
        saving = ledger.drop(closure)
        if saving <= 0 and queue is ready:
            ledger.keep(closure)
            heapq.heappush(waiting, entry)
            continue
        excess -= saving
        for span in closure:
            if parent[span] >= 0:
                n_dependents[parent[span]] -= 1
                offer(parent[span])
            offer(span - 1)
            offer(span + 1)
    return ledger.mask
