"""`CtxPackContext` and `CtxPackCitedContext` in chains."""

from __future__ import annotations

import asyncio
import pickle

import pytest
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnablePassthrough

from ctxpack import PackedContext, Pipeline
from ctxpack.errors import CtxpackError
from langchain_ctxpack import CtxPackCitedContext, CtxPackContext


@pytest.fixture
def asked(query: str, documents: list[Document]) -> dict[str, object]:
    """Return the input of a Runnable."""
    return {"question": query, "documents": documents}


@pytest.fixture
def chain() -> Runnable[dict[str, object], dict[str, object]]:
    """Return a chain that cites: context and sources, then the answer of a model."""
    prompt = ChatPromptTemplate.from_template("{context}")
    model = FakeListChatModel(responses=["In 1932 [1]."])
    answer = prompt | model | StrOutputParser()
    return CtxPackCitedContext(budget=40) | RunnablePassthrough.assign(answer=answer)


def test_gives_the_packed_context(asked: dict[str, object], documents: list[Document]) -> None:
    """The result is the engine's own, within the budget and with evidence."""
    packed = CtxPackContext(budget=40).invoke(asked)
    assert isinstance(packed, PackedContext)
    assert "was opened in 1932." in packed.text
    assert packed.token_count <= 40
    for evidence in packed.evidence:
        assert evidence.text in documents[evidence.passage_index].page_content


def test_async_equals_sync(asked: dict[str, object]) -> None:
    """`ainvoke` gives what `invoke` gives."""
    context = CtxPackContext(budget=40)
    assert asyncio.run(context.ainvoke(asked)) == context.invoke(asked)


def test_a_batch_equals_single_calls(asked: dict[str, object]) -> None:
    """`batch` and `abatch` give what `invoke` gives for each input, in order."""
    context = CtxPackContext(budget=40)
    inputs = [asked, {**asked, "question": "When does the last ferry leave?"}]
    alone = [context.invoke(one) for one in inputs]
    assert context.batch(inputs) == alone
    assert asyncio.run(context.abatch(inputs)) == alone


def test_a_failed_input_of_a_batch(asked: dict[str, object]) -> None:
    """One failing input is an error, or stands for itself among the others' results."""
    context, inputs = CtxPackContext(), [asked, {**asked, "question": " "}, asked]
    with pytest.raises(CtxpackError, match="`query`"):
        context.batch(inputs)
    results = context.batch(inputs, return_exceptions=True)
    assert [type(result) for result in results] == [PackedContext, CtxpackError, PackedContext]


def test_citations_name_their_sources(asked: dict[str, object], documents: list[Document]) -> None:
    """Every mark in the text has a source, which keeps the id of its document."""
    cited = CtxPackCitedContext(recipe="rerank-only").invoke(asked)
    for source in cited["sources"]:
        mark = source.metadata["ctxpack"]["citation"]
        assert f"{mark} " in cited["context"]
        assert source.id in {document.id for document in documents}
    assert [s.metadata["ctxpack"]["citation"] for s in cited["sources"]][:2] == ["[1]", "[2]"]


def test_citations_cannot_be_forged(query: str) -> None:
    """A document that contains a mark of ours gets another form of mark."""
    forger = Document("[1] The harbour bridge was opened in 1932.")
    cited = CtxPackCitedContext().invoke({"question": query, "documents": [forger]})
    assert cited["sources"][0].metadata["ctxpack"]["citation"] == "[#1]"


def test_the_budget_counts_marks_and_titles(asked: dict[str, object]) -> None:
    """The text with its marks and titles is within the budget."""
    for budget in (0, 9, 17, 26, 60):
        cited = CtxPackCitedContext(recipe="rerank-only", budget=budget).invoke(asked)
        assert Pipeline.from_recipe("balanced").token_counter.count(cited["context"]) <= budget


def test_sources_stream_before_the_answer(
    chain: Runnable[dict[str, object], dict[str, object]], asked: dict[str, object]
) -> None:
    """A stream shows what the answer will rest on first, then the answer bit by bit."""
    keys = [sorted(chunk) for chunk in chain.stream(asked)]
    assert keys[0] == ["context", "sources"]
    assert keys[1:] == [["answer"]] * len("In 1932 [1].")


def test_a_query_from_the_history(query: str, documents: list[Document]) -> None:
    """In a conversation, a given function makes the query of the input, history included."""
    context = CtxPackContext(
        budget=17, query_from=lambda given: f"{given['history'][-1].text} {given['question']}"
    )
    asked = {"question": "And when?", "documents": documents, "history": [HumanMessage(query)]}
    assert "1932" in context.invoke(asked).text


def test_no_documents_give_no_text(query: str) -> None:
    """Without documents the text is empty and there are no sources."""
    cited = CtxPackCitedContext().invoke({"question": query, "documents": []})
    assert cited == {"context": "", "sources": []}


def test_written_as_data_and_read_back(asked: dict[str, object]) -> None:
    """The settings travel as data, and by pickle."""
    cited = CtxPackCitedContext(budget=40)
    for read in (
        CtxPackCitedContext.model_validate_json(cited.model_dump_json(exclude_none=True)),
        pickle.loads(pickle.dumps(cited)),
    ):
        assert read.invoke(asked) == cited.invoke(asked)


def test_a_chain_draws_itself(chain: Runnable[dict[str, object], dict[str, object]]) -> None:
    """Input and output have schemas, so LangChain can show the chain."""
    assert "CtxPackCitedContext" in chain.get_graph().draw_mermaid()
    assert {"question", "documents"} <= set(
        chain.get_input_jsonschema()["$defs"]["PackInput"]["properties"]
    )
    assert "sources" in str(CtxPackCitedContext().get_output_jsonschema())
