"""The step that puts the best passages first and drops the rest."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from ctxpack.selection import Selection
from ctxpack.stages.base import Call, Stage


class Rerank(Stage):
    """Order passages by passage score, best first, and keep the best.

    Passages with equal scores stay in the order they had. Retrieval scores are not read, and
    dropped passages do not count towards `top_k`. Without scores, because the deadline passed,
    nothing changes.

    Args:
        top_k: most passages to keep, 1 or more; None, the default, for all.
        threshold: drop passages with a lower score, in [0, 1]; 0, the default, drops none.

    Drops with reasons ``below_threshold`` and, of what is left, ``below_top_k``.
    """

    name: ClassVar[str] = "rerank"
    value_option: ClassVar[str | None] = "top_k"
    needs_scores: ClassVar[bool] = True

    top_k: int | None = Field(default=None, ge=1)
    threshold: float = Field(default=0.0, ge=0, le=1)

    def _apply(self, selection: Selection, call: Call) -> Selection:
        scores = selection.passage_scores
        if scores is None:
            return selection
        order = np.array(selection.order, dtype=np.int64)
        order = order[np.argsort(-scores[order], kind="stable")]
        selection = selection.reorder(order.tolist())
        ranked = selection.kept_passages()
        low = scores < self.threshold
        beyond = np.zeros_like(low)
        if self.top_k is not None:
            beyond[list(ranked[self.top_k :])] = True
        owner = selection.passage_of
        selection = selection.drop(low[owner], stage=self.name, reason="below_threshold")
        return selection.drop(beyond[owner], stage=self.name, reason="below_top_k")
