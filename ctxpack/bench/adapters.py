"""What the adapters of frameworks cost over the engine, each beside it on the same calls."""

from __future__ import annotations

import importlib
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ctxpack.bench import machine
from ctxpack.bench.rounds import one_core
from ctxpack.bench.steps import Workload
from ctxpack.errors import MissingExtraError
from ctxpack.pipeline import Pipeline
from ctxpack.selection import Passage

_WARM_UP_CALLS = 10
FRAMEWORKS = ("langchain-core", "llama-index-core")
"""Distributions whose versions belong to a record."""

Work = Callable[[], object]
Contender = Callable[[str, Sequence[Passage]], Work]
"""Takes query and passages of a call, and returns the work of it, which is what is timed."""

Times = dict[str, list[float]]
"""Milliseconds by ``wall``, the clock, and ``cpu``, the processor time of the process."""


def measure(workload: Workload) -> dict[str, Any]:
    """Return the record of a measurement, for JSON.

    Every call goes through the engine and through each adapter, which share one pipeline, in an
    order that changes from call to call; ``over_engine`` is the difference call by call.

    Raises:
        MissingExtraError: an adapter is not installed.
    """
    with one_core() as core, Pipeline.from_recipe(workload.recipe) as pipeline:
        contenders = {
            "engine": _engine(pipeline, workload.budget),
            "langchain": _langchain(pipeline, workload.budget),
            "llama_index": _llama_index(pipeline, workload.budget),
        }
        times = _times(contenders, workload)
        token_counter = pipeline.token_counter.name
    frameworks = {name: machine.version_of(name) for name in FRAMEWORKS}
    return {
        "benchmark": "adapters",
        "command": _command(workload),
        "commit": machine.commit(),
        "versions": machine.versions() | frameworks,
        "hardware": machine.hardware(),
        "core": core,
        "workload": {**asdict(workload), "token_counter": token_counter},
        "text": "sample pages of ctxpack joined, from a random place on, cut by characters",
        "timed": "Pipeline.compress, CtxPackCompressor.compress_documents and"
        " CtxPackPostprocessor.postprocess_nodes after warm-up; loading, and making the documents"
        " and nodes, left out; `wall` is the clock, `cpu` the processor time of the process",
        "n": workload.calls,
        "ms": {name: _summary(found) for name, found in times.items()},
        "over_engine": {
            name: _summary(_difference(times[name], times["engine"]))
            for name in times
            if name != "engine"
        },
    }


def _command(workload: Workload) -> str:
    values = {name: getattr(workload, name) for name in ("recipe", "passages", "budget", "calls")}
    options = [f"--{name}={value}" for name, value in values.items() if value is not None]
    return shlex.join(["ctxpack", "bench", "adapters", *options])


def _times(contenders: dict[str, Contender], workload: Workload) -> dict[str, Times]:
    times: dict[str, Times] = {name: {"wall": [], "cpu": []} for name in contenders}
    names = list(contenders)
    for number in range(-_WARM_UP_CALLS, workload.calls):
        query, passages = workload.call(number)
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            work = contenders[name](query, passages)
            started, cpu_started = time.perf_counter(), time.process_time()
            work()
            cpu, wall = time.process_time() - cpu_started, time.perf_counter() - started
            if number >= 0:
                times[name]["wall"].append(wall * 1000)
                times[name]["cpu"].append(cpu * 1000)
    return times


def _engine(pipeline: Pipeline, budget: int | None) -> Contender:
    return lambda query, passages: lambda: pipeline.compress(query, passages, budget=budget)


def _langchain(pipeline: Pipeline, budget: int | None) -> Contender:
    compressor = langchain().CtxPackCompressor(recipe=pipeline, budget=budget)

    def prepared(query: str, passages: Sequence[Passage]) -> Work:
        documents = documents_of(passages)
        return lambda: compressor.compress_documents(documents, query)

    return prepared


def _llama_index(pipeline: Pipeline, budget: int | None) -> Contender:
    postprocessor = llama_index().CtxPackPostprocessor(recipe=pipeline, budget=budget)

    def prepared(query: str, passages: Sequence[Passage]) -> Work:
        nodes = nodes_of(passages)
        return lambda: postprocessor.postprocess_nodes(nodes, query_str=query)

    return prepared


def langchain() -> Any:
    """Return the adapter for LangChain.

    Raises:
        MissingExtraError: it is not installed.
    """
    return _imported("langchain_ctxpack", "langchain")


def llama_index() -> Any:
    """Return the adapter for LlamaIndex.

    Raises:
        MissingExtraError: it is not installed.
    """
    return _imported("llama_index.postprocessor.ctxpack", "llama-index")


def _imported(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError("bench adapters", extra) from error


def documents_of(passages: Sequence[Passage]) -> list[Any]:
    """Return the passages as a retriever of LangChain would."""
    from langchain_core.documents import Document

    return [
        Document(passage.text, id=str(number), metadata=_metadata(number))
        for number, passage in enumerate(passages)
    ]


def nodes_of(passages: Sequence[Passage]) -> list[Any]:
    """Return the passages as a retriever of LlamaIndex would; the model reads the same text."""
    from llama_index.core.schema import NodeWithScore, TextNode

    return [
        NodeWithScore(
            node=TextNode(
                id_=str(number),
                text=passage.text,
                metadata=_metadata(number),
                excluded_llm_metadata_keys=list(_metadata(number)),
            ),
            score=0.5,
        )
        for number, passage in enumerate(passages)
    ]


def _metadata(number: int) -> dict[str, Any]:
    return {"source": "samples", "page": number, "tags": ["harbour", "guide"]}


def _difference(times: Times, engine: Times) -> Times:
    return {clock: (np.array(times[clock]) - np.array(engine[clock])).tolist() for clock in times}


def _summary(times: Times) -> dict[str, dict[str, float]]:
    """Return median and 95th percentile by clock."""
    found = {}
    for clock, values in times.items():
        median, p95 = np.percentile(values, [50, 95])
        found[clock] = {"median": round(float(median), 3), "p95": round(float(p95), 3)}
    return found
