"""`CtxPackPostprocessor` as a step of a Workflow."""

from __future__ import annotations

import asyncio

from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore
from llama_index.core.workflow import Context, Event, StartEvent, StopEvent, Workflow, step
from llama_index.postprocessor.ctxpack import CtxPackPostprocessor


class Retrieved(Event):
    """What a retriever returned."""

    nodes: list[NodeWithScore]


class Ask(Workflow):
    """Retrieves, then packs."""

    def __init__(self, retriever: BaseRetriever, postprocessor: CtxPackPostprocessor) -> None:
        super().__init__(timeout=30)
        self._retriever = retriever
        self._postprocessor = postprocessor

    @step
    async def retrieve(self, ctx: Context, event: StartEvent) -> Retrieved:
        """Return the nodes of the index."""
        await ctx.store.set("query", event.query)
        return Retrieved(nodes=await self._retriever.aretrieve(event.query))

    @step
    async def pack(self, ctx: Context, event: Retrieved) -> StopEvent:
        """Return what is kept of them."""
        query = await ctx.store.get("query")
        kept = await self._postprocessor.apostprocess_nodes(event.nodes, query_str=query)
        return StopEvent(result=kept)


def test_runs_in_a_workflow(retriever: BaseRetriever, query: str) -> None:
    """A step awaits it, and the result of the workflow is the kept nodes."""

    async def run() -> list[NodeWithScore]:
        return await Ask(retriever, CtxPackPostprocessor(budget=40)).run(query=query)

    kept = asyncio.run(run())
    assert kept[0].node_id == "bridge"
    assert "was opened in 1932." in kept[0].text
