"""Recipes: a pipeline as data, read from YAML and written back to it.

A recipe is data only: a safe loader, a closed registry of names, no imports, no expressions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    InstanceOf,
    ValidationError,
    field_validator,
    model_validator,
)

from ctxpack import registry
from ctxpack.cache.opening import open_cache
from ctxpack.cache.options import CacheOptions, without_password
from ctxpack.errors import CacheError, RecipeError, shown
from ctxpack.render import Render
from ctxpack.scoring.base import ConfiguredScorer
from ctxpack.scoring.caching import options_of
from ctxpack.sentences import split
from ctxpack.stages.base import PinOverflow, Stage

OnError = Literal["raise", "passthrough"]
Model = TypeVar("Model", bound=BaseModel)


class Recipe(BaseModel):
    """A pipeline as data; what a recipe file holds.

    Args:
        version: of the recipe format.
        name: shown in reports and errors.
        description: when to choose this recipe.
        scorer: what scores passages and spans.
        language: of query and passages, an ISO 639-1 code, or ``auto``: the splitter goes by the
            script of each passage, and a scorer that knows English alone scores calls that read as
            English. Other calls are scored by ``lexical``, and their reports say so. With ``mixed``
            English passages of an English query keep their scorer beside others.
        token_counter: see `ctxpack.tokens.counter_from`.
        budget: in tokens, for calls that do not give one; None for no limit.
        on_error: ``raise`` an error of a stage or scorer, or ``passthrough``: return the best
            selection so far, within the budget, and report the error.
        deadline_ms: milliseconds after which a call returns the best selection so far, within the
            budget; None for never.
        cache: where what a pointwise scorer computed is kept: a URL, options, or ``none``; a scorer
            that encodes segments has 128 MB of memory unless this says otherwise.
        pin_overflow: ``raise`` `BudgetError` when pinned spans alone do not fit the budget, or
            ``degrade``: treat them like other spans.
        render: how the output is written.
        steps: the stages, in order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1] = 1
    name: str = "unnamed"
    description: str = ""
    scorer: InstanceOf[ConfiguredScorer]
    language: str = "auto"
    token_counter: str = "approximate"
    budget: int | None = Field(default=None, ge=0)
    on_error: OnError = "raise"
    deadline_ms: float | None = Field(default=None, gt=0)
    cache: str | CacheOptions | None = None
    pin_overflow: PinOverflow = "raise"
    render: Render = Render()
    steps: tuple[InstanceOf[Stage], ...]

    @field_validator("language")
    @classmethod
    def _check_language(cls, language: str) -> str:
        if language != "mixed":
            split("", language=language)
        return language

    @model_validator(mode="after")
    def _check_cache(self) -> Recipe:
        options = options_of(self.scorer, self.cache)
        if options is not None and self.cache is not None:
            try:
                open_cache(options.url, namespace=options.namespace)  # opens nothing before use
            except CacheError as error:
                raise ValueError(str(error)) from None
        return self

    @model_validator(mode="after")
    def _check_order(self) -> Recipe:
        scored = False
        for index, step in enumerate(self.steps):
            if step.needs_scores and not scored:
                raise ValueError(f"steps[{index}].{step.name} needs a `score` step before it")
            scored = scored or step.name == "score"
            try:
                step.check(self.scorer)
            except ValueError as error:
                raise ValueError(f"steps[{index}].{step.name}: {error}") from None
        return self

    @property
    def others(self) -> tuple[ConfiguredScorer, ...]:
        """Scorers that steps name, beside the recipe's own."""
        values = [value for step in self.steps for _, value in step]
        return tuple(value for value in values if isinstance(value, ConfiguredScorer))

    def to_data(self) -> dict[str, Any]:
        """Return the recipe as plain data; options equal to their defaults are left out."""
        data = self.model_dump(mode="json", exclude={"scorer", "steps"}, exclude_defaults=True)
        line = _write_line(self.scorer, None)
        steps = [_write_line(step, step.value_option) for step in self.steps]
        return {"version": self.version, **data, "scorer": line, "steps": steps}

    def to_yaml(self) -> str:
        """Return the recipe as YAML that `load` reads back to an equal recipe."""
        return yaml.safe_dump(self.to_data(), sort_keys=False, allow_unicode=True)


def load(source: str | Path | Mapping[str, Any] | Recipe) -> Recipe:
    """Return a recipe.

    Args:
        source: the name of a shipped recipe, the path of a YAML file (a `Path`, or a string with a
            dot or a separator in it), its data as a mapping, or a recipe.

    Raises:
        RecipeError: the recipe is not there, or breaks a rule; the message says where, which rule
            and which value.
    """
    if isinstance(source, Recipe):
        return source
    if isinstance(source, Mapping):
        return parse(source, where=str(source.get("name", "recipe")))
    if not isinstance(source, str | Path):
        raise RecipeError(f"a recipe must be a name, a path or a mapping, got {shown(source)}")
    path: Path | Traversable = Path(source)
    if isinstance(source, str) and path.name == source and "." not in source:
        path = _shipped(source)
    try:
        text = path.read_text(encoding="utf-8")
        data = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise RecipeError(f"{source}: cannot be read: {error}") from error
    if not isinstance(data, Mapping):
        raise RecipeError(f"{source}: must be a mapping, got {data!r}")
    return parse({"name": Path(path.name).stem, **data}, where=path.name)


