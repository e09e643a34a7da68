"""The commands of ``ctxpack``, and what becomes of their errors."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import ctxpack
from ctxpack.cli import errors
from ctxpack.cli.bench import app as bench
from ctxpack.cli.cache import app as cache
from ctxpack.cli.demo import demo
from ctxpack.cli.doctor import doctor
from ctxpack.cli.pack import pack
from ctxpack.cli.recipes import app as recipes
from ctxpack.cli.train import app as train
from ctxpack.errors import CtxpackError


class _Commands(TyperGroup):
    """Turns an error of a command into one line on standard error and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # the reader has gone: the command-line library ends in silence
        except (CtxpackError, OSError) as error:
            errors.show(error)
            raise typer.Exit(errors.exit_code(error)) from None


app = typer.Typer(
    cls=_Commands,
    help="Find the smallest verbatim context that still answers a query, inside a token budget.",
    epilog="Exit codes: 0 done, 1 unexpected, 2 wrong usage, input or recipe, 3 nothing kept.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(demo)
app.command()(pack)
app.add_typer(recipes, name="recipes")
app.add_typer(cache, name="cache")
app.command()(doctor)
app.add_typer(bench, name="bench")
app.add_typer(train, name="train")


def main() -> None:
    """Run the command line; the console script ``ctxpack``."""
    app()


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ctxpack {ctxpack.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    _set_encoding()


def _set_encoding() -> None:
    """Let any text be written: as UTF-8 where programs read, escaped where a terminal cannot."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            encoding = None if stream.isatty() else "utf-8"
            stream.reconfigure(encoding=encoding, errors="backslashreplace")
