"""Kept documents to parts that respect their structure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from langchain_core.documents import Document

from ctxpack import Evidence, PackedContext, TokenCounter
from langchain_ctxpack.documents import KEY, with_text

_LEADS = frozenset(["heading", "list_lead", "table_header"])


class _Unit(NamedTuple):
    start: int
    end: int
    is_section: bool


def parts_of(
    kept: Sequence[Document], packed: PackedContext, counter: TokenCounter, part_tokens: int
) -> list[Document]:
    """Return slices of the kept documents, in order; `CtxPackTransformer` says where it cuts.

    Args:
        kept: one document for each passage of `packed`, in the same order.
        packed: what was kept.
        counter: counts the tokens of a part.
        part_tokens: most tokens of a part.
    """
    parts = []
    by_passage = groupby(packed.evidence, key=lambda evidence: evidence.passage_index)
    for document, (_, evidence) in zip(kept, by_passage, strict=True):
        spans = list(evidence)
        text = spans[0].passage.text
        slices = _slices(text, _units(spans), counter, part_tokens)
        for start, end in slices:
            part = with_text(document, text[start:end])
            part.metadata[KEY] = {**part.metadata[KEY], "spans": [[start, end]]}
            if part.id is not None and len(slices) > 1:
                part.id = f"{part.id}:{start}-{end}"
            parts.append(part)
    return parts


def _units(spans: Sequence[Evidence]) -> list[_Unit]:
    """Return the stretches that must not be parted: a span, or leads and the span behind them."""
    units: list[_Unit] = []
    is_led = False
    for span in spans:
        if is_led and units[-1].end == span.start:
            units[-1] = units[-1]._replace(end=span.end)
        else:
            units.append(_Unit(span.start, span.end, span.kind == "heading"))
        is_led = span.kind in _LEADS
    return units


def _slices(
    text: str, units: Sequence[_Unit], counter: TokenCounter, part_tokens: int
) -> list[tuple[int, int]]:
    slices: list[tuple[int, int]] = []
    for unit in units:
        if slices and slices[-1][1] == unit.start:
            start = slices[-1][0]
            half_full = (
                unit.is_section and 2 * counter.count(text[start : unit.start]) >= part_tokens
            )
            if not half_full and counter.count(text[start : unit.end]) <= part_tokens:
                slices[-1] = (start, unit.end)
                continue
        slices.append((unit.start, unit.end))
    return slices
