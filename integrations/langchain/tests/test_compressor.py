"""`CtxPackCompressor` on its own: what comes out of a call."""

from __future__ import annotations

import asyncio
import copy
import pickle

import pytest
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.prompts import PromptTemplate, format_document

from ctxpack import Pipeline
from ctxpack.errors import InputError
from langchain_ctxpack import CtxPackCompressor


def test_is_a_document_compressor() -> None:
    """It is a true subclass, so it goes wherever LangChain takes one."""
    assert issubclass(CtxPackCompressor, BaseDocumentCompressor)


def test_keeps_the_sentence_that_answers(query: str, documents: list[Document]) -> None:
    """The answer stays and sentences about something else go."""
    kept = CtxPackCompressor(budget=40).compress_documents(documents, query)
    assert "was opened in 1932." in kept[0].page_content
    assert all("Dogs" not in document.page_content for document in kept)


def test_no_documents_give_no_documents(query: str) -> None:
    """`[]` gives `[]`, sync and async."""
    compressor = CtxPackCompressor()
    assert compressor.compress_documents([], query) == []
    assert asyncio.run(compressor.acompress_documents([], query)) == []


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_empty_text_is_no_error(text: str, query: str) -> None:
    """Documents without text give nothing to read."""
    documents = [Document(text), Document(text, id="x")]
    kept = CtxPackCompressor().compress_documents(documents, query)
    assert not any(document.page_content.strip() for document in kept)


def test_keeps_id_and_metadata(query: str, documents: list[Document]) -> None:
    """Every document that comes out has the id and metadata of the one that it was cut from."""
    by_id = {document.id: document for document in documents}
    for kept in CtxPackCompressor(recipe="rerank-only").compress_documents(documents, query):
        added = {"ctxpack", "relevance_score"}
        original = {k: v for k, v in by_id[kept.id].metadata.items() if k not in added}
        assert {k: v for k, v in kept.metadata.items() if k not in added} == original


def test_gives_plain_documents(query: str, documents: list[Document]) -> None:
    """Nothing leaks through a private subclass."""
    kept = CtxPackCompressor().compress_documents(documents, query)
    assert {type(document) for document in kept} == {Document}


def test_both_scores_are_kept(query: str, documents: list[Document]) -> None:
    """`relevance_score` is ours; the score that came in is `retrieval_score` below `ctxpack`."""
    kept = CtxPackCompressor(recipe="rerank-only").compress_documents(documents, query)
    ferry = next(document for document in kept if document.id == "ferry")
    assert ferry.metadata["ctxpack"]["retrieval_score"] == 0.75
    assert ferry.metadata["relevance_score"] == ferry.metadata["ctxpack"]["score"]
    assert 0 <= ferry.metadata["relevance_score"] <= 1


def test_offsets_are_verbatim(query: str, documents: list[Document]) -> None:
    """Every stretch below `ctxpack` is a slice of the original and stands in the text as it is."""
    by_id = {document.id: document for document in documents}
    for kept in CtxPackCompressor(budget=40).compress_documents(documents, query):
        for start, end in kept.metadata["ctxpack"]["spans"]:
            assert by_id[kept.id].page_content[start:end] in kept.page_content


def test_changes_nothing_it_was_given(query: str, documents: list[Document]) -> None:
    """Documents and their metadata are as they were, also when the output is written to."""
    before = copy.deepcopy(documents)
    for kept in CtxPackCompressor().compress_documents(documents, query):
        kept.metadata["page"] = "changed"
    assert documents == before


@pytest.mark.parametrize("budget", [0, 1, 5, 12, 20, 33, 60, 500])
@pytest.mark.parametrize(
    ("prompt", "separator"),
    [("{page_content}", "\n\n"), ("<doc>\n{page_content}\n</doc>", "\n* * *\n")],
)
def test_budget_holds_for_what_the_chain_builds(
    budget: int, prompt: str, separator: str, query: str, documents: list[Document]
) -> None:
    """Formatted and joined as the chain does it, the documents have at most `budget` tokens."""
    template = PromptTemplate.from_template(prompt)
    compressor = CtxPackCompressor(
        recipe="rerank-only", budget=budget, document_prompt=template, document_separator=separator
    )
    kept = compressor.compress_documents(documents, query)
    text = separator.join(format_document(document, template) for document in kept)
    assert Pipeline.from_recipe("balanced").token_counter.count(text) <= budget


def test_async_equals_sync(query: str, documents: list[Document]) -> None:
    """`acompress_documents` gives what `compress_documents` gives."""
    compressor = CtxPackCompressor(budget=40)
    kept = asyncio.run(compressor.acompress_documents(documents, query))
    assert kept == compressor.compress_documents(documents, query)


def test_an_error_is_raised(documents: list[Document]) -> None:
    """A query without a word is an error that names the argument."""
    with pytest.raises(InputError, match="`query`"):
        CtxPackCompressor().compress_documents(documents, " ")


def test_passthrough_stays_inside_the_budget(documents: list[Document]) -> None:
    """With `on_error: passthrough` an error costs the pruning, not the call nor the budget."""
    pipeline = Pipeline.from_recipe("balanced", on_error="passthrough")
    kept = CtxPackCompressor(recipe=pipeline, budget=25).compress_documents(documents, " ")
    text = "\n\n".join(document.page_content for document in kept)
    assert 0 < pipeline.token_counter.count(text) <= 25


def test_a_wrong_recipe_shows_at_once() -> None:
    """A mistake in the recipe is an error of the constructor, not of the first call."""
    with pytest.raises(ValueError, match="did you mean 'balanced'"):
        CtxPackCompressor(recipe="balancd")


def test_pickles(query: str, documents: list[Document]) -> None:
    """A compressor travels between processes and does the same there."""
    compressor = CtxPackCompressor(budget=40)
    copied = pickle.loads(pickle.dumps(compressor))
    assert copied.compress_documents(documents, query) == compressor.compress_documents(
        documents, query
    )
