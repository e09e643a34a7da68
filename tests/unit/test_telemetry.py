from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import StatusCode

from ctxpack import Passage, Pipeline
from ctxpack.scoring.base import ConfiguredScorer, PassageScores
from ctxpack.selection import SplitPassage
from ctxpack.telemetry import CAPTURE_TEXT

QUERY = "When was the harbour bridge opened?"
PASSAGES = [
    Passage("The harbour bridge was opened in 1932. It has six lanes.", id="bridge", score=0.75),
    Passage("Ferries leave every ten minutes. Dogs must be on a lead.", score=float("nan")),
    Passage("The harbour bridge was opened in 1932. It has six lanes.", id="copy"),
]
SEGMENTS = {"scorer": "ctxpack-swift", "steps": ["dedupe", "score"], "language": "en"}


@pytest.fixture
def pipeline() -> Pipeline:
    """Return a pipeline of a shipped recipe."""
    return Pipeline.from_recipe("balanced", budget=20)


class Failing(ConfiguredScorer):
    """Raises, and quotes a passage while it does."""

    name = "failing"
    pointwise = True
    operating_points = {"balanced": 0.0}  # noqa: RUF012 - declared as a class variable

    def score(self, query: str, passages: Sequence[SplitPassage]) -> list[PassageScores]:
        """Raise."""
        raise RuntimeError(f"cannot read {passages[0].passage.text!r}")


def only(spans: InMemorySpanExporter) -> tuple[ReadableSpan, dict[str, Any]]:
    """Return the one finished span, and its attributes."""
    (span,) = spans.get_finished_spans()
    return span, dict(span.attributes or {})


def test_a_call_is_a_reranker(pipeline: Pipeline, spans: InMemorySpanExporter) -> None:
    """A call is one span of OpenInference's kind RERANKER, with scorer and `top_k`."""
    pipeline.compress(QUERY, PASSAGES)
    span, attributes = only(spans)
    assert span.name == "ctxpack.compress"
    assert attributes["openinference.span.kind"] == "RERANKER"
    assert attributes["reranker.model_name"] == pipeline.recipe.to_data()["scorer"]
    assert attributes["reranker.top_k"] == 20


def test_the_model_is_the_one_that_scored(pipeline: Pipeline, spans: InMemorySpanExporter) -> None:
    """Where the language gate gives a call to another scorer, that one is named."""
    pipeline.compress("Wann wurde die Brücke eröffnet?", ["Die Brücke wurde 1932 eröffnet."])
    assert only(spans)[1]["reranker.model_name"] == "lexical"


def test_ids_and_scores_without_text(pipeline: Pipeline, spans: InMemorySpanExporter) -> None:
    """Ids and scores of what came in and went out are recorded, and no text at all."""
    packed = pipeline.compress(QUERY, PASSAGES)
    span, attributes = only(spans)
    assert attributes["reranker.input_documents.0.document.id"] == "bridge"
    assert attributes["reranker.input_documents.0.document.score"] == 0.75
    assert "reranker.input_documents.1.document.id" not in attributes
    assert attributes["reranker.output_documents.0.document.id"] == "bridge"
    assert attributes["reranker.output_documents.0.document.score"] == packed.passages[0].score
    assert "opened" not in span.to_json()


def test_counts_are_the_reports(pipeline: Pipeline, spans: InMemorySpanExporter) -> None:
    """Tokens, spans, budget, ratio and reasons are those of the result and its report."""
    packed = pipeline.compress(QUERY, PASSAGES)
    attributes, report = only(spans)[1], packed.report
    assert attributes["ctxpack.recipe"] == "balanced"
    assert attributes["ctxpack.token_counter"] == "approximate"
    assert attributes["ctxpack.budget"] == 20
    assert attributes["ctxpack.tokens.input"] == packed.input_token_count
    assert attributes["ctxpack.tokens.output"] == packed.token_count
    assert attributes["ctxpack.kept_ratio"] == packed.kept_ratio
    assert attributes["ctxpack.spans.kept"] == report["spans_kept"] == len(packed.evidence)
    assert attributes["ctxpack.spans.dropped"] == sum(report["dropped"].values())
    assert attributes["ctxpack.dropped.dedupe.duplicate"] == report["dropped"]["dedupe: duplicate"]
    assert attributes["ctxpack.reasons"] == ()


