"""A result on a terminal: what came in, what of it was kept and why, and what it cost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from ctxpack.cache.recording import CacheReport
from ctxpack.packed import PackedContext
from ctxpack.render import PieceKind
from ctxpack.selection import Drop, Passage

_TWO_COLUMNS_FROM = 150
_BAR = 30
_PIECE_STYLES: dict[PieceKind, str] = {"title": "bold cyan", "citation": "cyan", "gap": "yellow"}


class View(NamedTuple):
    """A result on a terminal: what came in, what of it was kept and why, and what it cost.

    Args:
        query: what the user asked.
        passages: those that came in.
        packed: the result.
    """

    query: str
    passages: Sequence[Passage]
    packed: PackedContext

    def render(self, width: int) -> RenderableType:
        """Return the view for a terminal of `width` columns; two columns when it is wide."""
        query = Table.grid(padding=(0, 1))
        query.add_row(Text("Query", "dim"), Text(self.query, "bold"))
        inside, outside = Group(*self._inside()), Group(self._outside(), "", *self._numbers())
        if width < _TWO_COLUMNS_FROM:
            return Group(query, "", inside, "", outside)
        columns = Table.grid(expand=True, padding=(0, 2))
        columns.add_column(ratio=1)
        columns.add_column(ratio=1)
        columns.add_row(inside, outside)
        return Group(query, "", columns)

    def _inside(self) -> Iterator[RenderableType]:
        count = f"{len(self.passages)} passages, {self.packed.input_token_count:,} tokens"
        yield Rule(f"Retrieved: {count}", align="left", style="dim")
        kept = {passage.passage_index: passage.spans for passage in self.packed.passages}
        for index, passage in enumerate(self.passages):
            drops = [drop for drop in self.packed.dropped if drop.passage_index == index]
            yield self._headline(index, kept.get(index, ()), drops)
            if index in kept:
                yield _stretches(passage.text, kept[index])

    def _headline(
        self, index: int, spans: tuple[tuple[int, int], ...], drops: list[Drop]
    ) -> RenderableType:
        line = Table.grid(expand=True, padding=(0, 1))
        line.add_column(no_wrap=True, ratio=1)
        line.add_column(no_wrap=True, justify="right")
        passage, name = self.passages[index], self._name(index)
        title = f"  {passage.title}" if passage.title and passage.title != name else ""
        if spans:
            characters = sum(end - start for start, end in spans)
            share = f"{characters / len(passage.text):.0%} kept"
            line.add_row(Text.assemble((f"● {name}", "bold green"), title), Text(share, "green"))
        else:
            line.add_row(Text(f"○ {name}{title}", "dim"), Text(self._why(drops), "dim"))
        return line

    def _name(self, index: int) -> str:
        """Return what to call a passage: its id, its title, or its place."""
        passage = self.passages[index]
        return passage.id or passage.title or f"passage {index + 1}"

    def _why(self, drops: list[Drop]) -> str:
        """Return the stage and reason of the longest drop: ``prune: below_threshold``."""
        if not drops:
            return "empty"
        drop = max(drops, key=lambda drop: drop.end - drop.start)
        if drop.merged_into is None:
            return f"{drop.stage}: {drop.reason}"
        return f"{drop.stage}: {drop.reason} of {self._name(drop.merged_into)}"

    def _outside(self) -> RenderableType:
        text = Text()
        for piece in self.packed.pieces:
            part = self.packed.text[piece.text_start : piece.text_end]
            text.append(part, _PIECE_STYLES.get(piece.kind, ""))
        text.rstrip()
        title = f"What the model reads: {self.packed.token_count:,} tokens"
        return Panel(text, title=title, title_align="left", border_style="green")

    def _numbers(self) -> Iterator[RenderableType]:
        packed, report = self.packed, self.packed.report
        budget = "no budget" if report["budget"] is None else f"budget {report['budget']:,}"
        full = math.ceil(packed.kept_ratio * _BAR)
        yield Text.assemble(
            (f"{packed.input_token_count:,} → {packed.token_count:,} tokens  ", "bold"),
            ("━" * full, "green"),
            ("─" * (_BAR - full), "dim"),
            f"  {packed.kept_ratio:.1%} kept, {budget}",
        )
        yield ""
        yield _stages(packed)
        if report["cache"] is not None:
            yield _cache(report["cache"])
        if packed.sufficiency is not None:
            yield Text(f"{packed.sufficiency:.0%} likely that these passages hold an answer", "dim")
        if report["notes"]:
            yield Text(f"notes: {'; '.join(report['notes'])}", "yellow")
        if report["reasons"]:
            yield Text(f"reasons: {', '.join(report['reasons'])}", "yellow")


def _stretches(text: str, kept: tuple[tuple[int, int], ...]) -> RenderableType:
    """Return kept and dropped stretches in order, marked as in a diff; dropped ones on one line."""
    lines = Table.grid(padding=(0, 1))
    last_end = 0
    for start, end in (*kept, (len(text), len(text))):
        dropped = " ".join(text[last_end:start].split())
        if dropped:
            abridged = Text(dropped, "dim", no_wrap=True, overflow="ellipsis")
            lines.add_row(Text("-", "dim"), abridged)
        if start < end:
            inked = [line for line in text[start:end].split("\n") if line.strip()]
            lines.add_row(Text("+", "green"), Text("\n".join(inked), "green"))
        last_end = end
    return Padding(lines, (0, 0, 0, 2))


def _stages(packed: PackedContext) -> RenderableType:
    """Return milliseconds and kept spans after every step, one step a column."""
    report = packed.report
    steps = report["stages"]
    table = Table.grid(padding=(0, 2, 0, 0))
    spans, times = [Text("spans", "dim")], [Text("ms", "dim")]
    names = [Text("")]
    for step in steps:
        names.append(Text(step["name"], "dim"))
        spans.append(Text(f"{step['spans_kept']}"))
        times.append(Text(f"{step['ms']:.1f}"))
    rest = report["ms"] - sum(step["ms"] for step in steps)
    names += [Text("write", "dim"), Text("total", "bold")]
    spans += [Text(f"{report['spans_kept']}"), Text("")]
    times += [Text(f"{rest:.1f}"), Text(f"{report['ms']:.1f}", "bold")]
    table.add_column()
    for _ in names[1:]:
        table.add_column(justify="right")
    for row in (names, spans, times):
        table.add_row(*row)
    return table


def _cache(report: CacheReport) -> Text:
    """Return hits of how many: ``cache memory: scores 0 of 20, encoding 18 of 20, 90 ms saved``."""
    line = Text(f"cache {report['store']}: ", "dim")
    if not report["available"]:
        return line.append("unavailable", "yellow")
    found = [
        f"{tier} {counts['hits']} of {counts['hits'] + counts['misses']}"
        for tier, counts in report["tiers"].items()
    ]
    saved_ms = sum(counts["saved_ms"] for counts in report["tiers"].values())
    return line.append(", ".join([*found, f"{saved_ms:.0f} ms saved"]))
