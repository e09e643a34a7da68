"""`CtxPackCompressor` where LangChain uses it: behind a retriever and in a chain."""

from __future__ import annotations

import asyncio

import pytest
from langchain_classic.chains import create_history_aware_retriever
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_classic.retrievers.document_compressors import DocumentCompressorPipeline
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.language_models import FakeListChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda, RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore

from langchain_ctxpack import CtxPackCompressor


@pytest.fixture
def retriever(documents: list[Document]) -> ContextualCompressionRetriever:
    """Return the retriever that gives all documents, wrapped as LangChain wraps one."""
    return ContextualCompressionRetriever(
        base_compressor=CtxPackCompressor(budget=40),
        base_retriever=RunnableLambda(lambda query: documents),
    )


@pytest.fixture
def chain(retriever: ContextualCompressionRetriever) -> Runnable[str, str]:
    """Return a chain of retriever, prompt, model and parser, written in LCEL."""
    prompt = ChatPromptTemplate.from_template("{context}\n\nQuestion: {question}")
    model = FakeListChatModel(responses=["In 1932."])
    context = retriever | (lambda documents: "\n\n".join(d.page_content for d in documents))
    inputs = {"context": context, "question": RunnablePassthrough()}
    return inputs | prompt | model | StrOutputParser()


def test_compresses_behind_a_retriever(
    retriever: ContextualCompressionRetriever, query: str
) -> None:
    """`invoke` gives the compressed documents with their ids."""
    kept = retriever.invoke(query)
    assert kept[0].id == "bridge"
    assert "was opened in 1932." in kept[0].page_content


def test_compresses_behind_a_retriever_async(
    retriever: ContextualCompressionRetriever, query: str
) -> None:
    """`ainvoke` gives what `invoke` gives."""
    assert asyncio.run(retriever.ainvoke(query)) == retriever.invoke(query)


def test_a_retriever_that_finds_nothing(query: str) -> None:
    """No documents in, no documents out."""
    retriever = ContextualCompressionRetriever(
        base_compressor=CtxPackCompressor(), base_retriever=RunnableLambda(lambda query: [])
    )
    assert retriever.invoke(query) == []


def test_compresses_a_vector_store(query: str, documents: list[Document]) -> None:
    """Documents of a real vector store come out with the store's ids."""
    store = InMemoryVectorStore(DeterministicFakeEmbedding(size=8))
    store.add_documents(documents)
    retriever = ContextualCompressionRetriever(
        base_compressor=CtxPackCompressor(), base_retriever=store.as_retriever()
    )
    assert "bridge" in {document.id for document in retriever.invoke(query)}


def test_runs_in_a_pipeline_of_compressors(query: str, documents: list[Document]) -> None:
    """LangChain's own pipeline of compressors takes it."""
    pipeline = DocumentCompressorPipeline(
        transformers=[CtxPackCompressor(recipe="rerank-only"), CtxPackCompressor(budget=40)]
    )
    assert "1932" in pipeline.compress_documents(documents, query)[0].page_content


def test_runs_in_a_chain(chain: Runnable[str, str], query: str) -> None:
    """An LCEL chain around the retriever answers, sync, async, in a batch and as a stream."""
    assert chain.invoke(query) == "In 1932."
    assert asyncio.run(chain.ainvoke(query)) == "In 1932."
    assert chain.batch([query, query]) == ["In 1932."] * 2
    assert "".join(chain.stream(query)) == "In 1932."


def test_a_conversation_compresses_for_the_rephrased_query(
    retriever: ContextualCompressionRetriever, query: str
) -> None:
    """Behind a retriever that is aware of the history, the query is the one that it makes."""
    model = FakeListChatModel(responses=[query])
    prompt = ChatPromptTemplate.from_messages(
        [("placeholder", "{chat_history}"), ("user", "{input}")]
    )
    chain = create_history_aware_retriever(model, retriever, prompt)
    asked = {"input": "And when?", "chat_history": [("user", "The harbour bridge?")]}
    assert "was opened in 1932." in chain.invoke(asked)[0].page_content
