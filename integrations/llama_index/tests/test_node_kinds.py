"""Which nodes are compressed, which come out untouched, and what they cost."""

from __future__ import annotations

import pytest
from llama_index.core.bridge.pydantic import Field
from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageDocument,
    ImageNode,
    IndexNode,
    MediaResource,
    MetadataMode,
    Node,
    NodeWithScore,
    TextNode,
)
from llama_index.postprocessor.ctxpack import CtxPackPostprocessor

from ctxpack import Pipeline

COUNT = Pipeline.from_recipe("balanced").token_counter.count
TEXT = "The lamp is blue. Nobody was at home that day. Rain fell on the hills all week."


class Clause(TextNode):
    """A kind of text node of somebody else's."""

    number: str = Field(default="")

    @classmethod
    def class_name(cls) -> str:
        """Return the name of the kind."""
        return "Clause"


TEXT_KINDS = [
    TextNode(text=TEXT),
    Clause(text=TEXT, number="4.2"),
    Document(text=TEXT),
    Node(text_resource=MediaResource(text=TEXT, mimetype="text/markdown")),
]
OTHER_KINDS = [
    ImageNode(text="A lamp.", image_url="https://example.org/a.png"),
    IndexNode(text="A table of all lamps.", index_id="lamps"),
    ImageDocument(text="A lamp.", image="cG5n", image_mimetype="image/png"),
    Node(
        text_resource=MediaResource(text="A lamp."),
        image_resource=MediaResource(data=b"png", mimetype="image/png"),
    ),
]


def named(node: BaseNode) -> str:
    """Return what a test with this node is called."""
    return node.class_name()


@pytest.mark.parametrize("node", TEXT_KINDS, ids=named)
def test_text_is_compressed(node: BaseNode) -> None:
    """Every kind of text node comes out as its own kind, cut, with the rest as it was."""
    before = node.to_dict()
    postprocessor = CtxPackPostprocessor(budget=8)
    (kept,) = postprocessor.postprocess_nodes([NodeWithScore(node=node)], query_str="lamp")
    assert type(kept.node) is type(node)
    assert kept.node.node_id == node.node_id
    assert kept.get_content().strip() == "The lamp is blue."
    assert node.to_dict() == before


def test_fields_of_a_subclass_stay() -> None:
    """What only the subclass has comes out as it went in."""
    postprocessor = CtxPackPostprocessor(budget=8)
    clause = NodeWithScore(node=TEXT_KINDS[1])
    (kept,) = postprocessor.postprocess_nodes([clause], query_str="lamp")
    assert kept.node.number == "4.2"


def test_a_resource_keeps_its_type() -> None:
    """The text resource is copied with its other fields."""
    postprocessor = CtxPackPostprocessor(budget=8)
    markdown = NodeWithScore(node=TEXT_KINDS[3])
    (kept,) = postprocessor.postprocess_nodes([markdown], query_str="lamp")
    assert kept.node.text_resource.mimetype == "text/markdown"


def test_a_node_without_any_content() -> None:
    """It is a text that is empty."""
    assert (
        CtxPackPostprocessor().postprocess_nodes([NodeWithScore(node=Node())], query_str="?") == []
    )


@pytest.mark.parametrize("node", OTHER_KINDS, ids=named)
def test_other_nodes_come_out_untouched(node: BaseNode) -> None:
    """They are the objects that went in, behind the text."""
    given = [NodeWithScore(node=node, score=0.4), NodeWithScore(node=TEXT_KINDS[0])]
    kept = CtxPackPostprocessor(budget=20).postprocess_nodes(given, query_str="lamp")
    assert "The lamp is blue." in kept[0].text
    assert kept[1] is given[0]


def test_other_nodes_alone(query: str) -> None:
    """Without text there is nothing to do, and no query is needed."""
    given = [NodeWithScore(node=node) for node in OTHER_KINDS]
    assert CtxPackPostprocessor(budget=0).postprocess_nodes(given) == given


@pytest.mark.parametrize("budget", [0, 5, 12, 20, 30])
def test_the_text_of_other_nodes_counts(budget: int) -> None:
    """What the model reads of them takes its part of the budget; alone they may be over it."""
    others = [NodeWithScore(node=node) for node in OTHER_KINDS[:2]]
    given = [*others, NodeWithScore(node=TEXT_KINDS[0])]
    kept = CtxPackPostprocessor(budget=budget).postprocess_nodes(given, query_str="lamp")
    read = "\n\n".join(scored.get_content(MetadataMode.LLM).strip() for scored in kept)
    assert COUNT(read) <= budget or kept == others
