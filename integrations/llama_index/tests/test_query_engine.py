"""`CtxPackPostprocessor` in a `RetrieverQueryEngine`: what reaches the model."""

from __future__ import annotations

import asyncio

import pytest
from llama_index.core import PromptTemplate
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import CitationQueryEngine, RetrieverQueryEngine
from llama_index.core.response_synthesizers import ResponseMode
from llama_index.core.retrievers import BaseRetriever
from llama_index.postprocessor.ctxpack import CtxPackPostprocessor

from ctxpack import Pipeline

COUNT = Pipeline.from_recipe("balanced").token_counter.count


def engine(
    retriever: BaseRetriever,
    *postprocessors: CtxPackPostprocessor,
    response_mode: ResponseMode = ResponseMode.COMPACT,
) -> RetrieverQueryEngine:
    """Return an engine whose answer is the context that its model read."""
    return RetrieverQueryEngine.from_args(
        retriever,
        llm=MockLLM(),
        text_qa_template=PromptTemplate("{context_str}"),
        summary_template=PromptTemplate("{context_str}"),
        node_postprocessors=list(postprocessors),
        response_mode=response_mode,
    )


def test_the_model_reads_the_answer(retriever: BaseRetriever, query: str) -> None:
    """The answer is in the prompt, and sentences about something else are not."""
    context = str(engine(retriever, CtxPackPostprocessor(budget=60)).query(query))
    assert "was opened in 1932." in context
    assert "Dogs" not in context


def test_async_equals_sync(retriever: BaseRetriever, query: str) -> None:
    """`aquery` reads what `query` reads."""
    packing = engine(retriever, CtxPackPostprocessor(budget=40))
    assert str(asyncio.run(packing.aquery(query))) == str(packing.query(query))


@pytest.mark.parametrize("budget", [12, 25, 37, 50, 80, 120])
@pytest.mark.parametrize("mode", [ResponseMode.COMPACT, ResponseMode.TREE_SUMMARIZE])
def test_the_budget_holds_for_what_the_model_reads(
    retriever: BaseRetriever, query: str, budget: int, mode: ResponseMode
) -> None:
    """Metadata and separators count: the joined nodes, as the model reads them, are within it."""
    postprocessor = CtxPackPostprocessor(recipe="rerank-only", budget=budget)
    response = engine(retriever, postprocessor, response_mode=mode).query(query)
    assert COUNT(str(response)) <= budget or not response.source_nodes


def test_a_large_budget_is_used(retriever: BaseRetriever, query: str) -> None:
    """What fits, stays: with room for all, the model reads what it read without compression."""
    recipe = {"scorer": "lexical", "steps": ["score", "select"]}
    before = str(engine(retriever).query(query))
    after = str(engine(retriever, CtxPackPostprocessor(recipe=recipe, budget=1000)).query(query))
    assert after == before


def test_nothing_leaks_into_the_prompt(retriever: BaseRetriever, query: str) -> None:
    """The model sees the metadata that it saw before, and not what ctxpack adds."""
    context = str(engine(retriever, CtxPackPostprocessor()).query(query))
    assert "page: 3" in context
    assert "guide.pdf" not in context
    assert "ctxpack" not in context


def test_sources_are_the_nodes_of_the_index(retriever: BaseRetriever, query: str) -> None:
    """The response names its sources by the ids and documents that the index knows."""
    source = engine(retriever, CtxPackPostprocessor()).query(query).source_nodes[0]
    assert (source.node_id, source.node.ref_doc_id) == ("bridge", "guide")


def test_an_engine_that_splits_again_works(retriever: BaseRetriever, query: str) -> None:
    """`CitationQueryEngine` cuts and labels what is kept; its labels are outside the budget."""
    cited = CitationQueryEngine(
        retriever, llm=MockLLM(), node_postprocessors=[CtxPackPostprocessor(budget=60)]
    ).query(query)
    sources = [source.text for source in cited.source_nodes]
    assert "was opened in 1932." in sources[0]
    assert all(f"Source {rank}:" in text for rank, text in enumerate(sources, start=1))
    assert "Dogs" not in str(cited)


def test_a_retriever_that_finds_nothing(query: str) -> None:
    """No nodes, no call of the model, no error."""

    class Nothing(BaseRetriever):
        def _retrieve(self, query_bundle: object) -> list[object]:
            return []

    response = engine(Nothing(), CtxPackPostprocessor()).query(query)
    assert (str(response), response.source_nodes) == ("Empty Response", [])
