"""The step that decides in which order the model reads the passages."""

from __future__ import annotations

from typing import ClassVar, Literal

from ctxpack.selection import Selection
from ctxpack.stages.base import Call, Stage


class Order(Stage):
    """Order the passages of the output; the spans of a passage always stay in document order.

    Passages with equal scores keep their input order, and so do all passages of a selection
    without scores, whose input order counts as best first.

    Args:
        by: ``document``, the default, for input order; ``score`` for passage score, best first;
            ``edges`` for the best passage first, the second-best last, and so on towards the
            middle, where models read worst (Liu et al. 2023, "Lost in the Middle: How Language
            Models Use Long Contexts").

    Drops nothing.
    """

    name: ClassVar[str] = "order"
    value_option: ClassVar[str | None] = "by"

    by: Literal["document", "score", "edges"] = "document"

    def _apply(self, selection: Selection, call: Call) -> Selection:
        n_passages = len(selection.passages)
        if self.by == "document":
            return selection.reorder(range(n_passages))
        scores = [0.0] * n_passages
        if selection.passage_scores is not None:
            scores = selection.passage_scores.tolist()
        alive = set(selection.kept_passages())
        # Dropped passages go last, so that they do not take the places at the edges.
        ranked = sorted(range(n_passages), key=lambda index: (index not in alive, -scores[index]))
        if self.by == "edges":
            kept, dropped = ranked[: len(alive)], ranked[len(alive) :]
            ranked = kept[::2] + kept[1::2][::-1] + dropped
        return selection.reorder(ranked)
