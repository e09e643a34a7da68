"""`CtxPackTransform`: near duplicates out, alone and in an ingestion pipeline."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import MockEmbedding
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import (
    BaseNode,
    ImageNode,
    NodeRelationship,
    NodeWithScore,
    RelatedNodeInfo,
    TextNode,
    TransformComponent,
)
from llama_index.postprocessor.ctxpack import CtxPackPostprocessor, CtxPackTransform

from ctxpack import Pipeline
from ctxpack.scoring.bundled import Swift

BRIDGE = "The harbour bridge was opened in 1932. Painting it takes a crew of twelve."
FERRY = "The last ferry to the harbour leaves at midnight. Bicycles travel free of charge."
TOWER = "The clock tower holds four bells. Visitors may climb it on Sundays."


def linked(*nodes: TextNode) -> list[BaseNode]:
    """Return the nodes, each with links to the one before and the one behind."""
    for before, after in pairwise(nodes):
        before.relationships[NodeRelationship.NEXT] = RelatedNodeInfo(node_id=after.node_id)
        after.relationships[NodeRelationship.PREVIOUS] = RelatedNodeInfo(node_id=before.node_id)
    return list(nodes)


@pytest.fixture
def copies() -> list[BaseNode]:
    """Return four linked nodes, the third of which is a copy of the first."""
    return linked(
        TextNode(id_="bridge", text=BRIDGE, metadata={"page": 1}, embedding=[0.1]),
        TextNode(id_="ferry", text=FERRY),
        TextNode(id_="copy", text=BRIDGE),
        TextNode(id_="tower", text=TOWER),
    )


@pytest.fixture
def overlap() -> list[BaseNode]:
    """Return two nodes, the second of which begins with the end of the first."""
    shared = "Painting it takes a crew of twelve and the better part of two years."
    return [
        TextNode(id_="a", text=f"The bridge was opened in 1932. {shared}"),
        TextNode(
            id_="b",
            text=f"{shared} {TOWER}",
            start_char_idx=500,
            embedding=[0.1],
            metadata={"p": 1},
        ),
    ]


def ids(nodes: Any) -> list[str]:
    """Return the ids of the nodes."""
    return [node.node_id for node in nodes]


def test_is_a_transformation() -> None:
    """It is a true subclass, so it goes wherever LlamaIndex takes one."""
    assert issubclass(CtxPackTransform, TransformComponent)


def test_takes_out_copies(copies: list[BaseNode]) -> None:
    """Of two copies the first stays, with everything that it had."""
    kept = CtxPackTransform()(copies)
    assert ids(kept) == ["bridge", "ferry", "tower"]
    assert kept[0] is copies[0]


def test_links_lead_past_what_is_gone(copies: list[BaseNode]) -> None:
    """Neighbours of a node that is gone are linked to each other, in copies."""
    kept = CtxPackTransform()(copies)
    assert kept[1].next_node.node_id == "tower"
    assert kept[2].prev_node.node_id == "ferry"
    assert copies[1].next_node.node_id == "copy"


def test_the_last_node_has_no_next() -> None:
    """A link to a node that is gone, with none behind it, goes."""
    nodes = linked(TextNode(id_="a", text=BRIDGE), TextNode(id_="b", text=BRIDGE))
    assert CtxPackTransform()(nodes)[0].next_node is None


def test_an_overlap_goes_once(overlap: list[BaseNode]) -> None:
    """What a splitter's overlap repeats is cut from the later node, a copy with true offsets."""
    first, second = CtxPackTransform()(overlap)
    assert first is overlap[0]
    assert second.text == TOWER
    assert second.start_char_idx == 500 + overlap[1].text.index(TOWER)
    assert second.end_char_idx == 500 + len(overlap[1].text)


def test_a_cut_node_has_no_stale_embedding(overlap: list[BaseNode]) -> None:
    """The embedding of the longer text goes, the metadata stays as it was, flat."""
    overlap[1].embedding = [0.1]
    second = CtxPackTransform()(overlap)[1]
    assert (second.node_id, second.embedding, second.metadata) == ("b", None, {"p": 1})
    assert overlap[1].embedding == [0.1]


def test_titles_tell_nodes_apart() -> None:
    """Copies with different titles are about different things."""
    nodes = [TextNode(id_=title, text=BRIDGE, metadata={"title": title}) for title in "ab"]
    assert ids(CtxPackTransform()(nodes)) == ["a", "b"]
    assert ids(CtxPackTransform(title_key=None)(nodes)) == ["a"]


def test_keeps_what_answers_a_fixed_query(copies: list[BaseNode]) -> None:
    """With a query it keeps what answers that."""
    recipe = Pipeline.from_recipe("balanced", budget=14)
    (kept,) = CtxPackTransform(query="When was the bridge opened?", recipe=recipe)(copies)
    assert kept.node_id == "bridge"
    assert "1932" in kept.get_content()


def test_a_recipe_that_scores_needs_a_query() -> None:
    """A mistake shows before the first call."""
    with pytest.raises(ValueError, match="`query` must be given"):
        CtxPackTransform(recipe="balanced")


def test_nothing_gives_nothing() -> None:
    """`[]` gives `[]`, and images are not looked at."""
    image = ImageNode(text="A bridge.", image_url="https://example.org/a.png")
    assert CtxPackTransform()([]) == []
    assert CtxPackTransform()([image, image])[1] is image


