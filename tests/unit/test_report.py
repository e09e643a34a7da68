from __future__ import annotations

from io import StringIO

from rich.console import Console

from ctxpack import Passage, Pipeline
from ctxpack.report import View

QUERY = "When was the lighthouse automated?"
LIGHT = Passage(
    "The harbour is deep. The lighthouse was automated in 1987. Boats leave at noon.",
    id="light",
    title="Light",
)
COPY = Passage(LIGHT.text, id="copy", title="Light")
OTHER = Passage("The museum opens at ten.")
RECIPE = {
    "scorer": "lexical",
    "steps": ["dedupe", "score", {"prune": {"threshold": 1.0, "min_evidence": 1}}, "select"],
}


def shown(
    *passages: Passage,
    width: int = 80,
    color: bool = False,
    budget: int = 50,
    pipeline: Pipeline | None = None,
) -> str:
    """Return the view of a call as a terminal of `width` columns prints it."""
    packed = (pipeline or Pipeline.from_recipe(RECIPE)).compress(QUERY, passages, budget=budget)
    console = Console(
        file=StringIO(),
        width=width,
        force_terminal=color,
        color_system="standard" if color else None,
        highlight=False,
    )
    console.print(View(QUERY, passages, packed).render(width))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_marks_kept_and_dropped_text() -> None:
    """Inside a passage, kept text has a plus and dropped text a minus."""
    lines = [line.strip() for line in shown(LIGHT).splitlines()]
    assert "- The harbour is deep." in lines
    assert "+ The lighthouse was automated in 1987." in lines


def test_names_stage_and_reason() -> None:
    """A passage that is gone has one line, with the stage and the reason."""
    (line,) = (line for line in shown(LIGHT, OTHER).splitlines() if "passage 2" in line)
    assert line.endswith("prune: below_threshold")


def test_names_what_a_copy_is_a_copy_of() -> None:
    """A duplicate names the passage that keeps the text."""
    (line,) = (line for line in shown(LIGHT, COPY).splitlines() if "copy" in line)
    assert line.endswith("dedupe: duplicate of light")


def test_says_why_nothing_is_kept() -> None:
    """An empty result shows its reason codes."""
    assert "reasons: budget_too_small" in shown(LIGHT, budget=0)


def test_shows_markup_as_text() -> None:
    """Square brackets in a passage are not read as the markup of the terminal library."""
    assert "[bold]lighthouse[/bold] automated" in shown(
        Passage("The [bold]lighthouse[/bold] automated itself.")
    )


def test_colours_kept_text() -> None:
    """On a terminal with colours, kept text is green and dropped text dim."""
    view = shown(LIGHT, color=True)
    assert "\x1b[32mThe lighthouse was automated in 1987." in view
    assert "\x1b[2mThe harbour is deep." in view


def test_wide_terminals_have_two_columns() -> None:
    """On a wide terminal, what came in and what goes out stand beside each other."""
    (line,) = (line for line in shown(LIGHT, width=180).splitlines() if "Retrieved" in line)
    assert "What the model reads" in line


def test_shows_what_the_cache_did() -> None:
    """Hits of each tier, and the time that they saved; or that the store is out of reach."""
    recipe = {"scorer": "ctxpack-swift", "steps": ["score"], "language": "en"}
    pipeline = Pipeline.from_recipe(recipe)
    pipeline.compress(QUERY, [LIGHT])
    assert "cache memory: scores 1 of 1," in shown(LIGHT, pipeline=pipeline)
    away = Pipeline.from_recipe(pipeline.recipe, cache="redis://127.0.0.1:1")
    assert "cache redis: unavailable" in shown(LIGHT, pipeline=away)
    assert "cache" not in shown(LIGHT)
