"""The JSON Schema of recipe files: completion, descriptions and checks while somebody types."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from ctxpack import registry
from ctxpack.cache.options import CacheOptions
from ctxpack.recipes import Recipe
from ctxpack.render import Render
from ctxpack.scoring.base import ConfiguredScorer
from ctxpack.stages.base import Stage

Schema = dict[str, Any]


def recipe_schema() -> Schema:
    """Return the schema (draft 2020-12) of a recipe file, with all registered stages and scorers.

    What breaks it is refused by `ctxpack.recipes.load` too. A few rules are checked there alone:
    the order of the steps, the fields of the template, regular expressions.
    """
    defs: dict[str, Schema] = {}
    recipe = _options(Recipe, defs)
    defs["Render"] = _options(Render, defs)
    defs["CacheOptions"] = _options(CacheOptions, defs)
    defs["scorer"] = _line("scorer", registry.all_scorers(), defs)
    defs["step"] = _line("step", registry.all_stages(), defs)
    recipe["properties"]["steps"]["items"] = {"$ref": "#/$defs/step"}
    for base in (Stage, ConfiguredScorer):
        defs.pop(base.__name__, None)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ctxpack recipe",
        **recipe,
        "$defs": defs,
    }


def _line(
    group: str, models: Mapping[str, type[Stage] | type[ConfiguredScorer]], defs: dict[str, Schema]
) -> Schema:
    """Return the schema of ``name``, ``name: value`` or ``name: {option: value}``.

    The options of each model go to `defs`.
    """
    names: list[Schema] = []
    lines: dict[str, Schema] = {}
    for name, model in models.items():
        options = defs[f"{group}.{name}"] = _options(model, defs)
        forms: list[Schema] = [{"$ref": f"#/$defs/{group}.{name}"}]
        value_option = getattr(model, "value_option", None)
        if value_option is not None:
            forms.append(options["properties"][value_option])
        if "required" not in options:
            forms.append({"type": "null"})
            names.append({"const": name, "description": options["description"]})
        lines[name] = {"description": options["description"], "anyOf": forms}
    one_line = {
        "type": "object",
        "properties": lines,
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }
    return {"anyOf": [{"oneOf": names}, one_line]}


def _options(model: type[BaseModel], defs: dict[str, Schema]) -> Schema:
    """Return the schema of a model's options, described by its docstring; the rest to `defs`."""
    schema = model.model_json_schema(schema_generator=_Untitled)
    defs.update(schema.pop("$defs", {}))
    for name, field in model.model_fields.items():
        if field.annotation is ConfiguredScorer:
            line = schema["properties"][name] = {"$ref": "#/$defs/scorer"}
            if not field.is_required():
                line["default"] = field.get_default(call_default_factory=True).name
    doc = inspect.getdoc(model) or ""
    schema["description"] = " ".join(doc.partition("\n\n")[0].split())
    for name, text in re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", doc, re.MULTILINE):
        if name in schema.get("properties", {}):
            schema["properties"][name]["description"] = " ".join(text.split()).replace("``", "`")
    return {key: value for key, value in schema.items() if key != "title"}


class _Untitled(GenerateJsonSchema):
    """Leaves out the titles of options, which only repeat their names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False
