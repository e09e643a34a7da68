"""Slices of a text that respect its structure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ctxpack.evidence import Evidence
from ctxpack.tokens import TokenCounter

_LEADS = frozenset(["heading", "list_lead", "table_header"])

Slice = tuple[int, int]
"""Offsets ``[start, end)``."""


def slices_of(spans: Sequence[Evidence], counter: TokenCounter, most: int) -> list[Slice]:
    """Return slices that cover the spans of one passage in order; see `PackedContext.slices`."""
    slices: list[Slice] = []
    for (start, end), is_section in _units(spans):
        if slices and slices[-1][1] == start:
            text, begin = spans[0].passage.text, slices[-1][0]
            is_full = counter.count(text[begin:end]) > most
            if not is_full and is_section:
                is_full = 2 * counter.count(text[begin:start]) >= most
            if not is_full:
                slices[-1] = (begin, end)
                continue
        slices.append((start, end))
    return slices


def _units(spans: Sequence[Evidence]) -> Iterator[tuple[Slice, bool]]:
    """Yield stretches that must not be parted, and whether each begins with a heading."""
    unit: list[Evidence] = []
    for span in spans:
        if unit and not (unit[-1].kind in _LEADS and unit[-1].end == span.start):
            yield (unit[0].start, unit[-1].end), unit[0].kind == "heading"
            unit = []
        unit.append(span)
    if unit:
        yield (unit[0].start, unit[-1].end), unit[0].kind == "heading"
