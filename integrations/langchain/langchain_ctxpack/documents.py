"""Documents to passages, and what is kept of them back to documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from langchain_core.documents import Document
from langchain_core.prompts import BasePromptTemplate, format_document

from ctxpack import PackedContext, Passage

KEY = "ctxpack"
"""The one metadata key that ctxpack adds for itself."""

SCORE_KEY = "relevance_score"
"""Metadata key under which LangChain's rerankers put their score."""


class ChainLayout:
    """Joins bodies as a LangChain chain joins documents."""

    def __init__(
        self, documents: Sequence[Document], prompt: BasePromptTemplate[str], separator: str
    ) -> None:
        self._documents = documents
        self._prompt = prompt
        self._separator = separator

    def join(self, bodies: Sequence[tuple[int, str]]) -> str:
        """Return what the chain will put into its prompt."""
        return self._separator.join(
            format_document(with_text(self._documents[index], body), self._prompt)
            for index, body in bodies
        )


def passages_of(documents: Sequence[Document], title_key: str | None) -> list[Passage]:
    """Return a passage for every document."""
    return [
        Passage(
            document.page_content,
            id=document.id,
            title=_text(document.metadata.get(title_key)),
            score=_number(document.metadata.get(SCORE_KEY)),
            metadata=document.metadata,
        )
        for document in documents
    ]


def documents_of(packed: PackedContext, documents: Sequence[Document]) -> list[Document]:
    """Return copies of the documents of which something is kept, in output order.

    Text is cut to what is kept; id and metadata are as they were, with `SCORE_KEY` and `KEY` added.
    """
    result = []
    for kept, record in zip(packed.passages, packed.records(), strict=True):
        if KEY in kept.passage.metadata:
            record["earlier"] = kept.passage.metadata[KEY]
        added = {KEY: record} if kept.score is None else {KEY: record, SCORE_KEY: kept.score}
        result.append(with_text(documents[kept.passage_index], kept.text, added))
    return result


def with_text(document: Document, text: str, added: Mapping[str, Any] | None = None) -> Document:
    """Return a copy of a document with another text and metadata added."""
    metadata = {**document.metadata, **({} if added is None else added)}
    return Document(id=document.id, page_content=text, metadata=metadata)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, Real) else None
