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
    """Every name in `ctxpack` without an underscore is in `__all__`, submodules aside."""
    values = {name: getattr(ctxpack, name) for name in {*dir(ctxpack), *ctxpack.__all__}}
    public = {
        name
        for name, value in values.items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    public.discard("annotations")  # of `from __future__ import annotations`
    assert public == set(ctxpack.__all__)


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
