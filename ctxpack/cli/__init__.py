"""The command line; rich is imported by the commands that draw, when they run: it is slow."""

from ctxpack.cli.commands import app, main

__all__ = ["app", "main"]
