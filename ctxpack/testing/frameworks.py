"""What every compressor that stands in a framework must keep to, whoever wrote it."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest

from ctxpack.selection import Passage
from ctxpack.testing.cases import CASES, HARBOUR, TABLE, Case

THREADS = 32

_NOTES = {"date": "1911-05-02", "tags": ["quay", "wall"], "source": {"page": 3}}
_TEXTS = (
    HARBOUR,
    "Tides there reach four metres. Spring tides are higher. A table hangs at the quay.",
    "The museum opens at ten. Entry is free. Its oldest map shows the harbour before the wall.",
    TABLE,
)
PASSAGES = tuple(
    Passage(text, id=f"id-{n}", score=0.9 - n / 10, metadata={"number": n, **_NOTES})
    for n, text in enumerate(_TEXTS)
)
"""Four texts with ids, retrieval scores and metadata of several shapes."""

QUERIES = ("When was the lighthouse automated?", "How high are the tides?", "What is a fee?")


class Budget(NamedTuple):
    """The most tokens that a compressor may give to a model.

    Args:
        tokens: how many.
        count: counts the tokens of a text.
    """

    tokens: int
    count: Callable[[str], int]


class CompressorContract:
    """Tests that every compressor passes; override `compressor`, and `budget` where it has one.

    Take the subclass for your framework, or say for another one how its objects are made and read.
    """

    GAP_MARKS = frozenset({"[…]", "[...]", "…", "..."})
    """Words of an output that stand for what was left out."""

    @pytest.fixture
    def compressor(self) -> Any:
        """Return the compressor under test."""
        raise NotImplementedError("override the `compressor` fixture")

    @pytest.fixture
    def budget(self) -> Budget | None:
        """Return the budget that `compressor` has; None, the default, for none."""
        return None

    @pytest.fixture(params=[pytest.param(case, id=name) for name, case in CASES.items()])
    def case(self, request: pytest.FixtureRequest) -> Case:
        """Return a query and passages of any kind."""
        case: Case = request.param
        return case

    def wrap(self, passages: Iterable[Passage]) -> list[Any]:
        """Return new objects of the framework that hold the passages."""
        raise NotImplementedError

    def unwrap(self, retrieved: Iterable[Any]) -> list[Passage]:
        """Return what objects of the framework hold."""
        raise NotImplementedError

    def compress(self, compressor: Any, query: str, retrieved: list[Any]) -> Sequence[Any]:
        """Call the compressor."""
        raise NotImplementedError

    async def acompress(self, compressor: Any, query: str, retrieved: list[Any]) -> Sequence[Any]:
        """Call the compressor's asynchronous face."""
        raise NotImplementedError

    def read_by_model(self, retrieved: Sequence[Any]) -> str:
        """Return the text that the framework puts into a prompt by default."""
        raise NotImplementedError

    def test_keeps_something(self, compressor: Any) -> None:
        """Of plain texts something is kept; else the other tests would say nothing."""
        assert self._kept(compressor, *QUERIES)

    def test_takes_nothing(self, compressor: Any) -> None:
        """Nothing in, nothing out."""
        assert list(self.compress(compressor, QUERIES[0], [])) == []

    def test_takes_empty_text(self, compressor: Any) -> None:
        """A text of no characters is no error, alone or among others."""
        empty = Passage("", id="empty", metadata={"number": 4, **_NOTES})
        for passages in ([empty], [*PASSAGES, empty]):
            self.compress(compressor, QUERIES[0], self.wrap(passages))

    def test_takes_any_text(self, compressor: Any, case: Case) -> None:
        """Every script, white space, line end and length is text."""
        passages = [
            Passage(passage.text, id=f"id-{n}", score=0.5, metadata={"number": n, **_NOTES})
            for n, passage in enumerate(case.passages)
        ]
        self.compress(compressor, case.query, self.wrap(passages))

    def test_keeps_ids(self, compressor: Any) -> None:
        """What comes out has the id that it came in with, each once."""
        known = {passage.id for passage in PASSAGES}
        for query in QUERIES:
            ids = [kept.id for kept in self._kept(compressor, query)]
            assert set(ids) <= known
            assert len(set(ids)) == len(ids)

    def test_keeps_metadata(self, compressor: Any) -> None:
        """What comes out has all metadata that it came in with; more may be added."""
        for kept in self._kept(compressor, *QUERIES):
            before = PASSAGES[kept.metadata["number"]].metadata
            assert {key: kept.metadata[key] for key in before} == before

    def test_keeps_words_in_order(self, compressor: Any) -> None:
        """Words of what comes out stand in the text that came in, in this order."""
        for kept in self._kept(compressor, *QUERIES):
            words = [word for word in kept.text.split() if word not in self.GAP_MARKS]
            source = iter(PASSAGES[kept.metadata["number"]].text.split())
            assert all(word in source for word in words)  # `in` reads on from the last match

    def test_gives_plain_objects(self, compressor: Any) -> None:
        """What comes out is of the same class as what came in, not a private one."""
        given = self.wrap(PASSAGES)
        types = {type(item) for item in given}
        assert {type(item) for item in self.compress(compressor, QUERIES[0], given)} <= types

    def test_leaves_its_input_alone(self, compressor: Any) -> None:
        """What came in is as it was."""
        given = self.wrap(PASSAGES)
        before = copy.deepcopy(given)
        self.compress(compressor, QUERIES[0], given)
        assert given == before

    def test_holds_its_budget(self, compressor: Any, budget: Budget | None, case: Case) -> None:
        """The text that the framework puts into a prompt is within the budget."""
        if budget is None:
            pytest.skip("has no budget")
        given = self.wrap(case.passages)
        text = self.read_by_model(self.compress(compressor, case.query, given))
        assert budget.count(text) <= budget.tokens

    def test_async_equals_sync(self, compressor: Any) -> None:
        """The asynchronous face gives what the synchronous one gives."""
        assert asyncio.run(self._gather(compressor)) == self._alone(compressor)

    def test_serves_two_event_loops(self, compressor: Any) -> None:
        """One instance serves one event loop after another, and two at once."""
        alone = self._alone(compressor)
        asyncio.run(self._gather(compressor))
        with ThreadPoolExecutor(2) as pool:
            runs = pool.map(lambda _: asyncio.run(self._gather(compressor)), range(2))
            assert list(runs) == [alone, alone]

    def test_serves_many_threads(self, compressor: Any) -> None:
        """32 threads at once get what one gets alone."""
        alone = self._alone(compressor)
        calls = [number % len(QUERIES) for number in range(THREADS)]
        with ThreadPoolExecutor(THREADS) as pool:
            results = list(pool.map(lambda n: self._key(compressor, QUERIES[n]), calls))
        assert results == [alone[number] for number in calls]

    def _kept(self, compressor: Any, *queries: str) -> list[Passage]:
        return [
            kept
            for query in queries
            for kept in self.unwrap(self.compress(compressor, query, self.wrap(PASSAGES)))
        ]

    def _key(self, compressor: Any, query: str) -> str:
        return repr(self._kept(compressor, query))

    def _alone(self, compressor: Any) -> list[str]:
        return [self._key(compressor, query) for query in QUERIES]

    async def _gather(self, compressor: Any) -> list[str]:
        calls = [self.acompress(compressor, query, self.wrap(PASSAGES)) for query in QUERIES]
        return [repr(self.unwrap(kept)) for kept in await asyncio.gather(*calls)]


