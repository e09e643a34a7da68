"""Modules, functions and signatures are small enough to read in one go."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path
    for package in (
        "ctxpack",
        "integrations/langchain/langchain_ctxpack",
        "integrations/llama_index/llama_index",
    )
    for path in (ROOT / package).rglob("*.py")
)
OVERSIZE = tomllib.loads((ROOT / "tests/repo/oversize.toml").read_text())

MODULE_LINES = 300
STAGE_LINES = 150
FUNCTION_LINES = 40
PARAMETERS = 5

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST, prefix: str) -> Iterator[tuple[str, Function]]:
    """Yield every function below `tree`, named as in ``ctxpack/pipeline.py:Pipeline.compress``."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Function | ast.ClassDef):
            name = f"{prefix}{node.name}"
            if isinstance(node, Function):
                yield name, node
            yield from functions(node, f"{name}.")
        else:
            yield from functions(node, prefix)


def line_count(function: Function) -> int:
    """Count the lines of a function, decorators and docstring left out."""
    last = function.end_lineno or function.lineno
    first = function.body[0]
    docstring = 0
    if ast.get_docstring(function) is not None:
        docstring = (first.end_lineno or first.lineno) - first.lineno + 1
    return last - function.lineno + 1 - docstring


def parameter_count(function: Function) -> int:
    """Count the parameters of a function, `self` and `cls` left out."""
    arguments = function.args
    names = [
        argument.arg
        for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    ]
    names += [argument.arg for argument in (arguments.vararg, arguments.kwarg) if argument]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def all_functions() -> Iterator[tuple[str, Function]]:
    """Yield every function of the shipped code."""
    for path in SOURCES:
        yield from functions(ast.parse(path.read_text()), f"{path.relative_to(ROOT).as_posix()}:")


def test_modules_are_small() -> None:
    """A module has at most 300 non-blank lines, a stage 150, unless `oversize.toml` says so."""
    over = {}
    for path in SOURCES:
        count = sum(1 for line in path.read_text().splitlines() if line.strip())
        if count > (STAGE_LINES if path.parent.name == "stages" else MODULE_LINES):
            over[path.relative_to(ROOT).as_posix()] = count
    assert over == OVERSIZE["module_lines"]


def test_functions_are_small() -> None:
    """A function has at most 40 lines beside its docstring, unless `oversize.toml` says so."""
    counts = {name: line_count(function) for name, function in all_functions()}
    over = {name: count for name, count in counts.items() if count > FUNCTION_LINES}
    assert over == OVERSIZE["function_lines"]


def test_signatures_are_small() -> None:
    """A function takes at most 5 parameters beside `self`, unless `oversize.toml` says so."""
    counts = {name: parameter_count(function) for name, function in all_functions()}
    over = {name: count for name, count in counts.items() if count > PARAMETERS}
    assert over == OVERSIZE["parameters"]
