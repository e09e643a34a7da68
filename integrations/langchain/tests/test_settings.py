"""Settings of the compressor: token counters, templates, and writing them as data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import BaseMessage
from langchain_core.prompts import PromptTemplate

from ctxpack import Pipeline
from ctxpack.scoring.base import PassageScores
from langchain_ctxpack import CtxPackCompressor

SELECT_ONLY = {"scorer": "lexical", "steps": ["score", "select"]}
MUSTACHE = PromptTemplate.from_template("{{page_content}}", template_format="mustache")


class WordModel(FakeListChatModel):
    """A chat model whose tokens are words."""

    def get_num_tokens(self, text: str) -> int:
        """Return the number of words."""
        return len(text.split())


class MessageModel(FakeListChatModel):
    """A chat model that can only count messages."""

    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        """Return three for each message, and one for each word."""
        return sum(3 + len(str(message.content).split()) for message in messages)


WORDS, MESSAGES = WordModel(responses=[]), MessageModel(responses=[])


def joined(documents: Sequence[Document]) -> str:
    """Return the documents as a chain joins them."""
    return "\n\n".join(document.page_content for document in documents)


def test_counts_with_a_chat_model(query: str, documents: list[Document]) -> None:
    """With a chat model as token counter, the budget is in that model's tokens."""
    compressor = CtxPackCompressor(recipe="rerank-only", budget=30, token_counter=WORDS)
    kept = compressor.compress_documents(documents, query)
    assert 0 < len(joined(kept).split()) <= 30


def test_counts_with_a_model_of_messages(query: str, documents: list[Document]) -> None:
    """A model that counts only messages counts a message's frame as well."""
    compressor = CtxPackCompressor(recipe="rerank-only", budget=33, token_counter=MESSAGES)
    kept = compressor.compress_documents(documents, query)
    assert 0 < len(joined(kept).split()) + 3 <= 33


def test_counts_with_a_model_of_token_ids() -> None:
    """A tokenizer given to any model counts."""
    model = FakeListChatModel(responses=[], custom_get_token_ids=lambda text: [0] * len(text))
    compressor = CtxPackCompressor(budget=26, token_counter=model)
    kept = compressor.compress_documents([Document("It rained. The lamp is blue.")], "lamp?")
    assert len(joined(kept)) <= 26


def test_a_model_without_a_tokenizer_is_refused() -> None:
    """A model for which LangChain would download another's tokenizer is an error."""
    with pytest.raises(ValueError, match="no tokenizer of its own"):
        CtxPackCompressor(token_counter=FakeListChatModel(responses=[]))


class LongFirst:
    """A scorer that no recipe can name: the longest passage is the best."""

    pointwise = False
    operating_points: ClassVar[dict[str, float]] = {}

    def score(self, query: str, passages: Sequence[Any]) -> list[PassageScores]:
        """Return the length over that of the longest, for a passage and its spans."""
        longest = max(len(passage.text) for passage, _ in passages)
        return [
            PassageScores(len(passage.text) / longest, np.full(len(spans), 0.5, dtype=np.float32))
            for passage, spans in passages
        ]

    def score_many(self, calls: Sequence[Any]) -> list[list[PassageScores]]:
        """Return `score` of every call."""
        return [self.score(query, passages) for query, passages in calls]


def test_keeps_the_pipelines_scorer(query: str, documents: list[Document]) -> None:
    """A token counter beside a `Pipeline` replaces its counter and nothing else."""
    recipe = {"scorer": "lexical", "steps": ["score", {"rerank": 1}]}
    pipeline = Pipeline.from_recipe(recipe, scorer=LongFirst())
    compressor = CtxPackCompressor(recipe=pipeline, token_counter=WORDS)
    kept = compressor.compress_documents(documents[1:] + documents[:1], query)
    assert [document.id for document in kept] == ["bridge"]


@pytest.mark.parametrize("key", ["relevance_score", "ctxpack"])
def test_a_template_must_not_show_what_is_written(key: str) -> None:
    """What compression writes into the metadata could not be planned for."""
    with pytest.raises(ValueError, match=key):
        CtxPackCompressor(document_prompt="{page_content} {" + key + "}")


def test_a_prompt_must_be_one() -> None:
    """Anything but a template or a prompt is an error that shows it."""
    with pytest.raises(ValueError, match="`document_prompt` must be a template or a prompt, got 3"):
        CtxPackCompressor(document_prompt=3)


def test_a_template_may_show_metadata(query: str, documents: list[Document]) -> None:
    """A template with metadata is counted with what each document has there."""
    compressor = CtxPackCompressor(
        budget=20, document_prompt="<{page}> {page_content}", token_counter=WORDS
    )
    kept = compressor.compress_documents(documents[:1], query)
    assert 0 < len(joined(kept).split()) <= 19


@pytest.mark.parametrize("recipe", ["balanced", SELECT_ONLY])
def test_written_as_data_and_read_back(
    recipe: str | dict[str, Any], query: str, documents: list[Document]
) -> None:
    """The dump holds the recipe as data, and a compressor made of it does the same."""
    compressor = CtxPackCompressor(
        recipe=Pipeline.from_recipe(recipe, deadline_ms=60_000),
        budget=40,
        document_prompt=PromptTemplate.from_template("* {page_content}"),
    )
    written = compressor.model_dump_json()
    read = CtxPackCompressor.model_validate_json(written)
    assert '"deadline_ms":60000' in written
    assert read.model_dump_json() == written
    assert read.compress_documents(documents, query) == compressor.compress_documents(
        documents, query
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"recipe": Pipeline.from_recipe("balanced", token_counter=len)},
        {"token_counter": len},
        {"document_prompt": MUSTACHE},
    ],
    ids=["recipe", "token_counter", "document_prompt"],
)
def test_an_object_is_not_data(settings: dict[str, Any], request: pytest.FixtureRequest) -> None:
    """A setting that only an object can hold is an error when written, and names itself."""
    with pytest.raises(ValueError, match=request.node.callspec.id):
        CtxPackCompressor(**settings).model_dump()


def test_settings_are_fixed() -> None:
    """A compressor does not change, so threads may share it."""
    with pytest.raises(ValueError, match="frozen"):
        CtxPackCompressor().budget = 3
