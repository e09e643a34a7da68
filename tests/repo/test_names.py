"""One word per concept: the words that the glossary rules out are not names in the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SPEAK_FOR_DATA_SETS = {"bench", "train"}  # whose questions and documents are what they say


def ruled_out() -> list[str]:
    """Return the words in code format of the glossary's last column."""
    rows = (ROOT / "docs/glossary.md").read_text().splitlines()
    cells = [row.split("|")[-2] for row in rows if row.startswith("|")]
    return re.findall(r"`(\w+)`", " ".join(cells))


def names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and name of everything that the code names itself: bound names and parameters."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


def test_code_speaks_the_glossary() -> None:
    """No name in `ctxpack`, `bench` and `train` aside, has a word that the glossary rules out."""
    banned = re.compile(rf"(?:^|_)(?:{'|'.join(ruled_out())})s?(?:_|$)")
    found = []
    for path in sorted((ROOT / "ctxpack").rglob("*.py")):
        if path.relative_to(ROOT).parts[1] in SPEAK_FOR_DATA_SETS:
            continue
        for line, name in names(ast.parse(path.read_text())):
            snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
            if banned.search(snake):
                found.append(f"{path.relative_to(ROOT)}:{line}: {name}")
    assert found == []
