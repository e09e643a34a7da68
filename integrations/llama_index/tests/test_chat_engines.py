"""`CtxPackPostprocessor` in chat engines, with queries made of the conversation."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from llama_index.core.chat_engine import (
    CondensePlusContextChatEngine,
    ContextChatEngine,
)
from llama_index.core.llms import ChatMessage, MockLLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.retrievers import BaseRetriever
from llama_index.postprocessor.ctxpack import CtxPackPostprocessor

CHAT = [
    ChatMessage(role="user", content="Tell me about the harbour bridge."),
    ChatMessage(role="assistant", content="It is painted by a crew of twelve."),
]


def with_history(message: str, history: Sequence[ChatMessage]) -> str:
    """Return the message behind what the user said before."""
    said = [turn.content or "" for turn in history if turn.role == "user"]
    return " ".join([*said, message])


@pytest.fixture
def memory() -> ChatMemoryBuffer:
    """Return the memory of a conversation that has begun."""
    return ChatMemoryBuffer.from_defaults(chat_history=list(CHAT), token_limit=2000)


def engine(
    kind: Any,
    retriever: BaseRetriever,
    memory: ChatMemoryBuffer,
    postprocessor: CtxPackPostprocessor,
) -> ContextChatEngine | CondensePlusContextChatEngine:
    """Return a chat engine whose answer is the prompt that its model read."""
    return kind.from_defaults(
        retriever=retriever,
        llm=MockLLM(),
        memory=memory,
        node_postprocessors=[postprocessor],
    )


@pytest.mark.parametrize("kind", [ContextChatEngine, CondensePlusContextChatEngine])
def test_a_chat_engine_reads_the_answer(
    kind: Any, retriever: BaseRetriever, memory: ChatMemoryBuffer, query: str
) -> None:
    """The prompt has the answer and not what is beside it, sync, async and as a stream."""
    chat = engine(kind, retriever, memory, CtxPackPostprocessor(budget=30))
    streamed = "".join(chat.stream_chat(query).response_gen)
    for prompt in (chat.chat(query), asyncio.run(chat.achat(query)), streamed):
        assert "was opened in 1932." in str(prompt)
        assert "Dogs" not in str(prompt)


@pytest.fixture
def told(retriever: BaseRetriever, memory: ChatMemoryBuffer) -> ContextChatEngine:
    """Return an engine whose postprocessor knows the history."""
    postprocessor = CtxPackPostprocessor(budget=20, query_from=with_history, memory=memory)
    return engine(ContextChatEngine, retriever, memory, postprocessor)


def test_the_history_makes_the_query(
    told: ContextChatEngine, retriever: BaseRetriever, memory: ChatMemoryBuffer
) -> None:
    """A follow-up that names nothing finds its answer by what was said before."""
    plain = engine(ContextChatEngine, retriever, memory, CtxPackPostprocessor(budget=20))
    assert "was opened in 1932." in str(told.chat("When was that opened?", list(CHAT)))
    assert "was opened in 1932." not in str(plain.chat("When was that opened?", list(CHAT)))


def test_the_history_makes_the_query_async(told: ContextChatEngine) -> None:
    """The async form reads the memory by its async form."""
    answer = asyncio.run(told.achat("When was that opened?", list(CHAT)))
    assert "was opened in 1932." in str(answer)


def test_a_query_from_the_message_alone(query: str, nodes: list[Any]) -> None:
    """Without a memory the function gets an empty history."""
    postprocessor = CtxPackPostprocessor(budget=30, query_from=lambda message, said: query)
    kept = postprocessor.postprocess_nodes(nodes, query_str="?")
    assert "was opened in 1932." in kept[0].text


def test_a_memory_that_nothing_reads(memory: ChatMemoryBuffer) -> None:
    """A memory without a function to read it is a mistake."""
    with pytest.raises(ValueError, match="`memory` is read by `query_from` only"):
        CtxPackPostprocessor(memory=memory)
