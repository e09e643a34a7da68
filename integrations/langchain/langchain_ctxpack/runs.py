"""A call as a run of LangChain's: tracers see its inputs, its outputs and its errors."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from typing import Any
from uuid import UUID

from langchain_core.callbacks import Callbacks
from langchain_core.runnables.config import (
    ensure_config,
    get_async_callback_manager_for_config,
    get_callback_manager_for_config,
)

# Not a `RunnableLambda`, which does the same: it takes ten times as long, on the event loop.


@contextmanager
def traced(name: str, inputs: dict[str, Any], callbacks: Callbacks) -> Iterator[dict[str, Any]]:
    """Start a run below the caller's, and end it with the outputs that are put into the dict."""
    manager = get_callback_manager_for_config(ensure_config({"callbacks": callbacks}))
    run = manager.on_chain_start(None, inputs, name=name)
    outputs: dict[str, Any] = {}
    try:
        with span_of(run.run_id):
            yield outputs
    except BaseException as error:
        run.on_chain_error(error)
        raise
    run.on_chain_end(outputs)


@asynccontextmanager
async def atraced(
    name: str, inputs: dict[str, Any], callbacks: Callbacks
) -> AsyncIterator[dict[str, Any]]:
    """Do what `traced` does, for asynchronous callbacks."""
    manager = get_async_callback_manager_for_config(ensure_config({"callbacks": callbacks}))
    run = await manager.on_chain_start(None, inputs, name=name)
    outputs: dict[str, Any] = {}
    try:
        with span_of(run.run_id):
            yield outputs
    except BaseException as error:
        await run.on_chain_error(error)
        raise
    await run.on_chain_end(outputs)


def span_of(run_id: UUID) -> AbstractContextManager[object]:
    """Make the span that OpenInference's instrumentor keeps for a run current, where there is one.

    The instrumentor leaves that to others, and without it the engine's span is not below its own.
    """
    module = sys.modules.get("openinference.instrumentation.langchain")
    if module is None:
        return nullcontext()
    instrumentor = module.LangChainInstrumentor()
    if not instrumentor.is_instrumented_by_opentelemetry:
        return nullcontext()
    span = instrumentor.get_span(run_id)
    if span is None:
        return nullcontext()
    from opentelemetry import trace

    # The instrumentor ends the span and says on it what went wrong.
    current: AbstractContextManager[object] = trace.use_span(
        span, record_exception=False, set_status_on_exception=False
    )
    return current
