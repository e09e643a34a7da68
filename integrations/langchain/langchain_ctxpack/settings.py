"""The settings that the classes share, and how each is written as data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from langchain_core.language_models import BaseLanguageModel
from langchain_core.prompts import BasePromptTemplate, PromptTemplate
from pydantic import PlainSerializer, SkipValidation

from ctxpack import Pipeline
from langchain_ctxpack.counter import ChatModelCounter
from langchain_ctxpack.documents import KEY, SCORE_KEY


def _recipe_data(recipe: Any) -> dict[str, Any]:
    return Pipeline.from_recipe(recipe).to_data()


def _counter_data(token_counter: Any) -> str | None:
    if token_counter is None or isinstance(token_counter, str):
        return token_counter
    raise ValueError(f"`token_counter`: only a name can be written as data, got {token_counter!r}")


def _template_data(prompt: str | BasePromptTemplate[str]) -> str:
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, PromptTemplate) and prompt == PromptTemplate.from_template(
        prompt.template
    ):
        return prompt.template
    raise ValueError(
        f"`document_prompt`: only a plain f-string template can be written as data, got {prompt!r}"
    )


RecipeSource = Annotated[str | Path | dict[str, Any] | Pipeline, PlainSerializer(_recipe_data)]
"""A shipped recipe's name, a YAML file's path, its data, or a `Pipeline`; written as data."""

Counter = Annotated[Any, PlainSerializer(_counter_data)]
"""What `Pipeline.from_recipe` takes as token counter, or a model of LangChain; names are data."""

# Not validated: langchain-core 1.0 fails to see that a prompt is one. `prompt_of` checks it.
DocumentPrompt = Annotated[
    str | BasePromptTemplate[str], SkipValidation, PlainSerializer(_template_data)
]
"""An f-string template of one document, or a prompt; plain templates are written as a string."""


def pipeline_of(recipe: str | Path | dict[str, Any] | Pipeline, counter: Any = None) -> Pipeline:
    """Return the pipeline that the settings describe.

    Raises:
        RecipeError: the recipe or the counter breaks a rule.
    """
    if isinstance(counter, BaseLanguageModel):
        counter = ChatModelCounter(counter)
    return Pipeline.from_recipe(recipe, token_counter=counter)


def prompt_of(prompt: str | BasePromptTemplate[str]) -> BasePromptTemplate[str]:
    """Return the prompt that formats one document.

    Raises:
        ValueError: it is none, or shows metadata that compression writes, which cannot be planned.
    """
    if isinstance(prompt, str):
        prompt = PromptTemplate.from_template(prompt)
    if not isinstance(prompt, BasePromptTemplate):
        raise ValueError(f"`document_prompt` must be a template or a prompt, got {prompt!r}")
    for key in (KEY, SCORE_KEY):
        if key in prompt.input_variables:
            raise ValueError(f"`document_prompt` must not show `{key}`, which compression writes")
    return prompt
