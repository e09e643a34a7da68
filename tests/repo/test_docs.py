"""What the documentation shows, works."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt

from ctxpack import Pipeline

ROOT = Path(__file__).parents[2]
PAGES = [
    path.relative_to(ROOT).as_posix()
    for pattern in ("README.md", "docs/**/*.md", "integrations/*/README.md")
    for path in sorted(ROOT.glob(pattern))
]


def blocks(page: str, language: str) -> Iterator[tuple[int, str]]:
    """Yield line number and content of every fenced block of a language, from top to bottom."""
    for token in MarkdownIt().parse((ROOT / page).read_text()):
        if token.type == "fence" and token.map and token.info.split(" ")[0] == language:
            yield token.map[0] + 1, token.content


@pytest.mark.parametrize("page", PAGES)
def test_python_blocks_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python blocks of a page run one after the other, in one namespace."""
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "docs"}
    for line, content in blocks(page, "python"):
        # The blank lines make a traceback name the line of the page.
        exec(compile("\n" * line + content, page, "exec"), namespace)


@pytest.mark.parametrize("page", PAGES)
def test_recipe_blocks_load(page: str, tmp_path: Path) -> None:
    """Every YAML block of a page that has `steps` is a recipe."""
    for line, content in blocks(page, "yaml"):
        if "steps" in (yaml.safe_load(content) or {}):
            recipe = tmp_path / f"line_{line}.yaml"
            recipe.write_text(content)
            assert Pipeline.from_recipe(recipe)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """Every relative link of a page is a file of the tree."""
    inline = [token for token in MarkdownIt().parse((ROOT / page).read_text()) if token.children]
    links = [
        str(child.attrGet("href"))
        for token in inline
        for child in token.children or []
        if child.type == "link_open"
    ]
    files = [link.split("#")[0] for link in links if ":" not in link and not link.startswith("#")]
    assert [name for name in files if not (ROOT / page).parent.joinpath(name).exists()] == []
