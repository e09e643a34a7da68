"""One recipe gives the same evidence in LangChain, in LlamaIndex and in plain Python."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from langchain_core.documents import Document
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.postprocessor.ctxpack import CtxPackPostprocessor

from ctxpack import Passage, Pipeline
from ctxpack.samples import QUERIES, passages
from ctxpack.testing.cases import CASES, Case
from langchain_ctxpack import CtxPackCompressor

CALLS = {
    **CASES,
    **{f"samples-{n}": Case(query, tuple(passages())) for n, query in enumerate(QUERIES)},
}


class Kept(NamedTuple):
    """What is kept of a passage: its position, its text, the offsets and the relevance."""

    position: int
    text: str
    spans: list[list[int]]
    score: float | None


def plain(recipe: str, case: Case) -> list[Kept]:
    """Return what the engine keeps, called without a framework."""
    packed = Pipeline.from_recipe(recipe).compress(
        case.query, [Passage(passage.text) for passage in case.passages]
    )
    return [
        Kept(kept.passage_index, kept.text, [list(span) for span in kept.spans], kept.score)
        for kept in packed.passages
    ]


def langchain(recipe: str, budget: int | None, case: Case) -> list[Kept]:
    """Return what the compressor keeps."""
    compressor = CtxPackCompressor(recipe=recipe, budget=budget)
    documents = [Document(passage.text, id=str(n)) for n, passage in enumerate(case.passages)]
    kept = compressor.compress_documents(documents, case.query)
    return [_kept(found.id, found.page_content, found.metadata["ctxpack"]) for found in kept]


def llama_index(recipe: str, budget: int | None, case: Case) -> list[Kept]:
    """Return what the postprocessor keeps."""
    postprocessor = CtxPackPostprocessor(recipe=recipe, budget=budget)
    nodes = [
        NodeWithScore(node=TextNode(text=passage.text, id_=str(n)))
        for n, passage in enumerate(case.passages)
    ]
    kept = postprocessor.postprocess_nodes(nodes, query_str=case.query)
    return [_kept(found.node_id, found.text, found.metadata["ctxpack"]) for found in kept]


def _kept(name: Any, text: str, record: dict[str, Any]) -> Kept:
    return Kept(int(name), text, record["spans"], record["score"])


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("recipe", ["balanced", "rerank-only"])
@pytest.mark.parametrize("budget", [20, 100])
def test_both_frameworks_keep_the_same(name: str, recipe: str, budget: int) -> None:
    """Text, offsets, scores and order are equal to the byte under every budget."""
    case = CALLS[name]
    assert langchain(recipe, budget, case) == llama_index(recipe, budget, case)


@pytest.mark.parametrize("number", range(len(QUERIES)))
def test_no_budget_tells_them_apart(number: int) -> None:
    """Also where a budget ends between a text and the white space that one of them strips."""
    case = CALLS[f"samples-{number}"]
    for budget in range(8, 240, 11):
        assert langchain("balanced", budget, case) == llama_index("balanced", budget, case)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("recipe", ["balanced", "rerank-only"])
def test_the_frameworks_keep_what_the_engine_keeps(name: str, recipe: str) -> None:
    """Without a budget both give what plain Python gives."""
    case = CALLS[name]
    expected = plain(recipe, case)
    assert langchain(recipe, None, case) == expected
    assert llama_index(recipe, None, case) == expected
