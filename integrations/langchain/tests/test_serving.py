"""One compressor serves event loops and forked processes."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest
from langchain_core.documents import Document

from ctxpack import Pipeline
from langchain_ctxpack import CtxPackCompressor, CtxPackContext, CtxPackTransformer

LEXICAL = CtxPackCompressor(budget=40)
TRAINED = CtxPackCompressor(
    recipe=Pipeline.from_recipe("balanced", scorer="ctxpack-swift"), budget=40
)


def answer(
    compressor: CtxPackCompressor, documents: list[Document], query: str
) -> Sequence[Document]:
    """Return what a compressor keeps, asked on an event loop."""
    return asyncio.run(compressor.acompress_documents(documents, query))


def answer_of_child(trained: bool, documents: list[Document], query: str) -> Sequence[Document]:
    """Return what a compressor of this module keeps, as the parent has loaded it."""
    return answer(TRAINED if trained else LEXICAL, documents, query)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="cannot fork")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
@pytest.mark.parametrize("trained", [False, True])
def test_children_of_a_loaded_parent_serve(
    trained: bool, query: str, documents: list[Document]
) -> None:
    """The parent answers first, with its pool and models; its forked children answer too."""
    expected = answer_of_child(trained, documents, query)
    with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
        futures = [pool.submit(answer_of_child, trained, documents, query) for _ in range(4)]
        assert [future.result(timeout=60) for future in futures] == [expected] * 4


class Threads:
    """A token counter that notes who calls it."""

    def __init__(self) -> None:
        self.seen: set[int] = set()

    def __call__(self, text: str) -> int:
        """Count words."""
        self.seen.add(threading.get_ident())
        return len(text.split())


@pytest.mark.parametrize(
    "call",
    [
        lambda counter, documents, query: CtxPackCompressor(
            token_counter=counter
        ).acompress_documents(documents, query),
        lambda counter, documents, query: CtxPackContext(
            token_counter=counter, query_from=lambda given: given["question"] + "!" * counter("")
        ).ainvoke({"question": query, "documents": documents}),
        lambda counter, documents, query: CtxPackTransformer(
            token_counter=counter, part_tokens=5
        ).atransform_documents(documents),
    ],
)
def test_works_away_from_the_loop(call: Any, query: str, documents: list[Document]) -> None:
    """All that a call computes, cuts and counts leaves the loop's thread free."""
    counter = Threads()
    asyncio.run(call(counter, documents, query))
    assert counter.seen
    assert threading.get_ident() not in counter.seen
