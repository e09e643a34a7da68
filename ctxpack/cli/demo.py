"""``ctxpack demo``: what ctxpack does, shown on sample passages."""

from __future__ import annotations

from typing import Annotated

import typer

from ctxpack import samples
from ctxpack.cli import options
from ctxpack.errors import InputError
from ctxpack.pipeline import Pipeline


def demo(
    query: Annotated[
        str,
        typer.Option(
            "--query",
            "-q",
            metavar="NUMBER|TEXT",
            help=f"One of {len(samples.QUERIES)} sample queries, or your own words.",
        ),
    ] = "1",
    recipe: options.Recipe = "balanced",
    budget: options.Budget = 200,
) -> None:
    """Show what is kept and why, on pages of a made-up company.

    It reads sample texts that come with ctxpack; no network is used.
    """
    from rich.console import Console
    from rich.text import Text

    from ctxpack.report import View

    query, passages = _query(query), samples.passages()
    with Pipeline.from_recipe(recipe) as pipeline:
        # With another query: what is shown is then a new query on passages that are known.
        other = next(one for one in samples.QUERIES if one != query)
        first_ms = pipeline.compress(other, passages, budget=budget).report["ms"]
        packed = pipeline.compress(query, passages, budget=budget)
    console = Console(highlight=False)
    console.print(View(query, passages, packed).render(console.width))
    counter = packed.report["token_counter"]
    console.print(
        Text(
            f"\nOffline. Recipe {pipeline.recipe.name}, {counter} tokens."
            f" First call (another query), with loading: {first_ms:.0f} ms.\n"
            f'Next: --query 2 to {len(samples.QUERIES)}, or --query "your own words".',
            "dim",
        )
    )


def _query(query: str) -> str:
    if not query.isdecimal():
        return query
    if not 1 <= int(query) <= len(samples.QUERIES):
        raise InputError(f"--query: must be 1 to {len(samples.QUERIES)} or a text, got {query}")
    return samples.QUERIES[int(query) - 1]
