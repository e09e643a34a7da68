"""Values that take the place of a recipe's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypedDict, cast

from ctxpack import recipes, registry
from ctxpack.cache.base import SegmentCache
from ctxpack.cache.options import CacheOptions
from ctxpack.errors import RecipeError, shown
from ctxpack.recipes import OnError, Recipe
from ctxpack.render import Render
from ctxpack.scoring.base import ConfiguredScorer, Scorer
from ctxpack.stages.base import PinOverflow
from ctxpack.tokens import TokenCounter, counter_from


class Overrides(TypedDict, total=False):
    """Values that take the place of a recipe's own; see `Recipe` for their meaning.

    Attributes:
        scorer: a name, ``{name: options}``, or a `Scorer`.
        token_counter: anything that `ctxpack.tokens.counter_from` takes.
        cache: what a recipe says of its cache, or a store, which the pipeline does not close.
        cache_secret: of at least 16 bytes, for a store that others can read; without it the
            environment variable ``CTXPACK_CACHE_SECRET`` is used, where it is set.
    """

    scorer: str | Mapping[str, Any] | Scorer
    token_counter: Any
    budget: int
    language: str
    on_error: OnError
    deadline_ms: float
    pin_overflow: PinOverflow
    render: Mapping[str, Any] | Render
    cache: str | Mapping[str, Any] | CacheOptions | SegmentCache
    cache_secret: str | bytes


class Objects(NamedTuple):
    """What is not plain data and cannot stand in a recipe; None for what was not given."""

    scorer: Scorer | None = None
    token_counter: TokenCounter | None = None
    cache: SegmentCache | None = None
    cache_secret: str | bytes | None = None


def overridden(
    loaded: Recipe, overrides: Mapping[str, Any], objects: Objects
) -> tuple[Recipe, Objects]:
    """Return the recipe with `Overrides`, and those of them that a pipeline holds beside it.

    Args:
        loaded: the recipe.
        overrides: a value that is None overrides nothing.
        objects: held so far; an override takes the place of its object too.

    Raises:
        RecipeError: an override is not known or breaks a rule.
    """
    for name in overrides:
        if name not in Overrides.__annotations__:
            known = sorted(Overrides.__annotations__)
            raise RecipeError(f"{loaded.name}: {registry.unknown('override', name, known)}")
    data = {name: value for name, value in overrides.items() if value is not None}
    objects = objects._replace(**{name: None for name in Objects._fields if name in data})
    if "cache_secret" in data:
        objects = objects._replace(cache_secret=data.pop("cache_secret"))
    if not isinstance(data.get("scorer", ""), str | Mapping | ConfiguredScorer):
        objects = objects._replace(scorer=_as_scorer(data.pop("scorer"), loaded.name))
    if not isinstance(data.get("token_counter", ""), str):
        objects = objects._replace(token_counter=counter_from(data.pop("token_counter")))
    if not isinstance(data.get("cache", ""), str | Mapping | CacheOptions):
        objects = objects._replace(cache=_as_cache(data.pop("cache"), loaded.name))
    if data:
        loaded = recipes.parse({**dict(loaded), **data}, where=loaded.name)
    return loaded, objects


def _as_scorer(scorer: object, where: str) -> Scorer:
    for attribute in ("score", "score_many", "pointwise", "operating_points"):
        if not hasattr(scorer, attribute):
            raise RecipeError(f"{where}: a scorer must have `{attribute}`, got {shown(scorer)}")
    return cast(Scorer, scorer)


def _as_cache(cache: object, where: str) -> SegmentCache:
    for attribute in ("name", "get_many", "put_many"):
        if not hasattr(cache, attribute):
            raise RecipeError(f"{where}: a cache must have `{attribute}`, got {shown(cache)}")
    return cast(SegmentCache, cache)
