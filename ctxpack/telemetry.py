"""OpenTelemetry: one span per call, in OpenInference's words for a reranker; see docs/telemetry.md.

Nothing is imported and nothing is done unless the program has loaded the OpenTelemetry API itself.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ctxpack.cache.recording import CacheReport
from ctxpack.packed import PackedContext
from ctxpack.recipes import Recipe
from ctxpack.scoring.base import Scorer, name_of
from ctxpack.selection import Passage
from ctxpack.stages.rerank import Rerank

if TYPE_CHECKING:
    from opentelemetry.metrics import Counter, MeterProvider

SPAN_NAME: Final = "ctxpack.compress"

CAPTURE_TEXT: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""The variable by which OpenTelemetry's own instrumentations are told to record text."""

_CAPTURING = {"true", "span_only", "span_and_event"}
_KIND = {"openinference.span.kind": "RERANKER"}
_MODEL = "reranker.model_name"

_COUNTERS = {
    "hits": ("{segment}", "values that were there"),
    "misses": ("{segment}", "values that were not there"),
    "damaged": ("{segment}", "values that could not be used"),
    "bytes_read": ("By", "of the hits"),
    "bytes_written": ("By", "of new values"),
    "saved_ms": ("ms", "that computing the hits once took"),
    "errors": ("{operation}", "operations of the store that failed"),
    "evictions": ("{entry}", "entries removed to make room"),
}

Finish = Callable[[PackedContext], None]


class _Texts(NamedTuple):
    """Whether texts may be recorded."""

    input: bool
    output: bool


@contextmanager
def compress_span(
    recipe: Recipe, scorer: Scorer, query: str, passages: Sequence[Passage]
) -> Iterator[Finish]:
    """Make a span of one call the current one; call what is yielded with the result.

    Args:
        recipe: of the pipeline.
        scorer: of the pipeline, which may not be the recipe's.
        query: what the user asked.
        passages: those that came in.
    """
    if "opentelemetry.trace" not in sys.modules:
        yield _ignore
        return
    from opentelemetry import trace

    span = trace.get_tracer("ctxpack").start_span(SPAN_NAME, attributes=_KIND)
    with trace.use_span(
        span, end_on_exit=True, record_exception=False, set_status_on_exception=False
    ):
        if not span.is_recording():
            yield _ignore
            return
        texts = _texts()
        call = _call(recipe, scorer, query if texts.input else None)
        # The SDK throws away what was set first when it is over its limit: `call` is set again.
        span.set_attributes({**_input(passages, texts.input), **call})

        def finish(packed: PackedContext) -> None:
            result = _output(packed, texts.output) | _counts(packed)
            span.set_attributes({**result, **call, _MODEL: packed.report["scorer"]})
            error = packed.report["error"]
            if error is not None:
                span.set_status(trace.StatusCode.ERROR, error if texts.input else None)

        try:
            yield finish
        except Exception as error:
            kind = type(error).__qualname__
            span.set_attribute("error.type", kind)
            # A message may quote a passage.
            span.set_status(trace.StatusCode.ERROR, f"{kind}: {error}" if texts.input else kind)
            if texts.input:
                span.record_exception(error)
            raise


def count_cache(report: CacheReport | None) -> None:
    """Add what a cache did in a call to the program's counters, where it has the metrics API."""
    if report is None or "opentelemetry.metrics" not in sys.modules:
        return
    from opentelemetry import metrics

    counters = _counters(metrics.get_meter_provider())
    of_store = {"ctxpack.cache.store": report["store"]}
    for name in ("errors", "evictions"):
        counters[name].add(report[name], of_store)
    for tier, counts in report["tiers"].items():
        for name, count in counts.items():
            counters[name].add(count, {**of_store, "ctxpack.cache.tier": tier})


@lru_cache(maxsize=8)
def _counters(provider: MeterProvider) -> dict[str, Counter]:
    """Return a counter for every number of a `CacheReport`."""
    meter = provider.get_meter("ctxpack")
    return {
        name: meter.create_counter(f"ctxpack.cache.{name}", unit, f"cache: {text}")
        for name, (unit, text) in _COUNTERS.items()
    }


