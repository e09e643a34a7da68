"""A language model's own count of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.language_models import BaseLanguageModel
from langchain_core.messages import HumanMessage

from ctxpack import errors


class ChatModelCounter:
    """Counts tokens as a LangChain model does: the budget is then in that model's tokens.

    A model that can only count messages counts the text as one message, its frame included, so
    such a count is never too low. Some models count over the network, at every call.

    Args:
        model: one with a tokenizer of its own.

    Raises:
        RecipeError: the model has none; LangChain would download the tokenizer of GPT-2 for it.
    """

    exact = True

    def __init__(self, model: BaseLanguageModel[Any]) -> None:
        self.name = f"langchain:{type(model).__name__}"
        self._model = model
        self._by_message = not _overrides(model, "get_num_tokens", "get_token_ids")
        if model.custom_get_token_ids is not None:
            self._by_message = False
        elif self._by_message and not _overrides(model, "get_num_tokens_from_messages"):
            raise errors.RecipeError(
                f"token_counter: {type(model).__name__} has no tokenizer of its own; give one as"
                " its `custom_get_token_ids`, or another token counter"
            )

    def __repr__(self) -> str:
        return f"ChatModelCounter({self._model!r})"

    def count(self, text: str) -> int:
        """Return the tokens of `text`; 0 for the empty text."""
        if not text:
            return 0
        if self._by_message:
            return self._model.get_num_tokens_from_messages([HumanMessage(text)])
        return self._model.get_num_tokens(text)

    def count_many(self, texts: Sequence[str]) -> list[int]:
        """Return `count` of every text, in order."""
        return [self.count(text) for text in texts]


def _overrides(model: BaseLanguageModel[Any], *methods: str) -> bool:
    return any(
        getattr(type(model), method) is not getattr(BaseLanguageModel, method) for method in methods
    )
