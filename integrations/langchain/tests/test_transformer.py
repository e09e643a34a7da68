"""`CtxPackTransformer`: near duplicates, parts with offsets, a fixed query."""

from __future__ import annotations

import asyncio
import copy
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from langchain_classic.retrievers.document_compressors import DocumentCompressorPipeline
from langchain_core.documents import BaseDocumentTransformer, Document

from ctxpack import Pipeline
from ctxpack.scoring.bundled import Swift
from langchain_ctxpack import CtxPackCompressor, CtxPackTransformer

MANUAL = """# Pump

The pump stands in the cellar. It starts by itself. Its filter is washed in spring.

## Faults

A lamp shows what is wrong:

- one flash: no water
- two flashes: the filter is full

| Part | Number |
|---|---|
| filter | P-11 |
| hose | P-12 |

## Reset

Press both buttons.

```sh
pump --reset
pump --log
```
"""


@pytest.fixture
def manual() -> Document:
    """Return a document with headings, a list, a table and code."""
    return Document(MANUAL, id="manual", metadata={"source": "cellar.md"})


def test_is_a_document_transformer() -> None:
    """It is a true subclass, so it goes wherever LangChain takes one."""
    assert issubclass(CtxPackTransformer, BaseDocumentTransformer)


def test_takes_out_near_duplicates(documents: list[Document]) -> None:
    """A copy of a document goes, and every other document stays whole."""
    copied = documents[0].model_copy(update={"id": "copy"})
    kept = CtxPackTransformer().transform_documents([*documents, copied])
    assert [d.id for d in kept] == ["bridge", "ferry", None]
    assert [d.page_content for d in kept] == [d.page_content for d in documents if d.page_content]


def test_no_documents_give_no_documents() -> None:
    """`[]` gives `[]`."""
    assert CtxPackTransformer(part_tokens=9).transform_documents([]) == []


def test_changes_nothing_it_was_given(manual: Document) -> None:
    """The documents are as they were."""
    before = copy.deepcopy(manual)
    CtxPackTransformer(part_tokens=20).transform_documents([manual])
    assert manual == before


@pytest.mark.parametrize("part_tokens", [1, 12, 20, 40, 500])
def test_parts_are_slices(manual: Document, part_tokens: int) -> None:
    """Parts joined are the document, and each says where it was cut from."""
    parts = CtxPackTransformer(part_tokens=part_tokens).transform_documents([manual])
    assert "".join(part.page_content for part in parts) == MANUAL
    for part in parts:
        [[start, end]] = part.metadata["ctxpack"]["spans"]
        assert MANUAL[start:end] == part.page_content
        assert part.metadata["source"] == "cellar.md"


def test_parts_have_ids_of_their_own(manual: Document) -> None:
    """A part's id is the document's with its offsets; a document in one part keeps its id."""
    parts = CtxPackTransformer(part_tokens=30).transform_documents([manual])
    assert parts[0].id == f"manual:0-{len(parts[0].page_content)}"
    assert len({part.id for part in parts}) == len(parts)
    [whole] = CtxPackTransformer(part_tokens=500).transform_documents([manual])
    assert whole.id == "manual"


@pytest.mark.parametrize("part_tokens", [1, 12, 20, 40])
def test_parts_respect_structure(manual: Document, part_tokens: int) -> None:
    """No part ends behind a heading, a lead-in or a table header, nor inside code."""
    for part in CtxPackTransformer(part_tokens=part_tokens).transform_documents([manual]):
        last = part.page_content.rstrip().splitlines()[-1]
        assert not last.startswith(("#", "|---"))
        assert not last.endswith(":")
        assert part.page_content.count("```") in (0, 2)


def test_parts_are_within_their_tokens(documents: list[Document]) -> None:
    """Parts of prose have at most `part_tokens` tokens."""
    count = Pipeline.from_recipe("balanced").token_counter.count
    parts = CtxPackTransformer(part_tokens=20).transform_documents(documents)
    assert len(parts) > len(documents)
    assert max(count(part.page_content) for part in parts) <= 20


def test_a_heading_starts_a_part(manual: Document) -> None:
    """Once a part is half full, the next section starts a new one."""
    parts = CtxPackTransformer(part_tokens=90).transform_documents([manual])
    assert [part.page_content.splitlines()[0] for part in parts] == ["# Pump", "## Reset"]


