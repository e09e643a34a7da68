"""``ctxpack recipes``: what ships, what it holds, and whether yours is valid."""

from __future__ import annotations

import json
import re
from typing import Annotated

import typer
import yaml

from ctxpack import recipes
from ctxpack.cli import errors
from ctxpack.errors import RecipeError
from ctxpack.pipeline import Pipeline
from ctxpack.recipes import Recipe

app = typer.Typer(
    help="List, show and check recipes; print their JSON Schema.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("list")
def list_recipes() -> None:
    """List the recipes that come with ctxpack, and when to choose each."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 1, 0))
    for column in ("name", "scorer", "steps, and when to choose it"):
        table.add_column(Text(column, "dim"), no_wrap=column != "steps, and when to choose it")
    for name in recipes.names():
        recipe = recipes.load(name)
        about = Text.assemble(_steps(recipe), "\n", (_advice(recipes.text_of(name)), "dim"))
        scorers = "\n".join(one.name for one in (recipe.scorer, *recipe.others))
        table.add_row(Text(name, "bold"), scorers, about)
    Console(highlight=False).print(table)


@app.command()
def show(name: Annotated[str, typer.Argument(help="Name of a recipe.")]) -> None:
    """Print the YAML of a recipe: a good start for your own."""
    typer.echo(recipes.text_of(name), nl=False)


@app.command()
def check(
    files: Annotated[list[str], typer.Argument(metavar="FILES", help="YAML files.")],
) -> None:
    """Check recipe files.

    Exit code 2 when one breaks a rule.
    """
    failed = False
    for file in files:
        try:
            Pipeline.from_recipe(file)
            typer.echo(f"{file}: ok")
        except RecipeError as error:
            failed = True
            errors.show(error)
    if failed:
        raise typer.Exit(errors.WRONG_INPUT)


@app.command()
def schema() -> None:
    """Print the JSON Schema of recipe files, for editors."""
    from ctxpack.schema import recipe_schema

    typer.echo(json.dumps(recipe_schema(), indent=2, ensure_ascii=False))


def _steps(recipe: Recipe) -> str:
    """Return the steps on one line, as a recipe spells them: ``dedupe → score → rerank: 20``."""
    lines = recipe.to_data()["steps"]
    return " → ".join(line if isinstance(line, str) else _mapping(line)[1:-1] for line in lines)


def _mapping(line: dict[str, object]) -> str:
    return yaml.safe_dump(line, default_flow_style=True, sort_keys=False, width=1000).strip()


def _advice(text: str) -> str:
    """Return the comment at the top of a recipe as one line."""
    comment = re.match(r"(?:#.*\n)*", text)
    return " ".join(comment[0].replace("#", " ").split()) if comment else ""