def _ignore(packed: PackedContext) -> None:
    """Take the result of a call that nobody records."""


def _texts() -> _Texts:
    if _variable(CAPTURE_TEXT) not in _CAPTURING:
        return _Texts(input=False, output=False)
    return _Texts(
        input=_variable("OPENINFERENCE_HIDE_INPUTS") != "true",
        output=_variable("OPENINFERENCE_HIDE_OUTPUTS") != "true",
    )


def _variable(name: str) -> str:
    return os.environ.get(name, "").strip().lower()


def _call(recipe: Recipe, scorer: Scorer, query: str | None) -> dict[str, Any]:
    top_k = [step.top_k for step in recipe.steps if isinstance(step, Rerank)]
    attributes = {
        **_KIND,
        _MODEL: name_of(scorer),
        "reranker.top_k": min((k for k in top_k if k is not None), default=None),
        "reranker.query": query,
        "ctxpack.recipe": recipe.name,
    }
    return {name: value for name, value in attributes.items() if value is not None}


def _input(passages: Sequence[Passage], text: bool) -> dict[str, Any]:
    rows = [(p.id, p.score, p.text if text else None) for p in passages]
    return _listed("reranker.input_documents", rows)


def _output(packed: PackedContext, text: bool) -> dict[str, Any]:
    rows = [(p.passage.id, p.score, p.text if text else None) for p in packed.passages]
    return _listed("reranker.output_documents", rows)


def _counts(packed: PackedContext) -> dict[str, Any]:
    """Return the report's counts and times, a time per step."""
    report = packed.report
    attributes: dict[str, Any] = {
        "ctxpack.token_counter": report["token_counter"],
        "ctxpack.tokens.input": packed.input_token_count,
        "ctxpack.tokens.output": packed.token_count,
        "ctxpack.kept_ratio": packed.kept_ratio,
        "ctxpack.passages.input": report["passages"],
        "ctxpack.passages.kept": report["passages_kept"],
        "ctxpack.spans.input": report["spans"],
        "ctxpack.spans.kept": report["spans_kept"],
        "ctxpack.spans.dropped": report["spans"] - report["spans_kept"],
        "ctxpack.reasons": report["reasons"],
    }
    if packed.sufficiency is not None:
        attributes["ctxpack.sufficiency"] = packed.sufficiency
    if report["budget"] is not None:
        attributes["ctxpack.budget"] = report["budget"]
    for why, count in report["dropped"].items():
        attributes[f"ctxpack.dropped.{why.replace(': ', '.')}"] = count
    for stage in report["stages"]:
        name = f"ctxpack.stage.{stage['name']}.ms"
        attributes[name] = attributes.get(name, 0.0) + stage["ms"]
    return attributes | _cache(report["cache"])


def _cache(report: CacheReport | None) -> dict[str, Any]:
    """Return what the cache did, zeros left out but for hits and misses."""
    if report is None:
        return {}
    attributes: dict[str, Any] = {
        f"ctxpack.cache.{tier}.{name}": count
        for tier, counts in report["tiers"].items()
        for name, count in counts.items()
        if count or name in ("hits", "misses")
    }
    for name in ("errors", "evictions"):
        if report[name]:
            attributes[f"ctxpack.cache.{name}"] = report[name]
    return {
        **attributes,
        "ctxpack.cache.store": report["store"],
        "ctxpack.cache.available": report["available"],
    }


def _listed(
    name: str, rows: Iterable[tuple[str | None, float | None, str | None]]
) -> dict[str, Any]:
    """Return id, score and text of every row, as far as there are any.

    The last row comes first, so that it is the first to go above the SDK's limit.
    """
    return {
        f"{name}.{number}.document.{key}": float(value) if key == "score" else value
        for number, row in reversed(list(enumerate(rows)))
        for key, value in zip(("id", "score", "content"), row, strict=True)
        if value is not None
    }
