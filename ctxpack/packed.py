"""What a call returns: the text that a model reads, and where every part of it comes from."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Literal, TypedDict

from ctxpack.budget import Fitted
from ctxpack.cache.recording import CacheReport, CacheUse
from ctxpack.evidence import Evidence, PackedPassage
from ctxpack.render import Piece
from ctxpack.scoring.base import name_of
from ctxpack.selection import KEPT, Drop, FloatArray, Passage, Selection, SpanKind, unsplit
from ctxpack.slices import Slice, slices_of
from ctxpack.stages.base import Call
from ctxpack.tokens import TokenCounter
from ctxpack.workers import asked_at

Reason = Literal[
    "no_passages", "no_text", "nothing_relevant", "budget_too_small", "deadline", "error"
]


class StageReport(TypedDict):
    """What one step did: its name, milliseconds, and how many spans were kept after it."""

    name: str
    ms: float
    spans_kept: int


class SpanReport(TypedDict):
    """One span in detail; `stage` and `reason` are None for a kept span."""

    passage_index: int
    start: int
    end: int
    kind: SpanKind
    score: float | None
    stage: str | None
    reason: str | None


class Report(TypedDict):
    """Counts, times and reasons of one call; JSON-serialisable.

    Attributes:
        recipe: its name.
        scorer: name of what scored this call; a note says why when it is not the recipe's. Behind
            it, after commas, those of the scorers that rescored, in the order in which they did.
        reasons: codes that say why the result is empty or was cut short; [] for a plain result.
        error: message of the error that a ``passthrough`` recipe or a batch went on after.
        budget: in tokens, None for no limit.
        token_counter: its name; ``approximate`` for the offline default.
        token_count: of the output.
        input_token_count: of all passages, rendered the same way.
        passages: how many came in.
        passages_kept: how many are in the output.
        spans: how many the passages were split into.
        spans_kept: how many are in the output.
        dropped: number of spans by ``stage: reason``.
        notes: facts about this call, such as a mark that was changed, or a cache out of reach.
        stages: the steps in the order they ran.
        cache: what the cache did; None without one.
        ms: of the whole call.
        details: one entry per span, when the call asked for details.
    """

    recipe: str
    scorer: str
    reasons: list[Reason]
    error: str | None
    budget: int | None
    token_counter: str
    token_count: int
    input_token_count: int
    passages: int
    passages_kept: int
    spans: int
    spans_kept: int
    dropped: dict[str, int]
    notes: list[str]
    stages: list[StageReport]
    cache: CacheReport | None
    ms: float
    details: list[SpanReport] | None


@dataclass(frozen=True, slots=True)
class PackedContext:
    """The smallest verbatim text that still answers the query, inside the budget.

    Args:
        text: what the model reads; '' when nothing is kept.
        token_count: tokens of `text`, never over the budget.
        input_token_count: tokens of all passages, rendered the same way.
        evidence: the kept spans, in output order.
        dropped: what was left out, in input order. Evidence and dropped stretches together cover
            every character of every passage exactly once.
        pieces: positions in `text` mapped to positions in passages; their texts joined are `text`.
            Empty when a `Layout` joined the text.
        passages: those of which something was kept, in output order.
        report: counts, times and reasons. Not compared: times differ between equal results.
        sufficiency: how likely it is, in [0, 1], that the passages that came in hold an answer at
            all, so that a caller can abstain; None when the scorer cannot tell, nothing was scored
            or the deadline left passages unscored. See `ctxpack.scoring.sufficiency`.
    """

    text: str
    token_count: int
    input_token_count: int
    evidence: tuple[Evidence, ...]
    dropped: tuple[Drop, ...]
    pieces: tuple[Piece, ...]
    passages: tuple[PackedPassage, ...]
    report: Report = field(compare=False)
    sufficiency: float | None = None

    @property
    def kept_ratio(self) -> float:
        """Output tokens over input tokens, in [0, 1]; 1.0 for an empty input."""
        if self.input_token_count == 0:
            return 1.0
        return self.token_count / self.input_token_count

    def records(self) -> list[dict[str, Any]]:
        """Return what was done to each of `passages`, for the metadata of a framework's object.

        A record is JSON-serialisable: ``spans``, ``score`` and ``retrieval_score`` of the
        `PackedPassage`; under ``dropped`` the characters left out of it, by ``stage: reason``;
        under ``reasons`` those of the report.
        """
        dropped: dict[int, dict[str, int]] = {kept.passage_index: {} for kept in self.passages}
        for drop in self.dropped:
            counts = dropped.setdefault(drop.passage_index, {})
            why = f"{drop.stage}: {drop.reason}"
            counts[why] = counts.get(why, 0) + drop.end - drop.start
        return [
            {
                "spans": [list(span) for span in kept.spans],
                "score": kept.score,
                "retrieval_score": kept.retrieval_score,
                "dropped": dropped[kept.passage_index],
                "reasons": list(self.report["reasons"]),
            }
            for kept in self.passages
        ]

    def slices(self, token_counter: TokenCounter, *, most: int) -> list[list[Slice]]:
        """Return for each of `passages` the ``[start, end)`` offsets of parts of what was kept.

        A part is one slice. It never ends inside a span, nor right behind a heading, a table header
        or the line that leads a list in. A heading starts a part once the last one is half full.

        Args:
            token_counter: counts the tokens of a part.
            most: tokens of a part; what may not be parted and has more stands alone.
        """
        return [
            slices_of(list(spans), token_counter, most)
            for _, spans in groupby(self.evidence, key=lambda evidence: evidence.passage_index)
        ]


@dataclass(slots=True)
class Run:
    """What the pipeline notes about a call while its steps run.

    Args:
        recipe: name of the recipe.
        details: whether the report has an entry per span.
        started: `time.perf_counter` when the call was asked for.
        stages: the steps that have run.
        error: message of the error that cut the call short; None for none.
        cache: what the cache does; None without one.
        sufficiency: by the first scores; None before them.
    """

    recipe: str
    details: bool = False
    started: float = field(default_factory=asked_at)
    stages: list[StageReport] = field(default_factory=list)
    error: str | None = None
    cache: CacheUse | None = None
    sufficiency: float | None = None


def packed(fitted: Fitted, call: Call, run: Run) -> PackedContext:
    """Return the result of a call.

    When gap marks make the text longer than all passages together, it is written without them.
    """
    selection, rendered, token_count = fitted
    # In output order, because separators depend on what stands before them.
    kept = selection.kept_passages()
    rest = [index for index in selection.order if index not in set(kept)]
    whole = Selection.of(selection.query, [unsplit(passage) for passage in selection.passages])
    everything = whole.reorder([*kept, *rest])
    input_token_count = call.counter.count(call.renderer.write(everything).text)
    if token_count > input_token_count:
        unmarked = call.renderer.without_gaps().write(selection)
        unmarked_count = call.counter.count(unmarked.text)
        if unmarked_count < token_count:
            rendered, token_count = unmarked, unmarked_count
            call.notes.append("gap_marks_off")
    return PackedContext(
        text=rendered.text,
        token_count=token_count,
        input_token_count=input_token_count,
        evidence=_evidence(selection),
        dropped=selection.dropped(),
        pieces=rendered.pieces,
        passages=_packed_passages(selection, rendered.bodies),
        report=_report(selection, call, run, (token_count, input_token_count)),
        sufficiency=run.sufficiency,
    )


def _evidence(selection: Selection) -> tuple[Evidence, ...]:
    found = []
    for index in selection.kept_passages():
        begin, end = selection.first[index : index + 2].tolist()
        for number in range(begin, end):
            if selection.kept[number]:
                span, passage = selection.spans[number], selection.passages[index]
                score = _score(selection.span_scores, number)
                found.append(Evidence(passage, index, span.start, span.end, score, span.kind))
    return tuple(found)


def _packed_passages(
    selection: Selection, bodies: tuple[tuple[int, str], ...]
) -> tuple[PackedPassage, ...]:
    return tuple(
        PackedPassage(
            passage=selection.passages[index],
            passage_index=index,
            text=body,
            score=_score(selection.passage_scores, index),
            spans=_stretches(selection, index),
        )
        for index, body in bodies
    )


def _stretches(selection: Selection, index: int) -> tuple[tuple[int, int], ...]:
    """Return the offsets kept of a passage, neighbours joined."""
    stretches: list[tuple[int, int]] = []
    begin, end = selection.first[index : index + 2].tolist()
    for number in range(begin, end):
        if not selection.kept[number]:
            continue
        span = selection.spans[number]
        if stretches and stretches[-1][1] == span.start:
            stretches[-1] = (stretches[-1][0], span.end)
        else:
            stretches.append((span.start, span.end))
    return tuple(stretches)


def _score(scores: FloatArray | None, number: int) -> float | None:
    return None if scores is None else float(scores[number])


def failed(passages: Sequence[Passage], call: Call, run: Run) -> PackedContext:
    """Return the result of a call of which nothing can be kept: no text, every passage dropped."""
    selection = Selection.of("", [unsplit(passage) for passage in passages])
    selection = selection.drop(selection.kept, stage="pipeline", reason="error")
    return PackedContext(
        text="",
        token_count=0,
        input_token_count=0,
        evidence=(),
        dropped=selection.dropped(),
        pieces=(),
        passages=(),
        report=_report(selection, call, run, (0, 0)),
    )


def ms_since(started: float) -> float:
    """Return the milliseconds since a `time.perf_counter`, to a microsecond."""
    return round((time.perf_counter() - started) * 1000, 3)


def _report(selection: Selection, call: Call, run: Run, counts: tuple[int, int]) -> Report:
    dropped: dict[str, int] = {}
    for number in selection.drop_of[~selection.kept].tolist():
        why = selection.drops[number]
        key = f"{why.stage}: {why.reason}"
        dropped[key] = dropped.get(key, 0) + 1
    n_spans = len(selection.spans)
    return Report(
        recipe=run.recipe,
        scorer=", ".join((name_of(call.scorer), *call.rescored_by)),
        reasons=_reasons(selection, call, run),
        error=run.error,
        budget=call.budget,
        token_counter=call.counter.name,
        token_count=counts[0],
        input_token_count=counts[1],
        passages=len(selection.passages),
        passages_kept=len(selection.kept_passages()),
        spans=n_spans,
        spans_kept=int(selection.kept.sum()),
        dropped=dict(sorted(dropped.items())),
        notes=[
            *call.notes,
            *(f"mark: {mark}" for mark in call.renderer.changed_marks),
            *(run.cache.notes() if run.cache else ()),
        ],
        stages=run.stages,
        cache=run.cache.report() if run.cache else None,
        ms=ms_since(run.started),
        details=[_span_report(selection, n) for n in range(n_spans)] if run.details else None,
    )


def _reasons(selection: Selection, call: Call, run: Run) -> list[Reason]:
    reasons: list[Reason] = ["deadline"] if "deadline" in call.notes else []
    if run.error is not None:
        reasons.append("error")
    if not selection.passages:
        reasons.append("no_passages")
    elif not selection.spans:
        reasons.append("no_text")
    elif not selection.kept.any():
        if any(why.reason == "over_budget" for why in selection.drops):
            reasons.append("budget_too_small")
        elif run.error is None:
            reasons.append("nothing_relevant")
    return reasons


def _span_report(selection: Selection, number: int) -> SpanReport:
    span, drop = selection.spans[number], int(selection.drop_of[number])
    why = None if drop == KEPT else selection.drops[drop]
    return SpanReport(
        passage_index=int(selection.passage_of[number]),
        start=span.start,
        end=span.end,
        kind=span.kind,
        score=_score(selection.span_scores, number),
        stage=None if why is None else why.stage,
        reason=None if why is None else why.reason,
    )
