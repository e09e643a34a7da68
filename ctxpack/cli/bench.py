"""``ctxpack bench``: measurements that users can repeat."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ctxpack.cli import options

app = typer.Typer(
    help="Measure speed and quality; the record is JSON.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Write the record here, not to stdout.")
]


@app.command()
def speed(
    recipe: options.Recipe = "balanced",
    passages: Annotated[int, typer.Option(help="Passages per call.")] = 20,
    characters: Annotated[int, typer.Option(help="Characters per passage.")] = 650,
    budget: options.Budget = 512,
    calls: Annotated[int, typer.Option("--calls", "-n", help="Timed calls.")] = 200,
    output: _Output = None,
) -> None:
    """Measure milliseconds per step on one core, over sample texts."""
    from ctxpack.bench.speed import Workload, measure

    workload = Workload(
        recipe=recipe, passages=passages, characters=characters, budget=budget, calls=calls
    )
    record = measure(workload)
    rows = [(name, f"{ms['median']:.2f}", f"{ms['p95']:.2f}") for name, ms in record["ms"].items()]
    _show(("step", "median ms", "p95 ms"), rows)
    _write(record, output)


@app.command()
def adapters(
    recipe: options.Recipe = "lexical",
    passages: Annotated[int, typer.Option(help="Passages per call.")] = 20,
    budget: options.Budget = 512,
    calls: Annotated[int, typer.Option("--calls", "-n", help="Timed calls.")] = 200,
    output: _Output = None,
) -> None:
    """Measure what the adapters for LangChain and LlamaIndex cost over the engine, on one core."""
    from ctxpack.bench.adapters import measure
    from ctxpack.bench.speed import Workload

    record = measure(Workload(recipe=recipe, passages=passages, budget=budget, calls=calls))
    results = record["ms"] | {
        f"{name} over engine": clocks for name, clocks in record["over_engine"].items()
    }
    rows = [
        (name, clock, f"{ms['median']:.2f}", f"{ms['p95']:.2f}")
        for name, clocks in results.items()
        for clock, ms in clocks.items()
    ]
    _show(("call", "clock", "median ms", "p95 ms"), rows)
    _write(record, output)


@app.command("event-loop")
def event_loop(
    recipe: options.Recipe = "lexical",
    passages: Annotated[int, typer.Option(help="Passages per call.")] = 20,
    budget: options.Budget = 512,
    calls: Annotated[int, typer.Option("--calls", "-n", help="Calls at once.")] = 200,
    output: _Output = None,
) -> None:
    """Measure how late others on an event loop come beside many calls at once."""
    from ctxpack.bench.event_loop import measure
    from ctxpack.bench.speed import Workload

    record = measure(Workload(recipe=recipe, passages=passages, budget=budget, calls=calls))
    percents = ("median", "p95", "p99", "worst")
    rows = [
        (name, times, *(f"{ms[percent]:.1f}" for percent in percents))
        for name, summary in record["ms"].items()
        for times, ms in summary.items()
    ]
    columns = ("calls", "times", *(f"{percent} ms" for percent in percents))
    _show(columns, rows, numbers=len(percents))
    _write(record, output)


@app.command()
def cache(
    passages: Annotated[int, typer.Option(help="Passages per call.")] = 20,
    calls: Annotated[int, typer.Option("--calls", "-n", help="Timed calls.")] = 30,
    data: Annotated[
        Path | None, typer.Option(help="Take passages of these records, as JSON Lines.")
    ] = None,
    redis: Annotated[
        str | None, typer.Option(help="URL of a server; without it, one is started if installed.")
    ] = None,
    output: _Output = None,
) -> None:
    """Measure scoring cold, warm from every store, and beside a joint model, on one core."""
    from ctxpack.bench.cache import Study, measure

    record = measure(Study(passages=passages, calls=calls, data=data, redis=redis))
    rows = [(name, f"{ms['median']:.1f}", f"{ms['p95']:.1f}") for name, ms in record["ms"].items()]
    _show(("scoring", "median ms", "p95 ms"), rows)
    _write(record, output)


@app.command()
def callers(
    callers: Annotated[int, typer.Option(help="Calls at once.")] = 64,
    passages: Annotated[int, typer.Option(help="Passages per call.")] = 20,
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
    _show(("passages", "calls", "calls a second", "p95 s"), rows)
    _write(record, output)


@app.command()
def quality(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILES", help="Records as JSON Lines, gzip or plain.")
    ],
    recipe: Annotated[
        list[str] | None,
        typer.Option("--recipe", "-r", help="Recipes to compare; differences are the first's."),
    ] = None,
    share: Annotated[
        list[float] | None,
        typer.Option(min=0, max=1, help="Budgets, as shares of the tokens of all passages."),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Only records of this split.")] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help="Most records of a data set.")
    ] = None,
    token_counter: Annotated[str, typer.Option(help="Counts for all methods.")] = "approximate",
    embeddings: Annotated[
        Path | None, typer.Option(help="A Sentence Transformers model, as one more baseline.")
    ] = None,
    output: _Output = None,
) -> None:
    """Measure how much evidence recipes keep within budgets, beside baselines."""
    from ctxpack.bench.quality import Study, measure

    study = Study(
        files=files,
        recipes=recipe or ["balanced"],
        shares=share or [0.05, 0.1, 0.2],
        split=split,
        limit=limit,
        token_counter=token_counter,
        embeddings=embeddings,
    )
    record = measure(study)
    _show(("data set", "budget", "method", "retention", "over budget"), _kept(record["sets"]))
    _write(record, output)


def _kept(sets: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return a row for each data set, budget and method."""
    return [
        (name, budget, method, f"{row['retention']:.3f}", f"{row['over_budget']:.3f}")
        for name, results in sets.items()
        for budget, methods in results["budgets"].items()
        for method, row in methods.items()
    ]


def _show(columns: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: int = 2) -> None:
    """Print a table on standard error: standard output holds the record alone.

    The last `numbers` columns are numbers.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None)
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place >= len(columns) - numbers else "left")
    for row in rows:
        table.add_row(*map(Text, row))
    Console(stderr=True, highlight=False).print(table)


def _write(record: dict[str, Any], output: Path | None) -> None:
    text = json.dumps(record, indent=2) + "\n"
    if output is None:
        typer.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
