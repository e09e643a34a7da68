"""A call of the compressor is a run that LangChain's tracers see."""

from __future__ import annotations

import asyncio
import json

import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda
from langchain_core.tracers import BaseTracer, Run

from ctxpack.errors import InputError
from langchain_ctxpack import CtxPackCompressor


class Recorder(BaseTracer):
    """Keeps the trees of runs."""

    def __init__(self) -> None:
        super().__init__()
        self.roots: list[Run] = []

    def _persist_run(self, run: Run) -> None:
        self.roots.append(run)


@pytest.fixture
def retriever(documents: list[Document]) -> ContextualCompressionRetriever:
    """Return a retriever that compresses all documents."""
    return ContextualCompressionRetriever(
        base_compressor=CtxPackCompressor(budget=40),
        base_retriever=RunnableLambda(lambda query: documents),
    )


def test_a_call_is_a_child_run(retriever: ContextualCompressionRetriever, query: str) -> None:
    """Below the retriever's run stands one of ours, with the report's counts as JSON."""
    recorder = Recorder()
    retriever.invoke(query, {"callbacks": [recorder]})
    run = recorder.roots[0].child_runs[-1]
    assert run.name == "CtxPackCompressor"
    report = json.loads(json.dumps(run.outputs["report"]))
    assert 0 < report["token_count"] <= 40 < report["input_token_count"]
    assert report["spans_kept"] < report["spans"]


def test_an_async_call_is_a_child_run(
    retriever: ContextualCompressionRetriever, query: str
) -> None:
    """The async form has the same run."""
    recorder = Recorder()
    asyncio.run(retriever.ainvoke(query, {"callbacks": [recorder]}))
    run = recorder.roots[0].child_runs[-1]
    assert run.name == "CtxPackCompressor"
    assert run.outputs["report"]["budget"] == 40


def test_a_call_inside_a_chain_finds_its_parent(query: str, documents: list[Document]) -> None:
    """Called in a function of a chain, without callbacks, it is a child of that function's run."""
    recorder, compressor = Recorder(), CtxPackCompressor()
    chain = RunnableLambda(lambda query: compressor.compress_documents(documents, query))
    chain.invoke(query, {"callbacks": [recorder]})
    assert [run.name for run in recorder.roots[0].child_runs] == ["CtxPackCompressor"]


def test_an_error_ends_the_run(documents: list[Document]) -> None:
    """A failed call is a failed run."""
    recorder = Recorder()
    with pytest.raises(InputError):
        CtxPackCompressor().compress_documents(documents, " ", callbacks=[recorder])
    assert "`query`" in str(recorder.roots[0].error)
