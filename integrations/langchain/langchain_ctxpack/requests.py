"""What an agent is asked for at the moment of a tool call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AnyMessage, HumanMessage

if TYPE_CHECKING:
    from langchain.agents.middleware.types import ToolCallRequest


def messages_of(state: Any) -> Sequence[AnyMessage]:
    """Return the messages of an agent's state, which is a mapping, a model or the list itself."""
    if isinstance(state, list):
        return state
    messages: Sequence[AnyMessage]
    if isinstance(state, Mapping):
        messages = state.get("messages", [])
    else:
        messages = getattr(state, "messages", [])
    return messages


def request_of(request: ToolCallRequest) -> str:
    """Return the user's last message and the words that the model called the tool with.

    A follow-up such as "And when?" says little; the arguments say what it is about.
    """
    asked = [m.text for m in messages_of(request.state) if isinstance(m, HumanMessage)][-1:]
    words = [value for value in request.tool_call["args"].values() if isinstance(value, str)]
    return "\n".join([*map(str, asked), *words])
