"""Slices of a text that respect its structure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ctxpack import Evidence, TokenCounter

_LEADS = frozenset(["heading", "list_lead", "table_header"])

Slice = tuple[int, int]


def slices_of(spans: Sequence[Evidence], counter: TokenCounter, most: int) -> list[Slice]:
    """Return ``[start, end)`` offsets that cover the spans in order, cut between them.

    A slice never ends behind a heading, a table header or the line that leads a list in, and a
    heading starts a slice once the one before is half full. What may not be parted and has more
    tokens than a slice may have, stands alone.

    Args:
        spans: all of one text.
        counter: counts the tokens of a slice.
        most: tokens that a slice may have.
    """
    slices: list[Slice] = []
    for (start, end), is_section in _units(spans):
        if slices:
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
    leads: list[Evidence] = []
    for span in spans:
        leads.append(span)
        if span.kind not in _LEADS:
            yield (leads[0].start, span.end), leads[0].kind == "heading"
            leads = []
    if leads:
        yield (leads[0].start, leads[-1].end), leads[0].kind == "heading"
