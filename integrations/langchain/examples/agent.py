"""An agent whose tool returns far more than the question needs, without ctxpack and with it.

Runs offline: a scripted model stands where yours goes.
Needs: pip install "langchain-ctxpack[agents]"
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from pydantic import Field

from langchain_ctxpack import CtxPackMiddleware

QUESTION = "Which order of the harbour office is late?"


class ScriptedModel(BaseChatModel):
    """Stands for a chat model that calls tools, and keeps the prompts it gets."""

    prompts: list[list[BaseMessage]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> ScriptedModel:
        """Return the model itself."""
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        self.prompts.append(list(messages))
        marked = re.search(r"expand_context\(id='(\w+)", messages[-1].text)
        if len(self.prompts) == 1:
            answer = _calling("list_orders", {})
        elif marked:
            answer = _calling("expand_context", {"id": marked[1]})
        else:
            answer = AIMessage("Order 137.")
        return ChatResult(generations=[ChatGeneration(message=answer)])


def _calling(name: str, args: dict[str, str]) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": args, "id": f"call-{name}"}])


@tool
def list_orders() -> str:
    """Return every order as JSON."""
    orders = [
        {"order": n, "from": f"shop {n % 9}", "state": "sent", "days": n % 5} for n in range(200)
    ]
    orders[137] = {"order": 137, "from": "harbour office", "state": "late", "days": 12}
    return json.dumps(orders)


def main() -> list[list[list[BaseMessage]]]:
    """Return the prompts of two agents: one that reads the whole result, and one that does not.

    The last prompt of the second has what its model asked for on top.
    """
    prompts = []
    for middleware in ([], [CtxPackMiddleware(budget=120)]):
        model = ScriptedModel()  # or: init_chat_model("openai:gpt-5-mini")
        agent = create_agent(model, [list_orders], middleware=middleware)
        agent.invoke({"messages": [("user", QUESTION)]})
        prompts.append(model.prompts)
    return prompts


if __name__ == "__main__":
    for prompts in main():
        for message in prompts[-1]:
            sys.stdout.write(f"{message.type}: {message.text[:600]}\n\n")
        sys.stdout.write("=====\n\n")
