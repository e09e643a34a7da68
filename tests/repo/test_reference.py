"""The generated tables of the documentation are those of the code.

``python tests/repo/test_reference.py`` writes them again.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ctxpack import recipes, registry
from ctxpack.schema import recipe_schema
from ctxpack.scoring.base import ConfiguredScorer
from ctxpack.stages.base import Stage

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/reference.md")
GENERATED = re.compile(r"(<!-- generated: (\w+) -->\n).*?(?=<!-- end -->)", re.DOTALL)


def recipe_table() -> Iterator[str]:
    """Yield the recipes with the beginning of their head comments: when to choose each."""
    yield from table("recipe", "choose it")
    for name in recipes.names():
        advice = head_comment(name)
        choice = advice.split("Choose it ", 1)[1].split(": ", 1)[0].rstrip(".")
        default = " (the default)" if advice.startswith("The default.") else ""
        yield f"| `{name}`{default} | {choice} |"


def recipe_sections() -> Iterator[str]:
    """Yield a section a recipe: its head comment and its content."""
    for name in recipes.names():
        content = re.sub(r"\A(?:#.*\n)+", "", recipes.text_of(name))
        yield from (f"### `{name}`", "", head_comment(name), "", "```yaml", content + "```", "")


def stage_sections() -> Iterator[str]:
    """Yield a section a stage: its docstring and its options."""
    options = recipe_schema()["$defs"]
    for name, stage in registry.STAGES.items():
        yield from (f"### `{name}`", "", *paragraphs(stage))
        if stage.value_option is not None:
            yield from (f"`{name}: VALUE` sets `{stage.value_option}`.", "")
        if stage.needs_scores:
            yield from ("It needs a `score` step before it.", "")
        yield from option_table(options[f"step.{name}"]["properties"])


def scorer_sections() -> Iterator[str]:
    """Yield a section a scorer: its docstring, operating points and options."""
    options = recipe_schema()["$defs"]
    for name, scorer in registry.SCORERS.items():
        yield from (f"### `{name}`", "", *paragraphs(scorer))
        points = ", ".join(f"`{point}` {at:g}" for point, at in scorer.operating_points.items())
        yield from (f"Pointwise: {'yes' if scorer.pointwise else 'no'}.", f"Thresholds: {points}.")
        yield from ("", *option_table(options[f"scorer.{name}"]["properties"]))


def recipe_options() -> Iterator[str]:
    """Yield the table of what a recipe file may hold."""
    return option_table(recipe_schema()["properties"])


def render_options() -> Iterator[str]:
    """Yield the table of what `render` may hold."""
    return option_table(recipe_schema()["$defs"]["Render"]["properties"])


def cache_options() -> Iterator[str]:
    """Yield the table of what `cache` may hold."""
    return option_table(recipe_schema()["$defs"]["CacheOptions"]["properties"])


SECTIONS: Mapping[str, Callable[[], Iterator[str]]] = {
    section.__name__: section
    for section in (
        recipe_table,
        recipe_sections,
        recipe_options,
        render_options,
        cache_options,
        stage_sections,
        scorer_sections,
    )
}


def head_comment(name: str) -> str:
    """Return the comment at the top of a shipped recipe as one line."""
    comment = re.match(r"(?:#.*\n)*", recipes.text_of(name))
    return " ".join(comment[0].replace("#", " ").split()) if comment else ""


def paragraphs(model: type[Stage] | type[ConfiguredScorer]) -> Iterator[str]:
    """Yield the paragraphs of a docstring, its arguments aside, a blank line after each."""
    for paragraph in (inspect.getdoc(model) or "").split("\n\n"):
        if not paragraph.startswith("Args:"):
            yield from (" ".join(paragraph.replace("``", "`").split()), "")


def option_table(properties: Mapping[str, Any]) -> Iterator[str]:
    """Yield the table of options by their JSON Schema; nothing when there are none."""
    if properties:
        yield from table("option", "values", "default", "meaning")
    for name, schema in properties.items():
        meaning = schema["description"].replace("|", "\\|")
        yield f"| `{name}` | {values(schema)} | {default(schema)} | {meaning} |"
    if properties:
        yield ""


def table(*columns: str) -> tuple[str, str]:
    """Return the first two lines of a table."""
    return f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"


def default(schema: Mapping[str, Any]) -> str:
    """Return an option's default as JSON, or that there is none."""
    if "$ref" in schema or "default" not in schema:
        return "" if "default" in schema else "none: required"
    return f"`{json.dumps(schema['default'], ensure_ascii=False)}`"


def values(schema: Mapping[str, Any]) -> str:
    """Return what an option may be: ``integer ≥ 1 or null``."""
    if "anyOf" in schema:
        return " or ".join(values(one) for one in schema["anyOf"])
    if "const" in schema or "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema.get("enum", [schema.get("const")]))
    if "$ref" in schema:
        return "see below"
    if schema["type"] == "array":
        return f"list of {values(schema['items'])}"
    bounds = [f"{sign} {schema[key]}" for key, sign in BOUNDS.items() if key in schema]
    return " ".join([schema["type"], *([", ".join(bounds)] if bounds else [])])


BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def generated(page: str) -> str:
    """Return a page with all generated sections as the code has them now."""

    def section(match: re.Match[str]) -> str:
        return "\n".join([match[1].rstrip(), "", *SECTIONS[match[2]]()]).rstrip() + "\n\n"

    return GENERATED.sub(section, (ROOT / page).read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES)
def test_page_is_what_the_code_says(page: str) -> None:
    """A generated section is not stale; ``python tests/repo/test_reference.py`` mends it."""
    assert (ROOT / page).read_text(encoding="utf-8") == generated(page)


def test_every_section_is_somewhere() -> None:
    """No section is generated for nobody."""
    text = "".join((ROOT / page).read_text(encoding="utf-8") for page in PAGES)
    assert {name for _, name in GENERATED.findall(text)} == set(SECTIONS)


if __name__ == "__main__":
    for page in PAGES:
        (ROOT / page).write_text(generated(page), encoding="utf-8")
