from __future__ import annotations

from typing import Any

import jsonschema
import pytest
import yaml

from ctxpack import recipes, registry
from ctxpack.errors import RecipeError
from ctxpack.schema import recipe_schema

STEPS = "scorer: lexical\nsteps: [score, %s]"


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    """The schema, checked itself."""
    schema = recipe_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("name", recipes.names())
def test_shipped_recipes_pass(name: str, validator: Any) -> None:
    """Every shipped recipe is valid under the schema."""
    validator.validate(yaml.safe_load(recipes.text_of(name)))


@pytest.mark.parametrize("step", ["prune", "prune: 0.4", "prune: {threshold: 0.4}", "prune: "])
def test_spellings_of_a_step(step: str, validator: Any) -> None:
    """A step is a name, a name with a value, or a name with options."""
    recipe = yaml.safe_load(STEPS % (f"{{{step}}}" if ":" in step else step))
    validator.validate(recipe)
    recipes.parse(recipe, where="test")


@pytest.mark.parametrize(
    "text",
    [
        "steps: []",
        "scorer: lexical",
        "scorer: unknown\nsteps: []",
        "scorer: {lexical: {unknown: 1}}\nsteps: []",
        "scorer: lexical\nsteps: []\nunknown: 1",
        "scorer: lexical\nsteps: []\nversion: 2",
        "scorer: lexical\nsteps: []\nbudget: -1",
        "scorer: lexical\nsteps: []\nrender: {citation: true}",
        STEPS % "unknown",
        STEPS % "{rerank: 0}",
        STEPS % "{rerank: many}",
        STEPS % "{score: 1}",
        STEPS % "{prune: {threshold: 1.5}}",
        STEPS % "{prune: {unknown: 1}}",
        STEPS % "{order: sideways}",
        STEPS % "{prune: 0.4, order: score}",
    ],
)
def test_broken_recipes_fail(text: str, validator: Any) -> None:
    """What the schema refuses, the loader refuses too."""
    recipe = yaml.safe_load(text)
    assert not validator.is_valid(recipe)
    with pytest.raises(RecipeError):
        recipes.parse(recipe, where="test")


def test_options_are_described() -> None:
    """Every stage, every scorer and each of their options has a description."""
    defs = recipe_schema()["$defs"]
    named = [f"step.{name}" for name in registry.all_stages()]
    named += [f"scorer.{name}" for name in registry.all_scorers()]
    for name in named:
        assert defs[name]["description"]
        for option, schema in defs[name]["properties"].items():
            assert schema.get("description"), f"{name}: {option}"
