"""Documents and a recipe that the tests share."""

from __future__ import annotations

import pytest
from langchain_core.documents import Document

BRIDGE = (
    "The harbour bridge carries six lanes of traffic. The harbour bridge was opened in 1932."
    " Painting it takes a crew of twelve. Its steel came from two mills up the river."
)
FERRY = (
    "Ferries leave every ten minutes. The last ferry to the harbour leaves at midnight."
    " Bicycles travel free. Dogs must be on a lead."
)
TOWER = "The clock tower was opened in 1911. It holds four bells. Visitors may climb it on Sundays."


@pytest.fixture
def query() -> str:
    """Return a query that one sentence of the first document answers."""
    return "When was the harbour bridge opened?"


@pytest.fixture
def documents() -> list[Document]:
    """Return what a retriever would: ids, metadata of every shape, one score, an empty text."""
    return [
        Document(BRIDGE, id="bridge", metadata={"title": "Bridge", "page": 3, "tags": ["a", "b"]}),
        Document(FERRY, id="ferry", metadata={"relevance_score": 0.75, "source": {"url": "f"}}),
        Document("", id="empty"),
        Document(TOWER),
    ]
