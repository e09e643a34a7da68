"""``ctxpack bench``: measurements that users can repeat."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ctxpack.cli import options

app = typer.Typer(
    help="Measure speed and quality; the record is JSON.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def speed(
    recipe: options.Recipe = "balanced",
    passages: Annotated[int, typer.Option(help="Passages per call.")] = 20,
    characters: Annotated[int, typer.Option(help="Characters per passage.")] = 650,
    budget: options.Budget = 512,
    calls: Annotated[int, typer.Option("--calls", "-n", help="Timed calls.")] = 200,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the record here, not to stdout.")
    ] = None,
) -> None:
    """Measure milliseconds per step on one core, over sample texts."""
    from ctxpack.bench.speed import Workload, measure

    record = measure(
        Workload(
            recipe=recipe, passages=passages, characters=characters, budget=budget, calls=calls
        )
    )
    _show(record)
    _write(record, output)


def _show(record: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    table.add_column("step")
    table.add_column("median ms", justify="right")
    table.add_column("p95 ms", justify="right")
    for name, ms in record["ms"].items():
        style = "bold" if name == "total" else None
        table.add_row(name, f"{ms['median']:.2f}", f"{ms['p95']:.2f}", style=style)
    console = Console(stderr=True, highlight=False)
    console.print(table)
    console.print(f"n = {record['n']}, one core: {record['command']}", soft_wrap=True)


def _write(record: dict[str, Any], output: Path | None) -> None:
    text = json.dumps(record, indent=2) + "\n"
    if output is None:
        typer.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
