"""The settings that the classes share, and how each is written as data."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Annotated, Any

from llama_index.core.bridge.pydantic import PlainSerializer
from llama_index.core.schema import BaseComponent

from ctxpack import Pipeline


def _recipe_data(recipe: Any) -> dict[str, Any]:
    return Pipeline.from_recipe(recipe).to_data()


def _counter_data(token_counter: Any) -> str | None:
    if token_counter is None or isinstance(token_counter, str):
        return token_counter
    raise ValueError(f"`token_counter`: only a name can be written as data, got {token_counter!r}")


def not_data(name: str) -> PlainSerializer:
    """Return the serializer of a setting that only a function can hold; None is data."""

    def data(function: object) -> None:
        if function is not None:
            raise ValueError(f"`{name}`: a function cannot be written as data, got {function!r}")

    return PlainSerializer(data)


RecipeSource = Annotated[str | Path | dict[str, Any] | Pipeline, PlainSerializer(_recipe_data)]
"""A shipped recipe's name, a YAML file's path, its data, or a `Pipeline`; written as data."""

Counter = Annotated[Any, PlainSerializer(_counter_data)]
"""What `Pipeline.from_recipe` takes as token counter; a name is data."""


class WholePickle(BaseComponent):
    """Base of components that refuse to be pickled without one of their settings.

    The framework leaves out what cannot be pickled and logs it: the copy would do something else.
    """

    def __getstate__(self) -> dict[str, Any]:
        """Return the state; what the framework puts into a component may be left out of it.

        Raises:
            PicklingError: a setting cannot be pickled.
        """
        state = super().__getstate__()
        missing = type(self).model_fields.keys() - state["__dict__"].keys() - {"callback_manager"}
        if missing:
            raise pickle.PicklingError(f"{self.class_name()}: cannot pickle {sorted(missing)}")
        return state
