"""``ctxpack bench``: measurements that users can repeat."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from ctxpack.bench.tables import Table, gate_table, quality_tables, speed_table, sufficiency_tables
from ctxpack.cli import options

app = typer.Typer(
    help="Measure speed and quality. Tables are on standard error, the record is JSON.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_Passages = Annotated[int, typer.Option(help="Passages per call.")]
_Calls = Annotated[int, typer.Option("--calls", "-n", help="Timed calls.")]
_Records = Annotated[
    list[Path], typer.Argument(metavar="FILES", help="Records as JSON Lines, gzip or plain.")
]
_Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Write the record here, not to stdout.")
]


@app.command()
def speed(passages: _Passages = 20, calls: _Calls = 20, output: _Output = None) -> None:
    """Measure what scorers cost beside the bare passes of their models, on one core."""
    from ctxpack.bench.speed import Study, measure

    record = measure(Study(passages=passages, calls=calls))
    _finish(record, [speed_table(record)], output)


@app.command()
def steps(
    recipe: options.Recipe = "balanced",
    passages: _Passages = 20,
    characters: Annotated[int, typer.Option(help="Characters per passage.")] = 650,
    budget: options.Budget = 512,
    calls: _Calls = 200,
    output: _Output = None,
) -> None:
    """Measure milliseconds per step of a recipe on one core, over sample texts."""
    from ctxpack.bench.steps import Workload, measure

    workload = Workload(
        recipe=recipe, passages=passages, characters=characters, budget=budget, calls=calls
    )
    record = measure(workload)
    rows = [(name, f"{ms['median']:.2f}", f"{ms['p95']:.2f}") for name, ms in record["ms"].items()]
    _finish(record, [Table(("step", "median ms", "p95 ms"), rows)], output)


@app.command()
def adapters(
    recipe: options.Recipe = "lexical",
    passages: _Passages = 20,
    budget: options.Budget = 512,
    calls: _Calls = 200,
    output: _Output = None,
) -> None:
    """Measure what the adapters for LangChain and LlamaIndex cost over the engine, on one core."""
    from ctxpack.bench.adapters import measure
    from ctxpack.bench.steps import Workload

    record = measure(Workload(recipe=recipe, passages=passages, budget=budget, calls=calls))
    results = record["ms"] | {
        f"{name} over engine": clocks for name, clocks in record["over_engine"].items()
    }
    rows = [
        (name, clock, f"{ms['median']:.2f}", f"{ms['p95']:.2f}")
        for name, clocks in results.items()
        for clock, ms in clocks.items()
    ]
    _finish(record, [Table(("call", "clock", "median ms", "p95 ms"), rows, n_words=2)], output)


@app.command("event-loop")
def event_loop(
    recipe: options.Recipe = "lexical",
    passages: _Passages = 20,
    budget: options.Budget = 512,
    calls: Annotated[int, typer.Option("--calls", "-n", help="Calls at once.")] = 200,
    output: _Output = None,
) -> None:
    """Measure how late others on an event loop come beside many calls at once."""
    from ctxpack.bench.event_loop import measure
    from ctxpack.bench.steps import Workload

    record = measure(Workload(recipe=recipe, passages=passages, budget=budget, calls=calls))
    percents = ("median", "p95", "p99", "worst")
    rows = [
        (name, times, *(f"{ms[percent]:.1f}" for percent in percents))
        for name, summary in record["ms"].items()
        for times, ms in summary.items()
    ]
    columns = ("calls", "times", *(f"{percent} ms" for percent in percents))
    _finish(record, [Table(columns, rows, n_words=2)], output)


@app.command()
def cache(
    passages: _Passages = 20,
    calls: _Calls = 30,
    data: Annotated[
        Path | None, typer.Option(help="Take passages of these records, as JSON Lines.")
    ] = None,
    redis: Annotated[
        str | None, typer.Option(help="URL of a server; without it, one is started if installed.")
    ] = None,
    output: _Output = None,
) -> None:
    """Measure ctxpack-swift cold, warm from every store, beside ctxpack-mini, on one core."""
    from ctxpack.bench.cache import Study, measure

    record = measure(Study(passages=passages, calls=calls, data=data, redis=redis))
    rows = [(name, f"{ms['median']:.1f}", f"{ms['p95']:.1f}") for name, ms in record["ms"].items()]
    _finish(record, [Table(("scoring", "median ms", "p95 ms"), rows)], output)


@app.command()
def callers(
    callers: Annotated[int, typer.Option(help="Calls at once.")] = 64,
    passages: _Passages = 20,
    rounds: Annotated[int, typer.Option(help="Rounds of so many calls.")] = 2,
    output: _Output = None,
) -> None:
    """Measure what concurrent calls gain by single flight and by the shared queue."""
    from ctxpack.bench.callers import Crowd, measure

    record = measure(Crowd(callers=callers, passages=passages, rounds=rounds))
    rows = [
        (kind, name, f"{row['calls_per_s']:.1f}", f"{row['call_p95_s']:.2f}")
        for kind in ("overlapping", "disjoint")
        for name, row in record[kind].items()
        if isinstance(row, dict)
    ]
    columns = ("passages", "calls", "calls a second", "p95 s")
    _finish(record, [Table(columns, rows, n_words=2)], output)


@app.command()
def quality(
    files: _Records,
    recipe: Annotated[
        list[str] | None,
        typer.Option("--recipe", "-r", help="Recipes to compare; differences are to the first."),
    ] = None,
    scorer: Annotated[
        list[str] | None, typer.Option(help="Scorers to compare, in place of the recipes' own.")
    ] = None,
    share: Annotated[
        list[float] | None,
        typer.Option(min=0, max=1, help="Budgets, as shares of the tokens of all passages."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help="Most records of a data set.")
    ] = None,
    token_counter: Annotated[str, typer.Option(help="Counts for all methods.")] = "approximate",
    embeddings: Annotated[
        Path | None, typer.Option(help="A sentence-embedding model, as one more baseline.")
    ] = None,
    output: _Output = None,
) -> None:
    """Measure how much evidence recipes keep within budgets, beside baselines.

    Records that the shipped weights learnt from are left out.
    """
    from ctxpack.bench.quality import Study, measure

    study = Study(
        files=files,
        recipes=recipe or ["balanced"],
        scorers=scorer or [],
        shares=share or [0.05, 0.1, 0.2],
        limit=limit,
        token_counter=token_counter,
        embeddings=embeddings,
    )
    record = measure(study)
    _finish(record, quality_tables(record), output)


@app.command()
def languages(
    files: _Records,
    limit: Annotated[int, typer.Option(help="Most records of a data set and language.")] = 40,
    gate_only: Annotated[bool, typer.Option("--gate-only", help="Run no scorer.")] = False,
    output: _Output = None,
) -> None:
    """Measure what the language gate does, and how well scorers rank in each language."""
    from ctxpack.bench.languages import SCORERS, measure

    record = measure(files, limit=limit, scorers=() if gate_only else SCORERS)
    _finish(record, [gate_table(record)], output)


@app.command()
def sufficiency(
    files: _Records,
    recipe: options.Recipe = "balanced",
    scorer: options.Scorer = None,
    limit: Annotated[int, typer.Option(help="Most records of a file.")] = 60,
    output: _Output = None,
) -> None:
    """Measure how well `sufficiency` tells calls with an answer from calls without."""
    from ctxpack.bench.sufficiency import Study, measure

    record = measure(Study(files=files, recipe=recipe, scorer=scorer, limit=limit))
    _finish(record, sufficiency_tables(record), output)


def _finish(record: dict[str, Any], tables: Iterable[Table], output: Path | None) -> None:
    """Print tables on standard error, and write the record where it is wanted."""
    for table in tables:
        _show(table)
    text = json.dumps(record, indent=2) + "\n"
    if output is None:
        typer.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")


def _show(table: Table) -> None:
    """Print a table: plain on a terminal, as Markdown into a file."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as Grid
    from rich.text import Text

    is_terminal = sys.stderr.isatty()
    # In a file no row is broken.
    console = Console(stderr=True, highlight=False, width=None if is_terminal else 1000)
    grid = Grid(box=None if is_terminal else box.MARKDOWN, pad_edge=not is_terminal)
    for place, column in enumerate(table.columns):
        grid.add_column(column, justify="left" if place < table.n_words else "right")
    for row in table.rows:
        grid.add_row(*map(Text, row))
    console.print(*([f"\n{table.title}\n"] if table.title else []), grid, sep="\n")
