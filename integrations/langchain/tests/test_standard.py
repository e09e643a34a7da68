"""LangChain's own tests of retrievers, on one whose documents are compressed."""

from __future__ import annotations

import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import InMemoryVectorStore

from langchain_ctxpack import CtxPackCompressor

pytest.importorskip("langchain_tests")

from langchain_tests.integration_tests import RetrieversIntegrationTests


class Compressing(ContextualCompressionRetriever):
    """A retriever of `k` documents from a vector store, and the compressor behind it."""

    def __init__(self, k: int = 4) -> None:
        store = InMemoryVectorStore(DeterministicFakeEmbedding(size=8))
        store.add_texts([f"Boat {n} landed fish at quay {n}." for n in range(9)])
        super().__init__(
            base_compressor=CtxPackCompressor(recipe="rerank-only"),
            base_retriever=store.as_retriever(search_kwargs={"k": k}),
        )


class TestCompressingRetriever(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return Compressing

    @property
    def retriever_query_example(self) -> str:
        return "Which boat landed fish?"
