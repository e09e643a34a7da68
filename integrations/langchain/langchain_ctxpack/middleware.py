"""Agent middleware that prunes long tool results against the current request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import TYPE_CHECKING, Any

from langchain_core.messages import ToolMessage

from langchain_ctxpack.documents import KEY
from langchain_ctxpack.requests import request_of
from langchain_ctxpack.settings import RecipeSource
from langchain_ctxpack.tool_pruner import Pruned, ToolPruner

try:
    from langchain.agents.middleware import AgentMiddleware

    from langchain_ctxpack.expand import expand_context
except ImportError as error:
    raise ImportError(
        'CtxPackMiddleware needs an extra: pip install "langchain-ctxpack[agents]"'
    ) from error

if TYPE_CHECKING:
    from langchain.agents.middleware.types import ToolCallRequest
    from langgraph.types import Command


class CtxPackMiddleware(AgentMiddleware):
    """Prunes long tool results, before the model sees them, to what the request is about.

    JSON stays JSON: elements of long arrays are kept whole or not at all, and long strings are
    pruned. Logs, source code and listings lose whole lines, with the indented lines behind them;
    in other text sentences, list items, table rows and code blocks are kept whole or not at all.
    What looks like an error goes last.

    Where something is left out a mark says so, with an id, and the tool `expand_context` gives the
    left-out parts of that id back. They are kept in the message's `artifact`, below ``ctxpack``:
    the model does not see it, and a checkpointer saves it. An artifact that is no dict moves below
    ``artifact``.

    A result is pruned once, before it becomes a message, so it never changes afterwards and a
    provider's prefix cache stays valid. The same result and request give the same bytes.

    Results that tools return as a `Command`, and those of failed calls, are left alone.

    Args:
        recipe: for text that is no JSON and no log: a shipped recipe's name, a YAML file's path,
            its data, or a `Pipeline`; None for one that keeps what scores best. Its scorer and
            token counter are used for the rest too.
        budget: most tokens of a result, the mark included.
        only: names of the tools whose results are pruned; None for all.
        min_tokens: least tokens of a result that is pruned; None for those over the budget.
        query_from: makes the query; None for the user's last message and the strings among the
            tool call's arguments.

    Raises:
        ValueError: a setting breaks a rule.
    """

    def __init__(
        self,
        recipe: RecipeSource | None = None,
        *,
        budget: int = 1000,
        only: Collection[str] | None = None,
        min_tokens: int | None = None,
        query_from: Callable[[ToolCallRequest], str] | None = None,
    ) -> None:
        super().__init__()
        if isinstance(only, str):
            raise ValueError(f"`only` must be a collection of names, got {only!r}")
        self.tools = [expand_context]
        self._pruner = ToolPruner(recipe, budget=budget)
        self._only = None if only is None else frozenset(only)
        self._min_tokens = budget + 1 if min_tokens is None else min_tokens
        self._query_from = request_of if query_from is None else query_from

    def wrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]],
    ) -> ToolMessage | Command[Any]:
        """Run the tool and return its message, pruned if it is too long."""
        result = handler(request)
        if isinstance(result, ToolMessage) and self._may_prune(request, result):
            return self._pruned(request, result)
        return result

    async def awrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]],
    ) -> ToolMessage | Command[Any]:
        """Return what `wrap_tool_call` returns, pruned in the pipeline's worker pool."""
        result = await handler(request)
        if isinstance(result, ToolMessage) and self._may_prune(request, result):
            work = partial(self._pruned, request, result)
            return await self._pruner.pipeline.run_in_pool(work)
        return result

    def _may_prune(self, request: ToolCallRequest, message: ToolMessage) -> bool:
        name = request.tool_call["name"]
        if name == expand_context.name or (self._only is not None and name not in self._only):
            return False
        return message.status != "error"

    def _pruned(self, request: ToolCallRequest, message: ToolMessage) -> ToolMessage:
        """Return the message, pruned if it is too long."""
        texts = _texts(message)
        if sum(map(self._pruner.count, texts.values())) < self._min_tokens:
            return message
        pruned = self._pruner.prune(list(texts.values()), self._query_from(request))
        return message if pruned is None else _rewritten(message, list(texts), pruned)


def _texts(message: ToolMessage) -> dict[int, str]:
    """Return the texts of a message by the position of their block; a plain text is block 0."""
    if isinstance(message.content, str):
        return {0: message.content}
    texts = {}
    for position, block in enumerate(message.content):
        text = block if isinstance(block, str) else block.get("text")
        if isinstance(text, str):
            texts[position] = text
    return texts


def _rewritten(message: ToolMessage, positions: list[int], pruned: Pruned) -> ToolMessage:
    """Return a copy of the message with the pruned texts, and what they lack in its artifact."""
    artifact = message.artifact
    if not isinstance(artifact, dict):
        artifact = {} if artifact is None else {"artifact": artifact}
    artifact = {**artifact, KEY: {pruned.id: pruned.dropped}}
    texts = {positions[number]: text for number, text in pruned.texts.items()}
    content = message.content
    if isinstance(content, str):
        return message.model_copy(update={"content": texts[0], "artifact": artifact})
    blocks: list[str | dict[Any, Any]] = []
    for position, block in enumerate(content):
        if position in texts:
            text = texts[position]
            blocks.append(text if isinstance(block, str) else {**block, "text": text})
        elif position not in positions:
            blocks.append(block)
    if pruned.mark is not None:
        blocks.append({"type": "text", "text": pruned.mark})
    return message.model_copy(update={"content": blocks, "artifact": artifact})
