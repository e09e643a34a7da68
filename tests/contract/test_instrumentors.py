"""A call's span beside those of OpenInference's instrumentors, where these are installed.

They stand on prereleases of OpenTelemetry, so the test command does not install them.
"""

from __future__ import annotations

import asyncio

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

QUERY = "When was the harbour bridge opened?"
TEXT = "The harbour bridge was opened in 1932. It has six lanes."


def ancestors(spans: InMemorySpanExporter) -> list[str]:
    """Return the names of the spans above a call's own, from the nearest on."""
    finished = {span.context.span_id: span for span in spans.get_finished_spans()}
    names = []
    span: ReadableSpan | None = next(s for s in finished.values() if s.name == "ctxpack.compress")
    while span is not None and span.parent is not None:
        span = finished.get(span.parent.span_id)
        names += [span.name] if span is not None else []
    return names


@pytest.mark.parametrize("asynchronous", [False, True])
def test_llama_index(
    provider: TracerProvider, spans: InMemorySpanExporter, asynchronous: bool
) -> None:
    """A call's span lies below the postprocessor's, which lies below the query engine's."""
    module = pytest.importorskip("openinference.instrumentation.llama_index")
    from llama_index.core import MockEmbedding, VectorStoreIndex
    from llama_index.core.llms import MockLLM
    from llama_index.core.schema import TextNode
    from llama_index.postprocessor.ctxpack import CtxPackPostprocessor

    index = VectorStoreIndex([TextNode(text=TEXT)], embed_model=MockEmbedding(embed_dim=8))
    engine = index.as_query_engine(llm=MockLLM(), node_postprocessors=[CtxPackPostprocessor()])
    module.LlamaIndexInstrumentor().instrument(tracer_provider=provider)
    try:
        asyncio.run(engine.aquery(QUERY)) if asynchronous else engine.query(QUERY)
    finally:
        module.LlamaIndexInstrumentor().uninstrument()
    postprocess, *_, outermost = ancestors(spans)
    assert postprocess.startswith("CtxPackPostprocessor.")
    assert outermost.startswith("RetrieverQueryEngine.")


@pytest.mark.parametrize("asynchronous", [False, True])
def test_langchain(
    provider: TracerProvider, spans: InMemorySpanExporter, asynchronous: bool
) -> None:
    """A call's span lies below the compressor's, the retriever's and the program's own."""
    module = pytest.importorskip("openinference.instrumentation.langchain")
    from langchain_classic.retrievers import ContextualCompressionRetriever
    from langchain_core.documents import Document
    from langchain_core.runnables import RunnableLambda

    from langchain_ctxpack import CtxPackCompressor

    retriever = ContextualCompressionRetriever(
        base_compressor=CtxPackCompressor(),
        base_retriever=RunnableLambda(lambda query: [Document(TEXT)]),
    )
    module.LangChainInstrumentor().instrument(tracer_provider=provider)
    try:
        with trace.get_tracer("test").start_as_current_span("request"):
            asyncio.run(retriever.ainvoke(QUERY)) if asynchronous else retriever.invoke(QUERY)
    finally:
        module.LangChainInstrumentor().uninstrument()
    names = ["CtxPackCompressor", "ContextualCompressionRetriever", "request"]
    assert ancestors(spans) == names


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_runnable_of_langchain(
    provider: TracerProvider, spans: InMemorySpanExporter, asynchronous: bool
) -> None:
    """A call's span lies below that of the Runnable."""
    module = pytest.importorskip("openinference.instrumentation.langchain")
    from langchain_core.documents import Document

    from langchain_ctxpack import CtxPackContext

    packer, input = CtxPackContext(), {"question": QUERY, "documents": [Document(TEXT)]}
    module.LangChainInstrumentor().instrument(tracer_provider=provider)
    try:
        asyncio.run(packer.ainvoke(input)) if asynchronous else packer.invoke(input)
    finally:
        module.LangChainInstrumentor().uninstrument()
    assert ancestors(spans) == ["CtxPackContext"]


def test_langchain_without_the_instrumentor(
    spans: InMemorySpanExporter, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the instrumentor is loaded and off, a call's span stands alone and nothing is said."""
    pytest.importorskip("openinference.instrumentation.langchain")
    from langchain_core.documents import Document

    from langchain_ctxpack import CtxPackCompressor

    CtxPackCompressor().compress_documents([Document(TEXT)], QUERY)
    assert ancestors(spans) == []
    assert capsys.readouterr().out == ""