def test_keeps_what_a_fixed_query_asks_for(query: str, documents: list[Document]) -> None:
    """With a query the recipe prunes, and parts do not reach over what was left out."""
    transformer = CtxPackTransformer(query=query, part_tokens=200)
    kept = transformer.transform_documents(documents)
    assert any("opened in 1932" in document.page_content for document in kept)
    assert not any("Dogs" in document.page_content for document in kept)


def test_a_recipe_that_scores_needs_a_query() -> None:
    """Without a query nothing can be scored, and that is an error of the constructor."""
    with pytest.raises(ValueError, match="`query` must be given"):
        CtxPackTransformer(recipe="balanced")


def test_async_equals_sync(manual: Document) -> None:
    """`atransform_documents` gives what `transform_documents` gives."""
    transformer = CtxPackTransformer(part_tokens=30)
    parts = asyncio.run(transformer.atransform_documents([manual]))
    assert parts == transformer.transform_documents([manual])


def test_stands_before_a_compressor(query: str, documents: list[Document]) -> None:
    """In a pipeline of compressors the offsets of both steps come out."""
    pipeline = DocumentCompressorPipeline(
        transformers=[CtxPackTransformer(part_tokens=30), CtxPackCompressor(budget=20)]
    )
    kept = pipeline.compress_documents(documents, query)
    record = kept[0].metadata["ctxpack"]
    [[base, _]] = record["earlier"]["spans"]
    [[start, end]] = record["spans"]
    assert documents[0].page_content[base + start : base + end] in kept[0].page_content


def test_travels(manual: Document) -> None:
    """A transformer is written as data and read back, and pickles."""
    transformer = CtxPackTransformer(part_tokens=30)
    parts = transformer.transform_documents([manual])
    read = CtxPackTransformer.model_validate_json(transformer.model_dump_json())
    assert read.transform_documents([manual]) == parts
    assert pickle.loads(pickle.dumps(transformer)).transform_documents([manual]) == parts


LATER = {"name": "later", "scorer": "ctxpack-swift", "steps": ["score", "select"]}
OTHER_PROCESS = """
import sys
from langchain_core.documents import Document
from langchain_ctxpack import CtxPackCompressor
from ctxpack import Pipeline
from ctxpack.scoring.bundled import Swift

Swift.encode = None    # so that a miss is an error
later = {"name": "later", "scorer": "ctxpack-swift", "steps": ["score", "select"]}
compressor = CtxPackCompressor(recipe=Pipeline.from_recipe(later, cache=sys.argv[1]))
documents = [Document(sys.argv[2], metadata={"title": "Pump"})]
assert compressor.compress_documents(documents, "Where does the pump stand?")
"""


class TestWarming:
    """A cache that is filled while documents are loaded."""

    @pytest.mark.parametrize("asynchronous", [False, True])
    def test_a_query_finds_all_parts(
        self, asynchronous: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What came out of the transformer is not encoded again by the compressor."""
        pipeline = Pipeline.from_recipe(LATER, cache="memory:")
        loader = CtxPackTransformer(part_tokens=30, cache_recipe=pipeline)
        manual = [Document(MANUAL, id="manual", metadata={"title": "Pump"}), Document("A lamp.")]
        if asynchronous:
            parts = asyncio.run(loader.atransform_documents(manual))
        else:
            parts = loader.transform_documents(manual)
        monkeypatch.setattr(Swift, "encode", None)  # so that a miss is an error
        compressor = CtxPackCompressor(recipe=pipeline)
        assert len(parts) > 2
        assert compressor.compress_documents(parts, "Where does the pump stand?")

    def test_another_process_finds_it(self, tmp_path: Path) -> None:
        """What one process stored in a file, another finds."""
        url = f"sqlite:///{tmp_path}/segments.db"
        loader = CtxPackTransformer(cache=url, cache_recipe=LATER)
        loader.transform_documents([Document(MANUAL, metadata={"title": "Pump"})])
        command = [sys.executable, "-c", OTHER_PROCESS, url, MANUAL]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def test_documents_come_out_as_without(self) -> None:
        """A cache changes no document."""
        manual = [Document(MANUAL, id="manual")]
        warming = CtxPackTransformer(part_tokens=30, cache="memory:", cache_recipe=LATER)
        plain = CtxPackTransformer(part_tokens=30)
        assert warming.transform_documents(manual) == plain.transform_documents(manual)

    def test_a_scorer_that_cannot_store_is_refused(self) -> None:
        """The mistake shows before the first document."""
        with pytest.raises(ValueError, match="pointwise"):
            CtxPackTransformer(cache="memory:", cache_recipe="lexical")
