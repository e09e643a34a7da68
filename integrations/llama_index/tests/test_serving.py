"""One postprocessor serves threads, event loops and forked processes."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest
from llama_index.core.schema import NodeWithScore
from llama_index.postprocessor.ctxpack import CtxPackPostprocessor

SHARED = CtxPackPostprocessor(budget=40)


def answer(nodes: list[NodeWithScore], query: str) -> list[NodeWithScore]:
    """Return what the shared postprocessor keeps, asked on an event loop."""
    return asyncio.run(SHARED.apostprocess_nodes(nodes, query_str=query))


def test_serves_32_threads(query: str, nodes: list[NodeWithScore]) -> None:
    """All threads get the same."""
    expected = SHARED.postprocess_nodes(nodes, query_str=query)
    with ThreadPoolExecutor(32) as pool:
        results = pool.map(lambda _: SHARED.postprocess_nodes(nodes, query_str=query), range(64))
        assert all(result == expected for result in results)


def test_serves_two_event_loops(query: str, nodes: list[NodeWithScore]) -> None:
    """Loops of two threads, and one after the other, get the same."""
    expected = answer(nodes, query)
    with ThreadPoolExecutor(2) as pool:
        assert [pool.submit(answer, nodes, query).result() for _ in range(2)] == [expected] * 2


def test_computes_away_from_the_loop(query: str, nodes: list[NodeWithScore]) -> None:
    """While a call is computed, the loop's thread is free."""
    threads = set()

    def count(text: str) -> int:
        threads.add(threading.get_ident())
        return len(text.split())

    postprocessor = CtxPackPostprocessor(recipe="lexical", token_counter=count)
    asyncio.run(postprocessor.apostprocess_nodes(nodes, query_str=query))
    assert threads
    assert threading.get_ident() not in threads


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="cannot fork")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_children_of_a_loaded_parent_serve(query: str, nodes: list[NodeWithScore]) -> None:
    """The parent answers first, with its pool and models; its forked children answer too."""
    expected = answer(nodes, query)
    with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
        futures = [pool.submit(answer, nodes, query) for _ in range(4)]
        assert [future.result(timeout=60) for future in futures] == [expected] * 4
