"""The public surface is what `ctxpack.__all__` says, and integrations use nothing else."""

from __future__ import annotations

import ast
from pathlib import Path
from types import ModuleType

import ctxpack

ROOT = Path(__file__).parents[2]
INTEGRATIONS = [
    path
    for package in ("langchain/langchain_ctxpack", "llama_index/llama_index")
    for path in sorted((ROOT / "integrations" / package).rglob("*.py"))
]


def test_all_names_what_is_importable() -> None:
    """`ctxpack.__all__` has every name without an underscore; modules only if it says so."""
    importable = {name for name in dir(ctxpack) if not name.startswith("_")}
    modules = {name for name in importable if isinstance(getattr(ctxpack, name), ModuleType)}
    assert importable - modules == set(ctxpack.__all__) - modules


def test_public_names_are_few() -> None:
    """`ctxpack.__all__` has at most 12 names."""
    assert len(ctxpack.__all__) <= 12


def test_integrations_use_public_names_only() -> None:
    """An integration imports from `ctxpack` itself, and only names of `ctxpack.__all__`."""
    private = []
    for path in INTEGRATIONS:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ctxpack":
                names = {alias.name for alias in node.names}
                if node.module != "ctxpack" or not names <= set(ctxpack.__all__):
                    private.append(f"{path.name}: {ast.unparse(node)}")
            if isinstance(node, ast.Import):
                private += [
                    f"{path.name}: {ast.unparse(node)}"
                    for alias in node.names
                    if alias.name.startswith("ctxpack.")
                ]
    assert private == []
