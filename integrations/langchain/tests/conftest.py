"""Documents and a recipe that the tests share."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field

BRIDGE = (
    "The harbour bridge carries six lanes of traffic. The harbour bridge was opened in 1932."
    " Painting it takes a crew of twelve. Its steel came from two mills up the river."
)
FERRY = (
    "Ferries leave every ten minutes. The last ferry to the harbour leaves at midnight."
    " Bicycles travel free. Dogs must be on a lead."
)
TOWER = "The clock tower was opened in 1911. It holds four bells. Visitors may climb it on Sundays."


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run the coroutines among LangChain's own tests, which may not be overridden."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture
def query() -> str:
    """Return a query that one sentence of the first document answers."""
    return "When was the harbour bridge opened?"


@pytest.fixture
def documents() -> list[Document]:
    """Return what a retriever would: ids, metadata of every shape, one score, an empty text."""
    return [
        Document(BRIDGE, id="bridge", metadata={"title": "Bridge", "page": 3, "tags": ["a", "b"]}),
        Document(FERRY, id="ferry", metadata={"relevance_score": 0.75, "source": {"url": "f"}}),
        Document("", id="empty"),
        Document(TOWER),
    ]


class ScriptedModel(BaseChatModel):
    """A chat model that records the prompts it gets and answers from a script.

    An answer in the script is a message, or a function that makes one of the prompt.
    """

    script: list[Any]
    prompts: list[list[BaseMessage]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> ScriptedModel:
        """Return the model itself: the script calls tools or not."""
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        self.prompts.append(list(messages))
        answer = self.script[len(self.prompts) - 1]
        message = answer if isinstance(answer, AIMessage) else answer(messages)
        return ChatResult(generations=[ChatGeneration(message=message)])


@pytest.fixture
def scripted() -> Callable[..., ScriptedModel]:
    """Return a function that makes a model of the messages it is to answer."""
    return lambda *answers: ScriptedModel(script=list(answers))
