"""A document compressor that keeps the sentences which answer the query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.prompts import BasePromptTemplate, PromptTemplate, format_document
from pydantic import ConfigDict, Field, PrivateAttr

from ctxpack import Layout, PackedContext, Passage, Pipeline

SCORE_KEY = "relevance_score"
"""Metadata key under which LangChain's rerankers put their score."""


class CtxPackCompressor(BaseDocumentCompressor):
    """Compresses retrieved documents to what answers the query, verbatim, inside a token budget.

    The documents that come out are copies: the same id and metadata, `page_content` cut to the kept
    sentences, `relevance_score` in [0, 1], and offsets and scores under the metadata key
    ``ctxpack``. The budget holds for the text that the chain builds from them.

    Args:
        recipe: a shipped recipe's name, a YAML file's path, its data, or a `Pipeline`.
        budget: most tokens of the joined documents; None for the recipe's own.
        token_counter: what `Pipeline.from_recipe` takes; None for the recipe's own.
        document_prompt: how the chain formats one document.
        document_separator: what the chain puts between documents.
        title_key: metadata key of a document's title, which the scorer reads; None for no title.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    recipe: str | Path | dict[str, Any] | Pipeline = "balanced"
    budget: int | None = Field(default=None, ge=0)
    token_counter: Any = None
    document_prompt: BasePromptTemplate[str] = PromptTemplate.from_template("{page_content}")
    document_separator: str = "\n\n"
    title_key: str | None = "title"

    _pipeline: Pipeline = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Check the recipe now, so that a mistake shows before the first call."""
        if isinstance(self.recipe, Pipeline) and self.token_counter is None:
            self._pipeline = self.recipe
        else:
            recipe = self.recipe.recipe if isinstance(self.recipe, Pipeline) else self.recipe
            self._pipeline = Pipeline.from_recipe(recipe, token_counter=self.token_counter)

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """Return the documents of which something is kept, in the order the recipe gives them."""
        if not documents:
            return []
        passages, layout = self._translate(documents)
        packed = self._pipeline.compress(query, passages, budget=self.budget, layout=layout)
        return _documents(packed, documents)

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """Return what `compress_documents` returns, computed in the pipeline's worker pool."""
        if not documents:
            return []
        passages, layout = self._translate(documents)
        packed = await self._pipeline.acompress(query, passages, budget=self.budget, layout=layout)
        return _documents(packed, documents)

    def _translate(self, documents: Sequence[Document]) -> tuple[list[Passage], Layout]:
        passages = [
            Passage(
                document.page_content,
                id=document.id,
                title=_text(document.metadata.get(self.title_key)),
                score=_number(document.metadata.get(SCORE_KEY)),
                metadata=document.metadata,
            )
            for document in documents
        ]
        return passages, _ChainLayout(documents, self.document_prompt, self.document_separator)


class _ChainLayout:
    """Joins bodies as a LangChain chain joins documents."""

    def __init__(
        self, documents: Sequence[Document], prompt: BasePromptTemplate[str], separator: str
    ) -> None:
        self._documents = documents
        self._prompt = prompt
        self._separator = separator

    def join(self, bodies: Sequence[tuple[int, str]]) -> str:
        return self._separator.join(
            format_document(_with_body(self._documents[index], body, {}), self._prompt)
            for index, body in bodies
        )


def _documents(packed: PackedContext, documents: Sequence[Document]) -> list[Document]:
    result = []
    for kept in packed.passages:
        document = documents[kept.passage_index]
        extra: dict[str, Any] = {
            "ctxpack": {
                "spans": [list(span) for span in kept.spans],
                "score": kept.score,
                "retrieval_score": kept.retrieval_score,
            }
        }
        if kept.score is not None:
            extra[SCORE_KEY] = kept.score
        result.append(_with_body(document, kept.text, extra))
    return result


def _with_body(document: Document, body: str, extra: Mapping[str, Any]) -> Document:
    return Document(id=document.id, page_content=body, metadata={**document.metadata, **extra})


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