def parse(data: Mapping[str, Any], *, where: str) -> Recipe:
    """Return the recipe that `data` describes; `where` begins the message of an error.

    Raises:
        RecipeError: the data breaks a rule.
    """
    data = dict(data)
    if "scorer" in data:
        data["scorer"] = read_scorer(data["scorer"], where=f"{where}: scorer")
    steps = data.get("steps", ())
    if not isinstance(steps, list | tuple):
        raise RecipeError(f"{where}: `steps` must be a list, got {steps!r}")
    if "steps" in data:
        data["steps"] = tuple(
            _read_step(line, where=f"{where}: steps[{index}]") for index, line in enumerate(steps)
        )
    parts: dict[str, type[BaseModel]] = {"render": Render, "cache": CacheOptions}
    for name, model in parts.items():
        if isinstance(data.get(name), Mapping):
            data[name] = _validated(model, data[name], f"{where}: {name}")
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        raise RecipeError(f"{where}: {_message(Recipe, error)}") from None


def names() -> list[str]:
    """Return the names of the shipped recipes, sorted."""
    return sorted(
        file.name.removesuffix(".yaml")
        for file in folder().iterdir()
        if file.name.endswith(".yaml")
    )


def text_of(name: str) -> str:
    """Return the YAML of a shipped recipe as it was written, comments included.

    Raises:
        RecipeError: there is no recipe of that name.
    """
    return _shipped(name).read_text(encoding="utf-8")


def read_scorer(line: object, *, where: str) -> ConfiguredScorer:
    """Return the scorer that ``name`` or ``{name: {option: value}}`` describes.

    Raises:
        RecipeError: the name is not known, or an option breaks a rule.
    """
    if isinstance(line, ConfiguredScorer):
        return line
    name, options = _name_and_options(line, where)
    return _validated(registry.scorer(name, where=where), options, f"{where}.{name}")


def _read_step(line: object, *, where: str) -> Stage:
    if isinstance(line, Stage):
        return line
    name, options = _name_and_options(line, where)
    stage = registry.stage(name, where=where)
    if not isinstance(options, Mapping) and stage.value_option is not None:
        options = {stage.value_option: options}
    return _validated(stage, options, f"{where}.{name}")


def _name_and_options(line: object, where: str) -> tuple[str, object]:
    """Return the two parts of a line: ``'select'`` → ``('select', {})``."""
    if isinstance(line, str):
        return line, {}
    if isinstance(line, Mapping) and len(line) == 1:
        (name, options), *_ = line.items()
        if isinstance(name, str):
            return name, {} if options is None else options
    raise RecipeError(f"{where}: must be `name` or `name: options`, got {line!r}")


def _validated(model: type[Model], options: object, where: str) -> Model:
    if not isinstance(options, Mapping):
        raise RecipeError(f"{where}: takes options, not a single value, got {options!r}")
    scorers = {
        name: read_scorer(options[name], where=f"{where}.{name}")
        for name, field in model.model_fields.items()
        if field.annotation is ConfiguredScorer and name in options
    }
    rest = {name: value for name, value in options.items() if name not in scorers}
    try:
        # JSON mode: strict about types, but a list is a tuple.
        return model.model_validate_json(json.dumps(rest)).model_copy(update=scorers)
    except TypeError as error:
        raise RecipeError(f"{where}: options must be plain data: {error}") from None
    except ValidationError as error:
        raise RecipeError(f"{where}: {_message(model, error)}") from None


def _message(model: type[BaseModel], error: ValidationError) -> str:
    """Return the first problem as rule and value, such as ``unknown option …``."""
    problem = error.errors(include_url=False)[0]
    option = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return registry.unknown("option", option, sorted(model.model_fields))
    if problem["type"] == "missing":
        return f"`{option}` is missing"
    rule = problem["msg"].replace("Input should be", "must be").removeprefix("Value error, ")
    given = without_password(repr(problem["input"]))  # which may be, or hold, a cache's URL
    return f"`{option}` {rule}, got {given}" if option else rule


def _write_line(model: Stage | ConfiguredScorer, value_option: str | None) -> Any:
    """Return the shortest spelling of a step or scorer: name, name and value, or with options."""
    options = model.model_dump(mode="json", exclude_defaults=True)
    for name, value in model:
        if name in options and isinstance(value, ConfiguredScorer):
            options[name] = _write_line(value, None)
    if not options:
        return model.name
    if value_option is not None and list(options) == [value_option]:
        return {model.name: options[value_option]}
    return {model.name: options}


def folder() -> Traversable:
    """Return the folder of shipped recipes: in a wheel inside the package, else beside it."""
    package = files("ctxpack")
    shipped = package / "_recipes"
    return shipped if shipped.is_dir() else Path(str(package)).parent / "recipes"


def _shipped(name: str) -> Traversable:
    if name not in names():
        raise RecipeError(registry.unknown("recipe", name, names()))
    return folder() / f"{name}.yaml"


class _Loader(yaml.SafeLoader):
    """A safe loader that refuses a key which stands twice in a mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep)
        if len(mapping) != len(node.value):
            raise yaml.YAMLError(f"a key stands twice in the mapping at{node.start_mark}")
        return mapping
