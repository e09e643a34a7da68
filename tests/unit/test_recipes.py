"""Recipes: read, refused with a clear message, written back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ctxpack import recipes
from ctxpack.errors import RecipeError
from ctxpack.stages.order import Order
from ctxpack.stages.prune import Prune
from ctxpack.stages.rerank import Rerank


def data(**changes: Any) -> dict[str, Any]:
    """Return the data of a small recipe with some values changed."""
    return {"name": "small", "scorer": "lexical", "steps": ["score", "select"], **changes}


@pytest.mark.parametrize("name", recipes.names())
def test_shipped_recipes_round_trip(name: str) -> None:
    """What is written back is read as an equal recipe."""
    recipe = recipes.load(name)
    assert recipe.name == name
    assert recipes.load(yaml.safe_load(recipe.to_yaml())) == recipe


@pytest.mark.parametrize("name", recipes.names())
def test_shipped_recipes_say_when_to_choose_them(name: str) -> None:
    """A shipped file begins with a comment for the person who chooses."""
    assert recipes.text_of(name).startswith("# ")


def test_three_spellings_of_a_step() -> None:
    """A name, a name with one value, and a name with options are steps."""
    steps = recipes.load(
        data(steps=["score", "prune", {"rerank": 3}, {"order": {"by": "edges"}}])
    ).steps
    assert steps[1:] == (Prune(), Rerank(top_k=3), Order(by="edges"))


def test_writes_the_shortest_spelling() -> None:
    """Options equal to their defaults are left out, a lone main option needs no name."""
    steps = ["score", {"rerank": {"top_k": 3}}, {"prune": {"threshold": "balanced", "window": 2}}]
    assert recipes.load(data(steps=steps)).to_data() == {
        "version": 1,
        "name": "small",
        "scorer": "lexical",
        "steps": ["score", {"rerank": 3}, {"prune": {"window": 2}}],
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, r"small: `version` must be 1, got 2"),
        ({"bugdet": 5}, r"small: unknown option 'bugdet'; did you mean 'budget'\?"),
        ({"budget": -1}, r"small: `budget` must be greater than or equal to 0, got -1"),
        ({"budget": "10"}, r"small: `budget` must be a valid integer, got '10'"),
        (
            {"on_error": "ignore"},
            r"small: `on_error` must be 'raise' or 'passthrough', got 'ignore'",
        ),
        ({"deadline_ms": 0}, r"small: `deadline_ms` must be greater than 0, got 0"),
        ({"scorer": "bm25"}, r"small: scorer: unknown scorer 'bm25'; known: .*lexical"),
        ({"scorer": {"lexical": {"x": 1}}}, r"small: scorer\.lexical: unknown option 'x'"),
        ({"steps": "score"}, r"small: `steps` must be a list, got 'score'"),
        ({"steps": ["scor"]}, r"small: steps\[0\]: unknown step 'scor'; did you mean 'score'\?"),
        ({"steps": [["score"]]}, r"small: steps\[0\]: must be `name` or `name: options`, got"),
        ({"steps": ["prune"]}, r"small: steps\[0\]\.prune needs a `score` step before it"),
        (
            {"steps": ["score", {"score": 3}]},
            r"small: steps\[1\]\.score: takes options, not a single",
        ),
        (
            {"steps": ["score", {"prune": {"treshold": 1}}]},
            r"small: steps\[1\]\.prune: unknown option 'treshold'; did you mean 'threshold'\?",
        ),
        (
            {"steps": ["score", {"prune": 1.5}]},
            r"small: steps\[1\]\.prune: `threshold` must be .*1\.5",
        ),
        (
            {"steps": ["score", {"rerank": 0}]},
            r"small: steps\[1\]\.rerank: `top_k` must be .*got 0",
        ),
        ({"language": "english"}, r"small: .*`language` must be 'auto' or an ISO 639-1 code"),
        (
            {"steps": ["score", {"prune": "balancd"}]},
            r"small: steps\[1\]\.prune: `threshold` must be .*\(faithful, .*\), got 'balancd'",
        ),
        (
            {"render": {"template": "x"}},
            r"small: render: `template` must hold \{body\} exactly once",
        ),
        ({"render": {"gap": object()}}, r"small: render: options must be plain data"),
    ],
)
def test_a_mistake_is_named(changes: dict[str, Any], message: str) -> None:
    """The error says where, which rule and which value, and the nearest known name."""
    with pytest.raises(RecipeError, match=message):
        recipes.load(data(**changes))


def test_a_missing_key_is_named() -> None:
    """A recipe without steps or scorer says which is missing."""
    with pytest.raises(RecipeError, match="recipe: `scorer` is missing"):
        recipes.load({"steps": []})


def test_an_unknown_recipe_names_the_nearest() -> None:
    """A name that is not shipped lists those that are."""
    with pytest.raises(RecipeError, match="unknown recipe 'balance'; did you mean 'balanced'"):
        recipes.load("balance")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps: [", "mine.yaml: cannot be read"),
        ("- score", r"mine.yaml: must be a mapping, got \['score'\]"),
        ("budget: 1\nbudget: 2", "mine.yaml: cannot be read: a key stands twice"),
        ("x: !!python/object/apply:os.getcwd []", "mine.yaml: cannot be read"),
        ("steps: []", "mine.yaml: `scorer` is missing"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    """A file that is not a recipe, or would run code, is refused with its name."""
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(RecipeError, match=message):
        recipes.load(file)


def test_a_file_gives_its_name(tmp_path: Path) -> None:
    """A recipe file without a name is called as the file is."""
    file = tmp_path / "mine.yaml"
    file.write_text("scorer: lexical\nsteps: [score]\n")
    assert recipes.load(str(file)).name == "mine"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A path that is not there is an error of the recipe."""
    with pytest.raises(RecipeError, match=r"none\.yaml: cannot be read"):
        recipes.load(tmp_path / "none.yaml")
