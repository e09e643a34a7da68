"""`CtxPackPostprocessor` on its own: what comes out of a call."""

from __future__ import annotations

import asyncio
import copy
import json

import pytest
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, TextNode
from llama_index.postprocessor.ctxpack import CtxPackPostprocessor

from ctxpack import Pipeline

KEEP_ALL = {"scorer": "lexical", "steps": ["score"]}


def by_id(nodes: list[NodeWithScore]) -> dict[str, NodeWithScore]:
    """Return the nodes by their ids."""
    return {scored.node_id: scored for scored in nodes}


def test_is_a_postprocessor() -> None:
    """It is a true subclass, so it goes wherever LlamaIndex takes one."""
    assert issubclass(CtxPackPostprocessor, BaseNodePostprocessor)


def test_keeps_the_sentence_that_answers(query: str, nodes: list[NodeWithScore]) -> None:
    """The answer stays and sentences about something else go."""
    kept = CtxPackPostprocessor(budget=40).postprocess_nodes(nodes, query_str=query)
    assert "was opened in 1932." in kept[0].text
    assert all("Dogs" not in scored.text for scored in kept)


def test_no_nodes_give_no_nodes(query: str) -> None:
    """`[]` gives `[]`, sync and async, with a query and without."""
    postprocessor = CtxPackPostprocessor()
    assert postprocessor.postprocess_nodes([], query_str=query) == []
    assert postprocessor.postprocess_nodes([]) == []
    assert asyncio.run(postprocessor.apostprocess_nodes([], query_str=query)) == []


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_empty_texts_are_no_error(text: str, query: str) -> None:
    """Nodes without text give no text."""
    nodes = [NodeWithScore(node=TextNode(text=text)), NodeWithScore(node=TextNode(text=text))]
    kept = CtxPackPostprocessor().postprocess_nodes(nodes, query_str=query)
    assert "".join(scored.text for scored in kept).strip() == ""


def test_keeps_ids_metadata_and_relationships(query: str, nodes: list[NodeWithScore]) -> None:
    """Everything but the text comes out as it went in; one metadata key is added."""
    kept = by_id(CtxPackPostprocessor().postprocess_nodes(nodes, query_str=query))
    before, after = by_id(nodes)["bridge"].node, kept["bridge"].node
    assert {k: v for k, v in after.metadata.items() if k != "ctxpack"} == before.metadata
    assert after.relationships == before.relationships
    assert after.ref_doc_id == "guide"


def test_keeps_both_scores(query: str, nodes: list[NodeWithScore]) -> None:
    """The score is the relevance; the retrieval score stands beside it in the metadata."""
    kept = by_id(CtxPackPostprocessor(recipe=KEEP_ALL).postprocess_nodes(nodes, query_str=query))
    assert kept["bridge"].score == kept["bridge"].metadata["ctxpack"]["score"]
    assert 0 < kept["tower"].score < kept["bridge"].score <= 1
    retrieval_scores = {i: s.metadata["ctxpack"]["retrieval_score"] for i, s in kept.items()}
    assert retrieval_scores == {"bridge": 0.9, "ferry": -3.5, "tower": None}


def test_spans_point_into_the_text_that_came_in(query: str, nodes: list[NodeWithScore]) -> None:
    """The recorded spans are the kept text, character for character."""
    for scored in CtxPackPostprocessor().postprocess_nodes(nodes, query_str=query):
        text = by_id(nodes)[scored.node_id].text
        spans = scored.metadata["ctxpack"]["spans"]
        assert "".join(text[start:end] for start, end in spans) == scored.text.replace("[…] ", "")


def test_offsets_of_one_slice_are_rebased(query: str, nodes: list[NodeWithScore]) -> None:
    """Where one stretch is kept, the offsets are its place in the source."""
    kept = by_id(CtxPackPostprocessor(budget=40).postprocess_nodes(nodes, query_str=query))
    node, before = kept["bridge"].node, by_id(nodes)["bridge"].node
    start, end = node.start_char_idx - 1000, node.end_char_idx - 1000
    assert 0 <= start < end <= len(before.text)
    assert before.text[start:end] == node.text


