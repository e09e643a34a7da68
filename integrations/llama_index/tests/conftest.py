"""Nodes and a retriever that the tests share."""

from __future__ import annotations

import asyncio
import warnings

import pytest
from llama_index.core import MockEmbedding, VectorStoreIndex
from llama_index.core.embeddings.utils import resolve_embed_model
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeRelationship, NodeWithScore, RelatedNodeInfo, TextNode

with warnings.catch_warnings():
    # The framework imports a deprecated package on first use, where that is installed.
    warnings.simplefilter("ignore", DeprecationWarning)
    resolve_embed_model(MockEmbedding(embed_dim=8))

BRIDGE = (
    "The harbour bridge carries six lanes of traffic. The harbour bridge was opened in 1932."
    " Painting it takes a crew of twelve. Its steel came from two mills up the river."
)
FERRY = (
    "Ferries leave every ten minutes. The last ferry to the harbour leaves at midnight."
    " Bicycles travel free. Dogs must be on a lead."
)
TOWER = "The clock tower was opened in 1911. It holds four bells. Visitors may climb it on Sundays."


@pytest.fixture(autouse=True)
def no_event_loop() -> None:
    """Keep the framework's sync calls from making an event loop that nobody closes."""
    asyncio.set_event_loop(None)


@pytest.fixture
def query() -> str:
    """Return a query that one sentence of the first node answers."""
    return "When was the harbour bridge opened?"


@pytest.fixture
def nodes() -> list[NodeWithScore]:
    """Return what a retriever would: ids, metadata, relationships, offsets, scores, no text."""
    guide = RelatedNodeInfo(node_id="guide", metadata={"pages": 12}, hash="h")
    bridge = TextNode(
        id_="bridge",
        text=BRIDGE,
        metadata={"title": "Bridge", "page": 3, "path": "a/very/long/path/to/the/guide.pdf"},
        excluded_llm_metadata_keys=["path"],
        excluded_embed_metadata_keys=["page"],
        start_char_idx=1000,
        end_char_idx=1000 + len(BRIDGE),
        relationships={
            NodeRelationship.SOURCE: guide,
            NodeRelationship.NEXT: RelatedNodeInfo(node_id="ferry"),
        },
    )
    ferry = TextNode(
        id_="ferry",
        text=FERRY,
        relationships={
            NodeRelationship.SOURCE: guide,
            NodeRelationship.PREVIOUS: RelatedNodeInfo(node_id="bridge"),
        },
    )
    empty = TextNode(id_="empty", text="", metadata={"source": {"url": "e"}})
    tower = TextNode(id_="tower", text=TOWER)
    return [
        NodeWithScore(node=bridge, score=0.9),
        NodeWithScore(node=ferry, score=-3.5),
        NodeWithScore(node=empty, score=0.1),
        NodeWithScore(node=tower),
    ]


@pytest.fixture
def retriever(nodes: list[NodeWithScore]) -> BaseRetriever:
    """Return a retriever over the nodes that have text, in a real index."""
    index = VectorStoreIndex(
        nodes=[scored.node for scored in nodes if scored.get_content()],
        embed_model=MockEmbedding(embed_dim=8),
    )
    return index.as_retriever(similarity_top_k=10)
