"""``ctxpack pack``: passages from files to the smallest text that answers a query."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import typer

from ctxpack import recipes
from ctxpack.cli import errors, options
from ctxpack.cli.writing import OutputFormat, written
from ctxpack.overrides import Overrides
from ctxpack.pipeline import Pipeline
from ctxpack.reading import InputFormat, Keys, read_passages
from ctxpack.selection import Passage

# Below about a second of work a progress line would only flicker.
_LONG_CHARACTERS = 1_000_000


def pack(
    files: options.Files,
    query: options.Query,
    recipe: options.Recipe = "balanced",
    budget: options.OptionalBudget = None,
    scorer: options.Scorer = None,
    token_counter: options.TokenCounter = None,
    output_format: options.Format = OutputFormat.TEXT,
    citations: options.Citations = None,
    input_format: options.Input = InputFormat.AUTO,
    field: options.Field = "text",
    title_field: options.TitleField = "title",
    id_field: options.IdField = "id",
    score_field: options.ScoreField = "score",
) -> None:
    """Print the smallest verbatim text from FILES that answers a query.

    For example: ctxpack pack -q "who approves refunds?" -b 200 handbook/*.md
    """
    keys = Keys(field, title_field, id_field, score_field)
    pipeline = _pipeline(recipe, scorer, token_counter, citations)
    passages = [passage for file in files for passage in read_passages(file, input_format, keys)]
    with pipeline, _progress(passages):
        packed = pipeline.compress(query, passages, budget=budget)
    typer.echo(written(query, packed, output_format), nl=False, color=True)
    if not packed.evidence:
        reasons = ", ".join(packed.report["reasons"])
        errors.show(f"nothing kept: {reasons}")
        raise typer.Exit(errors.NOTHING_KEPT)


def _pipeline(
    recipe: str, scorer: str | None, token_counter: str | None, citations: bool | None
) -> Pipeline:
    loaded, overrides = recipes.load(recipe), Overrides()
    if scorer is not None:
        overrides["scorer"] = scorer
    if token_counter is not None:
        overrides["token_counter"] = token_counter
    if citations is not None:
        overrides["render"] = loaded.render.model_copy(update={"citations": citations})
    return Pipeline.from_recipe(loaded, **overrides)


@contextmanager
def _progress(passages: Sequence[Passage]) -> Iterator[None]:
    """Show on a terminal, on standard error, that long work goes on and for how long."""
    characters = sum(len(passage.text) for passage in passages)
    if characters < _LONG_CHARACTERS or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        progress.add_task(f"Packing {characters / 1e6:.1f} million characters", total=None)
        yield
