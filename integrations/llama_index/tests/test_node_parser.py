"""`CtxPackNodeParser`: where it cuts, and what its nodes say about their place."""

from __future__ import annotations

import asyncio
import pickle
import threading

import pytest
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.node_parser import NodeParser
from llama_index.core.schema import Document, ImageNode, MetadataMode, TextNode
from llama_index.postprocessor.ctxpack import CtxPackNodeParser

from ctxpack import Pipeline

COUNT = Pipeline.from_recipe("balanced").token_counter.count
TEXT = """# Lamps

The lamp is blue. It costs ten euros. It comes with a shade of paper.

# Prices

| lamp | euros |
|---|---|
| blue | 10 |
| red | 12 |

You can pay in these ways:

- in cash, at the till of the shop
- by card, in the shop and at the door

```python
for lamp in lamps:
    print(lamp.price, lamp.colour)
```

The lamp is blue. That is all that there is to say.
"""


@pytest.fixture
def lamps() -> Document:
    """Return a document with a heading, a table, a list, code and a sentence that stands twice."""
    return Document(id_="lamps", text=TEXT, metadata={"shop": "north"})


def parts(lamps: Document, chunk_size: int) -> list[TextNode]:
    """Return the nodes of the document."""
    return CtxPackNodeParser(chunk_size=chunk_size).get_nodes_from_documents([lamps])


def test_is_a_node_parser() -> None:
    """It is a true subclass, so it goes wherever LlamaIndex takes one."""
    assert issubclass(CtxPackNodeParser, NodeParser)


@pytest.mark.parametrize("chunk_size", [20, 30, 50, 90, 500])
def test_nodes_are_exact_slices(lamps: Document, chunk_size: int) -> None:
    """Joined they are the document, and their offsets are right, repeated sentences included."""
    nodes = parts(lamps, chunk_size)
    assert "".join(node.text for node in nodes) == TEXT
    assert all(TEXT[node.start_char_idx : node.end_char_idx] == node.text for node in nodes)
    assert [node.start_char_idx for node in nodes[1:]] == [node.end_char_idx for node in nodes[:-1]]


def test_cuts_respect_the_structure(lamps: Document) -> None:
    """Code and rows stay whole, and no node ends behind a heading, table header or lead."""
    texts = [node.text for node in parts(lamps, 30)]
    assert len(texts) > 4
    assert any("for lamp in lamps:" in text and "colour)\n```" in text for text in texts)
    for lead in ("# Lamps", "# Prices", "|---|---|", "in these ways:"):
        assert not any(text.strip().endswith(lead) for text in texts)


@pytest.mark.parametrize("chunk_size", [40, 60, 90])
def test_the_size_holds_with_metadata(lamps: Document, chunk_size: int) -> None:
    """What an embedding model reads of a node, its metadata included, is within the size."""
    for node in parts(lamps, chunk_size):
        assert COUNT(node.get_content(MetadataMode.EMBED)) <= chunk_size


def test_metadata_that_leaves_no_room(lamps: Document) -> None:
    """Metadata as long as a node may be is an error that says so."""
    with pytest.raises(ValueError, match="`chunk_size` is 3 and the metadata alone"):
        parts(lamps, 3)


def test_nodes_know_their_document_and_neighbours(lamps: Document) -> None:
    """Metadata, source, previous and next are set as the framework's parsers set them."""
    nodes = parts(lamps, 40)
    assert {node.ref_doc_id for node in nodes} == {"lamps"}
    assert nodes[0].metadata == {"shop": "north"}
    assert nodes[0].next_node.node_id == nodes[1].node_id
    assert nodes[1].prev_node.node_id == nodes[0].node_id


def test_ids_are_the_same_every_time(lamps: Document) -> None:
    """The ids of a document's nodes are made of its id and the offsets, unless told otherwise."""
    first, again = parts(lamps, 40), parts(lamps, 40)
    assert [node.node_id for node in first] == [node.node_id for node in again]
    assert len({node.node_id for node in first}) == len(first)
    parser = CtxPackNodeParser(chunk_size=40, id_func=lambda i, doc: f"{doc.node_id}-{i}")
    assert parser.get_nodes_from_documents([lamps])[1].node_id == "lamps-1"


def test_a_node_can_be_parsed_again() -> None:
    """Offsets of a node that has offsets itself are those in the source."""
    node = TextNode(text="The lamp is blue. It costs ten euros.", start_char_idx=100)
    nodes = CtxPackNodeParser(chunk_size=8).get_nodes_from_documents([node])
    assert [(part.start_char_idx, part.end_char_idx) for part in nodes] == [(100, 118), (118, 137)]


def test_other_nodes_pass(lamps: Document) -> None:
    """Images come out as they went in, and no input is changed."""
    image = ImageNode(text="A lamp.", image_url="https://example.org/a.png")
    before = image.to_dict()
    nodes = CtxPackNodeParser(chunk_size=40).get_nodes_from_documents([lamps, image])
    assert nodes[-1].to_dict() == before == image.to_dict()
    assert (lamps.text, lamps.metadata) == (TEXT, {"shop": "north"})


def test_empty_documents_give_no_nodes() -> None:
    """Neither nothing nor an empty text is an error."""
    assert CtxPackNodeParser().get_nodes_from_documents([]) == []
    assert CtxPackNodeParser().get_nodes_from_documents([Document(text="")]) == []


def test_splits_plain_text() -> None:
    """As a text splitter it returns strings that joined are the text."""
    texts = CtxPackNodeParser(chunk_size=30).split_text(TEXT)
    assert len(texts) > 4
    assert "".join(texts) == TEXT


def test_async_equals_sync_away_from_the_loop(lamps: Document) -> None:
    """`acall` gives what a call gives, and leaves the loop's thread free."""
    threads = set()

    def count(text: str) -> int:
        threads.add(threading.get_ident())
        return len(text.split())

    parser = CtxPackNodeParser(chunk_size=40, token_counter=count)
    assert asyncio.run(parser.acall([lamps])) == parser([lamps])
    threads.clear()
    asyncio.run(parser.acall([lamps]))
    assert threads
    assert threading.get_ident() not in threads


def test_written_as_data_and_read_back(lamps: Document) -> None:
    """A parser made of the data, or of a pickle, does the same."""
    parser = CtxPackNodeParser(chunk_size=40, include_prev_next_rel=False)
    for read in (
        CtxPackNodeParser.from_dict(parser.to_dict()),
        CtxPackNodeParser.from_json(parser.to_json()),
        pickle.loads(pickle.dumps(parser)),
    ):
        assert read([lamps]) == parser([lamps])


@pytest.mark.parametrize("name", ["id_func", "token_counter"])
def test_a_function_is_not_data(name: str) -> None:
    """A setting that only a function can hold is an error when written, and names itself."""
    with pytest.raises(ValueError, match=name):
        CtxPackNodeParser(**{name: max}).to_dict()


def test_runs_in_an_ingestion_pipeline(lamps: Document) -> None:
    """The pipeline's nodes are the parser's, from its cache the second time."""
    parser = CtxPackNodeParser(chunk_size=40)
    pipeline = IngestionPipeline(transformations=[parser])
    assert pipeline.run(documents=[lamps]) == parser([lamps])
    assert pipeline.run(documents=[lamps]) == parser([lamps])