def test_async_is_away_from_the_loop(
    copies: list[BaseNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`acall` gives what a call gives, computed in another thread."""
    expected, threads = CtxPackTransform()(copies), set()
    compress = Pipeline.compress

    def traced(*args: Any, **kwargs: Any) -> Any:
        threads.add(threading.get_ident())
        return compress(*args, **kwargs)

    monkeypatch.setattr(Pipeline, "compress", traced)
    assert asyncio.run(CtxPackTransform().acall(copies)) == expected
    assert threads
    assert threading.get_ident() not in threads


@pytest.mark.parametrize("settings", [{}, {"query": "bridge", "recipe": "rerank-only"}])
def test_written_as_data_and_read_back(settings: dict[str, Any], copies: list[BaseNode]) -> None:
    """A transformation made of the data, or of a pickle, does the same."""
    transform = CtxPackTransform(**settings)
    for read in (
        CtxPackTransform.from_dict(transform.to_dict()),
        CtxPackTransform.from_json(transform.to_json()),
        pickle.loads(pickle.dumps(transform)),
    ):
        assert read(copies) == transform(copies)


def test_runs_in_an_ingestion_pipeline(copies: list[BaseNode]) -> None:
    """Sync and async, before an embedding model, every node is stored once."""
    pipeline = IngestionPipeline(
        transformations=[CtxPackTransform(), MockEmbedding(embed_dim=4)], disable_cache=True
    )
    for kept in (pipeline.run(nodes=copies), asyncio.run(pipeline.arun(nodes=copies))):
        assert ids(kept) == ["bridge", "ferry", "tower"]
        assert all(len(node.embedding) == 4 for node in kept)


def test_the_pipelines_cache_knows_the_recipe(
    copies: list[BaseNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second run is read from the cache, and another recipe is not."""
    pipeline = IngestionPipeline(transformations=[CtxPackTransform()])
    first = pipeline.run(nodes=copies)
    keep_all = CtxPackTransform(recipe={"scorer": "lexical", "steps": []})
    other = IngestionPipeline(transformations=[keep_all], cache=pipeline.cache)
    assert ids(other.run(nodes=copies)) == ["bridge", "ferry", "copy", "tower"]
    monkeypatch.setattr(Pipeline, "compress", None)
    assert pipeline.run(nodes=copies) == first


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_runs_in_worker_processes(copies: list[BaseNode]) -> None:
    """With two workers each sees one half of the nodes, here one whose nodes are all copies."""
    pipeline = IngestionPipeline(transformations=[CtxPackTransform()], disable_cache=True)
    nodes = [copies[0], copies[2], copies[1], copies[3]]
    kept = asyncio.run(pipeline.arun(nodes=nodes, num_workers=2))
    assert ids(kept) == ["bridge", "ferry", "tower"]


LATER = {"name": "later", "scorer": "ctxpack-swift", "steps": ["score", "select"]}
QUERY = "When was the bridge opened?"
OTHER_PROCESS = """
import sys
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.postprocessor.ctxpack import CtxPackPostprocessor
from ctxpack import Pipeline
from ctxpack.scoring.bundled import Swift

Swift.encode = None    # so that a miss is an error
later = {"name": "later", "scorer": "ctxpack-swift", "steps": ["score", "select"]}
postprocessor = CtxPackPostprocessor(recipe=Pipeline.from_recipe(later, cache=sys.argv[1]))
node = TextNode(text=sys.argv[2], metadata={"title": "Bridges"})
query = "When was the bridge opened?"
assert postprocessor.postprocess_nodes([NodeWithScore(node=node)], query_str=query)
"""


class TestWarming:
    """A cache that is filled while nodes are ingested."""

    @pytest.mark.parametrize("asynchronous", [False, True])
    def test_a_query_finds_all_nodes(
        self, asynchronous: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What an ingestion pipeline stored is not encoded again by the postprocessor."""
        pipeline = Pipeline.from_recipe(LATER, cache="memory:")
        ingestion = IngestionPipeline(transformations=[CtxPackTransform(cache_recipe=pipeline)])
        nodes = [TextNode(text=BRIDGE, metadata={"title": "Bridges"}), TextNode(text=FERRY)]
        if asynchronous:
            stored = asyncio.run(ingestion.arun(nodes=nodes))
        else:
            stored = ingestion.run(nodes=nodes)
        monkeypatch.setattr(Swift, "encode", None)  # so that a miss is an error
        found = [NodeWithScore(node=node) for node in stored]
        postprocessor = CtxPackPostprocessor(recipe=pipeline)
        assert postprocessor.postprocess_nodes(found, query_str=QUERY)

    def test_another_process_finds_it(self, tmp_path: Path) -> None:
        """What one process stored in a file, another finds."""
        url = f"sqlite:///{tmp_path}/segments.db"
        node = TextNode(text=BRIDGE, metadata={"title": "Bridges"})
        CtxPackTransform(cache=url, cache_recipe=LATER)([node])
        command = [sys.executable, "-c", OTHER_PROCESS, url, BRIDGE]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def test_nodes_come_out_as_without(self, copies: list[BaseNode]) -> None:
        """A cache changes no node."""
        warming = CtxPackTransform(cache="memory:", cache_recipe=LATER)
        assert warming(copies) == CtxPackTransform()(copies)

    def test_a_copy_warms_too(self) -> None:
        """A pickled transform has its cache settings, as an ingestion with workers needs."""
        transform = CtxPackTransform(cache="memory:", cache_recipe=LATER)
        again = pickle.loads(pickle.dumps(transform))
        assert (again.cache, again.cache_recipe) == ("memory:", LATER)