def test_offsets_of_two_slices_are_none() -> None:
    """Where something in between is left out, no pair of offsets would be true."""
    text = "The lamp is blue. Nobody was at home that day. The lamp costs ten euros."
    node = TextNode(text=text, start_char_idx=0, end_char_idx=len(text))
    recipe = {**KEEP_ALL, "steps": ["score", {"prune": 0.2}]}
    postprocessor = CtxPackPostprocessor(recipe=recipe)
    (kept,) = postprocessor.postprocess_nodes([NodeWithScore(node=node)], query_str="lamp")
    assert len(kept.metadata["ctxpack"]["spans"]) == 2
    assert (kept.node.start_char_idx, kept.node.end_char_idx) == (None, None)


def test_unknown_offsets_stay_unknown(query: str, nodes: list[NodeWithScore]) -> None:
    """A node that came without offsets gets none."""
    kept = by_id(CtxPackPostprocessor(recipe=KEEP_ALL).postprocess_nodes(nodes, query_str=query))
    assert (kept["tower"].node.start_char_idx, kept["tower"].node.end_char_idx) == (None, None)


def test_a_second_pass_keeps_the_first_record(query: str, nodes: list[NodeWithScore]) -> None:
    """Compressed again, a node still says what the first pass did, and hides it."""
    first = CtxPackPostprocessor(recipe=KEEP_ALL).postprocess_nodes(nodes, query_str=query)
    second = CtxPackPostprocessor(budget=40).postprocess_nodes(first, query_str=query)
    record = second[0].metadata["ctxpack"]
    assert record["earlier"] == by_id(first)["bridge"].metadata["ctxpack"]
    assert second[0].node.excluded_llm_metadata_keys == ["path", "ctxpack"]


def test_changes_no_input(query: str, nodes: list[NodeWithScore]) -> None:
    """Neither the list nor a node of it is changed, nor shares a container with the result."""
    before, given = copy.deepcopy(nodes), list(nodes)
    kept = CtxPackPostprocessor().postprocess_nodes(given, query_str=query)
    kept[0].node.metadata["added"] = 1
    kept[0].node.relationships.clear()
    kept[0].node.excluded_llm_metadata_keys.append("added")
    assert [scored.node for scored in given] == [scored.node for scored in before]
    assert given == nodes == before


def test_no_model_sees_what_is_added(query: str, nodes: list[NodeWithScore]) -> None:
    """The added key is hidden from the language model and from the embedding model."""
    for scored in CtxPackPostprocessor().postprocess_nodes(nodes, query_str=query):
        for mode in (MetadataMode.LLM, MetadataMode.EMBED):
            assert "ctxpack" not in scored.get_content(mode)


def test_what_is_added_is_json(query: str, nodes: list[NodeWithScore]) -> None:
    """The added metadata can be stored anywhere."""
    for scored in CtxPackPostprocessor().postprocess_nodes(nodes, query_str=query):
        record = scored.metadata["ctxpack"]
        assert json.loads(json.dumps(record)) == record


def test_async_equals_sync(query: str, nodes: list[NodeWithScore]) -> None:
    """`apostprocess_nodes` gives what `postprocess_nodes` gives."""
    postprocessor = CtxPackPostprocessor(budget=40)
    kept = asyncio.run(postprocessor.apostprocess_nodes(nodes, query_str=query))
    assert kept == postprocessor.postprocess_nodes(nodes, query_str=query)


def test_no_query_is_one_clear_error(nodes: list[NodeWithScore]) -> None:
    """Without a query there is nothing to compress for."""
    with pytest.raises(ValueError, match="CtxPackPostprocessor needs a query"):
        CtxPackPostprocessor().postprocess_nodes(nodes)


def test_an_error_passes_what_fits(nodes: list[NodeWithScore]) -> None:
    """With ``on_error: passthrough`` an error leaves the first nodes, inside the budget."""
    recipe = {**KEEP_ALL, "on_error": "passthrough"}
    postprocessor = CtxPackPostprocessor(recipe=recipe, budget=30)
    kept = postprocessor.postprocess_nodes(nodes, query_str=" ")
    read = "\n\n".join(scored.get_content(MetadataMode.LLM).strip() for scored in kept)
    count = Pipeline.from_recipe(KEEP_ALL).token_counter.count
    assert kept[0].node_id == "bridge"
    assert 0 < count(read) <= 30
