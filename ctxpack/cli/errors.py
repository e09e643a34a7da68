"""Exit codes, and how an error is shown: one line on standard error."""

from __future__ import annotations

import typer

from ctxpack.errors import BudgetError, InputError, MissingExtraError, RecipeError

UNEXPECTED = 1
WRONG_INPUT = 2
"""The command, an input or a recipe breaks a rule; wrong usage has this code too."""
NOTHING_KEPT = 3


def exit_code(error: Exception) -> int:
    """Return the exit code of an error: `WRONG_INPUT` when the caller can mend it."""
    mendable = (InputError, RecipeError, BudgetError, MissingExtraError, OSError)
    return WRONG_INPUT if isinstance(error, mendable) else UNEXPECTED


def show(message: object) -> None:
    """Print an error, or another message, as one line on standard error."""
    line = " ".join(part.strip() for part in str(message).splitlines())
    typer.echo(f"ctxpack: {line}", err=True)
