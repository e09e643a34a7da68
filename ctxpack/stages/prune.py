"""The step that drops spans which do not help to answer the query."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field, field_validator

from ctxpack.errors import RecipeError
from ctxpack.scoring.base import Scorer
from ctxpack.selection import BoolArray, FloatArray, Selection, SpanKind
from ctxpack.stages.base import Call, Stage


class Prune(Stage):
    """Keep the spans whose score reaches the threshold, with what they require.

    A frame (a heading, table header or list lead-in that others require) is kept with one of those,
    and not for a score of its own. Without scores, because the deadline passed, nothing is dropped.

    Args:
        threshold: least score, in [0, 1], or the name of one of the scorer's operating points;
            default ``balanced``; 0 drops nothing.
        window: spans, 0 or more, kept on each side of one that reaches the threshold, within its
            passage; default 0, none.
        min_evidence: spans, 0 or more, kept in the whole call, the best first, even if below the
            threshold; default 0, none.
        pins: regular expressions, in Python's syntax; a span in which one is found is never
            dropped by this or a later step; one that an earlier step dropped stays dropped.
            Default none. They are the recipe author's: one that
            backtracks without end is not stopped.
        pin_kinds: kinds of spans that are pinned likewise; default none.

    Drops with reason ``below_threshold``.
    """

    name: ClassVar[str] = "prune"
    value_option: ClassVar[str | None] = "threshold"
    needs_scores: ClassVar[bool] = True

    threshold: Annotated[float, Field(ge=0, le=1)] | str = "balanced"
    window: int = Field(default=0, ge=0)
    min_evidence: int = Field(default=0, ge=0)
    pins: tuple[str, ...] = ()
    pin_kinds: tuple[SpanKind, ...] = ()

    @field_validator("threshold", mode="before")
    @classmethod
    def _check_threshold(cls, threshold: Any) -> Any:
        # Before the types are tried: one message for both, not the one of either.
        if isinstance(threshold, str) or (type(threshold) in {int, float} and 0 <= threshold <= 1):
            return threshold
        raise ValueError("must be a number in [0, 1] or the name of an operating point")

    @field_validator("pins")
    @classmethod
    def _check_pins(cls, pins: tuple[str, ...]) -> tuple[str, ...]:
        for pin in pins:
            try:
                re.compile(pin)
            except re.error as error:
                raise ValueError(f"must be regular expressions; {pin!r}: {error}") from None
        return pins

    def _apply(self, selection: Selection, call: Call) -> Selection:
        threshold = self._threshold_of(call.scorer)
        if self.pins or self.pin_kinds:
            selection = selection.pin(self._pinned(selection))
        scores = selection.span_scores
        if scores is None:
            return selection
        own = selection.kept & ~selection.is_frame
        above = own & (scores >= threshold)
        wanted = self._with_window(selection, above) | _best(scores, own, self.min_evidence)
        wanted = selection.with_required(wanted)
        return selection.drop(~wanted, stage=self.name, reason="below_threshold")

    def check(self, scorer: Scorer) -> None:
        """Check that the scorer has the operating point."""
        self._threshold_of(scorer)

    def _threshold_of(self, scorer: Scorer) -> float:
        """Return the threshold as a number.

        Raises:
            RecipeError: the scorer has no operating point of that name.
        """
        if not isinstance(self.threshold, str):
            return self.threshold
        points = scorer.operating_points
        if self.threshold not in points:
            raise RecipeError(
                f"`threshold` must be a number or an operating point of the scorer"
                f" ({', '.join(points)}), got {self.threshold!r}"
            )
        return float(points[self.threshold])

    def _pinned(self, selection: Selection) -> BoolArray:
        """Return the (n_spans,) bool mask of spans that a pin or a kind names."""
        patterns = [re.compile(pin) for pin in self.pins]
        pinned = [
            span.kind in self.pin_kinds
            or any(pattern.search(selection.text_of(number)) for pattern in patterns)
            for number, span in enumerate(selection.spans)
        ]
        return np.array(pinned, dtype=np.bool_)

    def _with_window(self, selection: Selection, above: BoolArray) -> BoolArray:
        """Return `above` (n_spans,) together with the neighbours of its spans."""
        if self.window == 0:
            return above
        wanted = above.copy()
        for number in np.flatnonzero(above).tolist():
            index = selection.passage_of[number]
            begin = max(selection.first[index], number - self.window)
            wanted[begin : min(selection.first[index + 1], number + self.window + 1)] = True
        return wanted


def _best(scores: FloatArray, mask: BoolArray, count: int) -> BoolArray:
    """Return the (n_spans,) bool mask of the `count` best-scored spans in `mask`."""
    numbers = np.flatnonzero(mask)
    best = np.zeros_like(mask)
    best[numbers[np.argsort(-scores[numbers], kind="stable")[:count]]] = True
    return best
