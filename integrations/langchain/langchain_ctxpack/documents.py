"""Documents to passages, and what is kept of them back to documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from langchain_core.documents import Document
from langchain_core.prompts import BasePromptTemplate, format_document

from ctxpack import PackedContext, PackedPassage, Passage

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
    dropped: dict[int, dict[str, int]] = {}
    for drop in packed.dropped:
        counts = dropped.setdefault(drop.passage_index, {})
        why = f"{drop.stage}: {drop.reason}"
        counts[why] = counts.get(why, 0) + drop.end - drop.start
    reasons = packed.report["reasons"]
    result = []
    for kept in packed.passages:
        record = {"dropped": dropped.get(kept.passage_index, {}), "reasons": list(reasons)}
        added = _added(kept, record)
        result.append(with_text(documents[kept.passage_index], kept.text, added))
    return result


def with_text(document: Document, text: str, added: Mapping[str, Any] | None = None) -> Document:
    """Return a copy of a document with another text and metadata added."""
    metadata = {**document.metadata, **({} if added is None else added)}
    return Document(id=document.id, page_content=text, metadata=metadata)


def _added(kept: PackedPassage, record: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata to add to a document, `record` and what its passage says in it."""
    record = {
        "spans": [list(span) for span in kept.spans],
        "score": kept.score,
        "retrieval_score": kept.retrieval_score,
        **record,
    }
    if KEY in kept.passage.metadata:
        record["earlier"] = kept.passage.metadata[KEY]
    return {KEY: record} if kept.score is None else {KEY: record, SCORE_KEY: kept.score}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, Real) else None
