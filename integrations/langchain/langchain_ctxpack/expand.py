"""The tool that gives back what pruning left out of an earlier tool result."""

from __future__ import annotations

from langchain.tools import ToolRuntime, tool
from langchain_core.messages import AnyMessage

from langchain_ctxpack.documents import KEY
from langchain_ctxpack.requests import messages_of


@tool
def expand_context(id: str, runtime: ToolRuntime) -> str:
    """Return the parts that were left out of an earlier tool result.

    Args:
        id: what the mark in that result says, such as "3f9a0c2b71".
        runtime: given by the agent.
    """
    for message in reversed(messages_of(runtime.state)):
        dropped = dropped_of(message).get(id)
        if dropped is not None:
            return "\n[…]\n".join(dropped)
    return f"There is no tool result with parts left out under the id {id!r}."


def dropped_of(message: AnyMessage) -> dict[str, list[str]]:
    """Return what was left out of a message, by id; {} for one that was not pruned."""
    artifact = getattr(message, "artifact", None)
    dropped = artifact.get(KEY) if isinstance(artifact, dict) else None
    return dropped if isinstance(dropped, dict) else {}