class LangChainCompressorContract(CompressorContract):
    """Tests that every `BaseDocumentCompressor` of LangChain passes; override `compressor`."""

    def wrap(self, passages: Iterable[Passage]) -> list[Any]:
        """Return a `Document` for every passage; it has no place for a score."""
        from langchain_core.documents import Document

        return [
            Document(page_content=p.text, id=p.id, metadata=copy.deepcopy(dict(p.metadata)))
            for p in passages
        ]

    def unwrap(self, retrieved: Iterable[Any]) -> list[Passage]:
        """Return a passage for every `Document`."""
        return [Passage(d.page_content, id=d.id, metadata=d.metadata) for d in retrieved]

    def compress(self, compressor: Any, query: str, retrieved: list[Any]) -> Sequence[Any]:
        """Return `compress_documents`."""
        kept: Sequence[Any] = compressor.compress_documents(retrieved, query)
        return kept

    async def acompress(self, compressor: Any, query: str, retrieved: list[Any]) -> Sequence[Any]:
        """Return `acompress_documents`."""
        kept: Sequence[Any] = await compressor.acompress_documents(retrieved, query)
        return kept

    def read_by_model(self, retrieved: Sequence[Any]) -> str:
        """Return the contents with a blank line between, as a "stuff" chain joins them."""
        return "\n\n".join(item.page_content for item in retrieved)


