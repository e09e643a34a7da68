"""A call is a span and a pair of events that LlamaIndex's tracers see."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from llama_index.core.bridge.pydantic import Field
from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload
from llama_index.core.callbacks.base_handler import BaseCallbackHandler
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.instrumentation.span import SimpleSpan
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from llama_index.core.schema import ImageNode, NodeWithScore
from llama_index.postprocessor.ctxpack import CtxPackPostprocessor

from ctxpack.errors import InputError


class Recorder(BaseEventHandler):
    """Keeps the events."""

    events: list[BaseEvent] = Field(default_factory=list)

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        """Keep an event."""
        self.events.append(event)


class Callbacks(BaseCallbackHandler):
    """Keeps the starts and ends of the older interface, with their payloads."""

    def __init__(self) -> None:
        super().__init__([], [])
        self.starts: list[tuple[CBEventType, dict[str, Any]]] = []
        self.ends: list[tuple[CBEventType, dict[str, Any]]] = []

    def start_trace(self, trace_id: str | None = None) -> None:
        """Do nothing."""

    def end_trace(self, trace_id: str | None = None, trace_map: Any = None) -> None:
        """Do nothing."""

    def on_event_start(
        self, event_type: CBEventType, payload: Any = None, *args: Any, **kwargs: Any
    ) -> str:
        """Keep a start."""
        self.starts.append((event_type, payload))
        return ""

    def on_event_end(
        self, event_type: CBEventType, payload: Any = None, *args: Any, **kwargs: Any
    ) -> None:
        """Keep an end."""
        self.ends.append((event_type, payload))


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """Return a recorder of all events."""
    root, recorder = get_dispatcher(), Recorder()
    root.add_event_handler(recorder)
    yield recorder
    root.event_handlers.remove(recorder)


@pytest.fixture
def spans() -> Iterator[list[SimpleSpan]]:
    """Return the spans that are completed while the test runs."""
    root, handler = get_dispatcher(), SimpleSpanHandler()
    root.add_span_handler(handler)
    yield handler.completed_spans
    root.span_handlers.remove(handler)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_call_emits_start_and_end(
    recorder: Recorder, query: str, nodes: list[NodeWithScore], is_async: bool
) -> None:
    """The events of a reranker say what came in, for which query, and what came out."""
    postprocessor = CtxPackPostprocessor(budget=40)
    if is_async:
        kept = asyncio.run(postprocessor.apostprocess_nodes(nodes, query_str=query))
    else:
        kept = postprocessor.postprocess_nodes(nodes, query_str=query)
    start, end = recorder.events
    assert isinstance(start, ReRankStartEvent)
    assert isinstance(end, ReRankEndEvent)
    assert (start.query, start.nodes, start.model_name) == (query, nodes, "ctxpack/balanced")
    assert end.nodes == kept


def test_the_end_has_the_report(recorder: Recorder, query: str, nodes: list[NodeWithScore]) -> None:
    """Counts and reasons are in the tags as JSON, and how many nodes were not text."""
    image = NodeWithScore(node=ImageNode(image_url="https://example.org/a.png"))
    CtxPackPostprocessor(budget=40).postprocess_nodes([image, *nodes], query_str=query)
    report = json.loads(json.dumps(recorder.events[-1].tags["ctxpack"]))
    assert 0 < report["token_count"] <= 40 < report["input_token_count"]
    assert report["nodes_untouched"] == 1


@pytest.mark.parametrize("is_async", [False, True])
def test_a_call_has_its_span(
    spans: list[SimpleSpan],
    recorder: Recorder,
    query: str,
    nodes: list[NodeWithScore],
    is_async: bool,
) -> None:
    """The sync and the async method are one span each, and the events belong to it."""
    postprocessor = CtxPackPostprocessor()
    if is_async:
        asyncio.run(postprocessor.apostprocess_nodes(nodes, query_str=query))
    else:
        postprocessor.postprocess_nodes(nodes, query_str=query)
    (span,) = spans
    name = "_apostprocess_nodes" if is_async else "_postprocess_nodes"
    assert span.id_.startswith(f"CtxPackPostprocessor.{name}-")
    assert [event.span_id for event in recorder.events] == [span.id_] * 2


def test_the_older_callbacks_see_a_reranking(query: str, nodes: list[NodeWithScore]) -> None:
    """Handlers of a callback manager get nodes, query and report."""
    callbacks = Callbacks()
    postprocessor = CtxPackPostprocessor(callback_manager=CallbackManager([callbacks]))
    kept = postprocessor.postprocess_nodes(nodes, query_str=query)
    ((kind, begun),), ((_, ended),) = callbacks.starts, callbacks.ends
    assert kind == CBEventType.RERANKING
    assert (begun[EventPayload.NODES], begun[EventPayload.QUERY_STR]) == (nodes, query)
    assert ended[EventPayload.NODES] == kept
    assert ended[EventPayload.ADDITIONAL_KWARGS]["ctxpack"]["passages"] == len(nodes)


def test_an_error_ends_the_event(nodes: list[NodeWithScore]) -> None:
    """A failed call ends with its exception."""
    callbacks = Callbacks()
    postprocessor = CtxPackPostprocessor(callback_manager=CallbackManager([callbacks]))
    with pytest.raises(InputError):
        postprocessor.postprocess_nodes(nodes, query_str=" ")
    assert "`query`" in str(callbacks.ends[0][1][EventPayload.EXCEPTION])