def test_every_stage_has_its_time(pipeline: Pipeline, spans: InMemorySpanExporter) -> None:
    """The milliseconds of every step are recorded; a step that runs twice has their sum."""
    steps = ["score", "score", "select"]
    twice = Pipeline.from_recipe({"scorer": "lexical", "steps": steps})
    stages = twice.compress(QUERY, PASSAGES).report["stages"]
    attributes = only(spans)[1]
    assert attributes["ctxpack.stage.score.ms"] == stages[1]["ms"] + stages[2]["ms"]
    assert {f"ctxpack.stage.{stage['name']}.ms" for stage in stages} <= attributes.keys()


def test_text_is_opt_in(
    pipeline: Pipeline, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenTelemetry's variable for message content turns on the query and both texts."""
    monkeypatch.setenv(CAPTURE_TEXT, "True")
    packed = pipeline.compress(QUERY, PASSAGES)
    attributes = only(spans)[1]
    assert attributes["reranker.query"] == QUERY
    assert attributes["reranker.input_documents.1.document.content"] == PASSAGES[1].text
    assert attributes["reranker.output_documents.0.document.content"] == packed.passages[0].text


@pytest.mark.parametrize(("hidden", "shown"), [("INPUTS", "output"), ("OUTPUTS", "input")])
def test_hidden_text_stays_hidden(
    pipeline: Pipeline,
    spans: InMemorySpanExporter,
    monkeypatch: pytest.MonkeyPatch,
    hidden: str,
    shown: str,
) -> None:
    """OpenInference's variables that hide one side have the last word."""
    monkeypatch.setenv(CAPTURE_TEXT, "true")
    monkeypatch.setenv(f"OPENINFERENCE_HIDE_{hidden}", "true")
    pipeline.compress(QUERY, PASSAGES)
    attributes = only(spans)[1]
    sides = {name.split(".")[1] for name in attributes if name.endswith(".content")}
    assert sides == {f"{shown}_documents"}
    assert ("reranker.query" in attributes) == (shown == "input")


def test_an_error_sets_the_status(spans: InMemorySpanExporter) -> None:
    """An error ends the span with its type, without the message, which may quote a passage."""
    with pytest.raises(RuntimeError):
        Pipeline.from_recipe("balanced", scorer=Failing()).compress(QUERY, PASSAGES)
    span, attributes = only(spans)
    assert span.status.status_code is StatusCode.ERROR
    assert attributes["error.type"] == span.status.description == "RuntimeError"
    assert attributes["reranker.input_documents.0.document.id"] == "bridge"


def test_an_error_that_was_passed_over_sets_the_status(spans: InMemorySpanExporter) -> None:
    """With ``on_error: passthrough`` the span has the status of an error and all counts."""
    passing = Pipeline.from_recipe("balanced", scorer=Failing(), on_error="passthrough")
    packed = passing.compress(QUERY, PASSAGES)
    span, attributes = only(spans)
    assert span.status.status_code is StatusCode.ERROR
    assert attributes["ctxpack.reasons"] == ("error",)
    assert attributes["ctxpack.tokens.output"] == packed.token_count


def test_an_error_is_told_in_full_with_text(
    spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where text may be recorded, message and traceback are."""
    monkeypatch.setenv(CAPTURE_TEXT, "true")
    with pytest.raises(RuntimeError) as raised:
        Pipeline.from_recipe("balanced", scorer=Failing()).compress(QUERY, PASSAGES)
    span, _ = only(spans)
    assert span.status.description == f"RuntimeError: {raised.value}"
    assert [event.name for event in span.events] == ["exception"]


def test_concurrent_calls_have_the_callers_span_above(
    pipeline: Pipeline, spans: InMemorySpanExporter
) -> None:
    """Spans of `acompress`, made in the worker pool, are children of each caller's own span."""
    tracer = trace.get_tracer("test")

    async def answer(number: int) -> None:
        with tracer.start_as_current_span(f"request {number}"):
            await pipeline.acompress(QUERY, [Passage("A bridge.", id=str(number))])

    async def serve() -> None:
        await asyncio.gather(*map(answer, range(8)))

    asyncio.run(serve())
    finished = spans.get_finished_spans()
    callers = {span.context.span_id: span.name for span in finished if span.parent is None}
    passages = {
        callers[span.parent.span_id]: span.attributes["reranker.input_documents.0.document.id"]
        for span in finished
        if span.parent is not None and span.attributes is not None
    }
    assert passages == {f"request {number}": str(number) for number in range(8)}


def test_a_scorers_spans_lie_below(spans: InMemorySpanExporter) -> None:
    """What a scorer records is a child of the call's span."""

    class Traced(Failing):
        def score(self, query: str, passages: Sequence[SplitPassage]) -> list[PassageScores]:
            with trace.get_tracer("test").start_as_current_span("request to a model"):
                return super().score(query, passages)

    passing = Pipeline.from_recipe("balanced", scorer=Traced(), on_error="passthrough")
    passing.compress(QUERY, PASSAGES)
    inner, outer = spans.get_finished_spans()
    assert inner.parent is not None
    assert inner.parent.span_id == outer.context.span_id


def test_a_batch_has_a_span_per_call(pipeline: Pipeline, spans: InMemorySpanExporter) -> None:
    """A batch makes one span per call, and one that fails has the status of an error."""
    pipeline.compress_batch([(QUERY, PASSAGES), (" ", PASSAGES)])
    codes = [span.status.status_code for span in spans.get_finished_spans()]
    assert codes == [StatusCode.UNSET, StatusCode.ERROR]


def test_the_first_passages_stay_within_the_sdks_limit(spans: InMemorySpanExporter) -> None:
    """Above the SDK's limit of attributes the last passages go, never the counts."""
    whole = Pipeline.from_recipe({"name": "whole", "scorer": "lexical", "steps": ["score"]})
    whole.compress(QUERY, [Passage(f"Pier {n}.", id=str(n), score=0.5) for n in range(200)])
    span, attributes = only(spans)
    assert span.dropped_attributes > 0
    assert attributes["openinference.span.kind"] == "RERANKER"
    assert attributes["ctxpack.tokens.input"] > 0
    assert attributes["ctxpack.recipe"] == "whole"
    assert attributes["reranker.output_documents.0.document.id"] == "0"
    assert "reranker.output_documents.199.document.id" not in attributes


def test_what_is_not_sampled_costs_nothing_to_describe(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A span that nobody records has the same result, and no attributes are made for it."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", TracerProvider(sampler=ALWAYS_OFF))
    monkeypatch.delattr("ctxpack.telemetry._call")
    assert pipeline.compress(QUERY, PASSAGES).text


def test_nothing_is_imported_for_telemetry() -> None:
    """A program that does not use OpenTelemetry does not load it by a call either."""
    program = (
        "import sys, ctxpack\n"
        "ctxpack.Pipeline.from_recipe('balanced').compress('wall', ['The wall is long.'])\n"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[tuple[str, str | None], float]]:
    """Return what reads the counters of a test, by name and tier."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: provider)

    def read() -> dict[tuple[str, str | None], float]:
        data = reader.get_metrics_data()
        points = [
            (metric.name, point)
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
        ]
        return {
            (name, dict(point.attributes).get("ctxpack.cache.tier")): point.value
            for name, point in points
        }

    return read


def test_cache_is_counted(counted: Callable[[], dict[tuple[str, str | None], float]]) -> None:
    """Counters go up by what each call's report says, with or without a recording span."""
    pipeline = Pipeline.from_recipe(SEGMENTS)
    reports = [pipeline.compress(QUERY, PASSAGES).report["cache"] for _ in range(3)]
    found = counted()
    tiers = [report["tiers"]["scores"] for report in reports if report]
    for name in ("hits", "misses", "damaged", "bytes_read", "bytes_written", "saved_ms"):
        expected = sum(tier[name] for tier in tiers)  # type: ignore[literal-required]
        assert found[f"ctxpack.cache.{name}", "scores"] == pytest.approx(expected)
    assert found["ctxpack.cache.hits", "scores"] == 2 * len(PASSAGES) - 2  # one is a copy
    assert found["ctxpack.cache.errors", None] == 0


def test_calls_without_a_cache_are_not_counted(
    counted: Callable[[], dict[tuple[str, str | None], float]],
) -> None:
    """A counter that never moves is not there."""
    Pipeline.from_recipe(SEGMENTS, cache="none").compress(QUERY, PASSAGES)
    assert counted() == {}


def test_span_has_the_cache(spans: InMemorySpanExporter) -> None:
    """Hits and misses of a call stand beside its other counts, zeros of the rest left out."""
    Pipeline.from_recipe(SEGMENTS).compress(QUERY, PASSAGES)
    attributes = only(spans)[1]
    assert attributes["ctxpack.cache.store"] == "memory"
    assert attributes["ctxpack.cache.available"] is True
    assert attributes["ctxpack.cache.encoding.hits"] == 0
    assert attributes["ctxpack.cache.encoding.misses"] == 2
    assert attributes["ctxpack.cache.encoding.bytes_written"] > 0
    assert "ctxpack.cache.encoding.bytes_read" not in attributes
    assert "ctxpack.cache.errors" not in attributes