class LlamaIndexPostprocessorContract(CompressorContract):
    """Tests that every `BaseNodePostprocessor` of LlamaIndex passes; override `compressor`."""

    OFFSET = 1000
    """Where the text of a node begins in its source."""

    def wrap(self, passages: Iterable[Passage]) -> list[Any]:
        """Return a `NodeWithScore` for every passage, with offsets and a source."""
        from llama_index.core.schema import (
            NodeRelationship,
            NodeWithScore,
            RelatedNodeInfo,
            TextNode,
        )

        return [
            NodeWithScore(
                node=TextNode(
                    id_=f"position-{n}" if passage.id is None else passage.id,
                    text=passage.text,
                    metadata=copy.deepcopy(dict(passage.metadata)),
                    start_char_idx=self.OFFSET,
                    end_char_idx=self.OFFSET + len(passage.text),
                    relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id="guide")},
                ),
                score=passage.score,
            )
            for n, passage in enumerate(passages)
        ]

    def unwrap(self, retrieved: Iterable[Any]) -> list[Passage]:
        """Return a passage for every `NodeWithScore`."""
        return [
            Passage(s.node.text, id=s.node.node_id, score=s.score, metadata=s.node.metadata)
            for s in retrieved
        ]

    def compress(self, compressor: Any, query: str, retrieved: list[Any]) -> Sequence[Any]:
        """Return `postprocess_nodes`."""
        kept: Sequence[Any] = compressor.postprocess_nodes(retrieved, query_str=query)
        return kept

    async def acompress(self, compressor: Any, query: str, retrieved: list[Any]) -> Sequence[Any]:
        """Return `apostprocess_nodes`."""
        kept: Sequence[Any] = await compressor.apostprocess_nodes(retrieved, query_str=query)
        return kept

    def read_by_model(self, retrieved: Sequence[Any]) -> str:
        """Return the contents for a model with a blank line between, as a synthesiser does."""
        from llama_index.core.schema import MetadataMode

        return "\n\n".join(item.get_content(MetadataMode.LLM).strip() for item in retrieved)

    def test_keeps_relationships(self, compressor: Any) -> None:
        """What comes out has the relationships that it came in with, its source among them."""
        relationships = [item.node.relationships for item in self.wrap(PASSAGES)]
        for item in self.compress(compressor, QUERIES[0], self.wrap(PASSAGES)):
            assert item.node.relationships == relationships[item.node.metadata["number"]]

    def test_offsets_are_true(self, compressor: Any) -> None:
        """Offsets of what comes out are those of its text in the source, or None."""
        for item in self.compress(compressor, QUERIES[0], self.wrap(PASSAGES)):
            start, end = item.node.start_char_idx, item.node.end_char_idx
            if start is not None and end is not None:
                text = PASSAGES[item.node.metadata["number"]].text
                assert text[start - self.OFFSET : end - self.OFFSET] == item.node.text

    def test_shows_the_model_nothing_new(self, compressor: Any) -> None:
        """Metadata that was added is not in what a model reads."""
        for item in self.compress(compressor, QUERIES[0], self.wrap(PASSAGES)):
            added = item.node.metadata.keys() - PASSAGES[0].metadata.keys()
            assert added <= set(item.node.excluded_llm_metadata_keys)
