"""The cache of a pipeline: chosen by the recipe, seen in the report, never in the result."""

from __future__ import annotations

import asyncio
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from ctxpack import Pipeline
from ctxpack.cache import MemoryCache
from ctxpack.errors import CacheError, RecipeError
from ctxpack.packed import PackedContext
from ctxpack.scoring.caching import SECRET

QUERY = "When was the harbour bridge opened?"
PASSAGES = [
    "The harbour bridge was opened in 1932. It has six lanes.",
    "Ferries leave every ten minutes. Dogs must be on a lead.",
]
RECIPE = {"scorer": "ctxpack-swift", "steps": ["score", {"prune": 0.5}], "language": "en"}


def make(**options: Any) -> Pipeline:
    """Return a pipeline with the bundled model."""
    return Pipeline.from_recipe(RECIPE, **options)


def hits(packed: PackedContext) -> tuple[int, int]:
    """Return hits and misses of both tiers."""
    assert packed.report["cache"] is not None
    tiers = packed.report["cache"]["tiers"].values()
    return sum(tier["hits"] for tier in tiers), sum(tier["misses"] for tier in tiers)


def test_scorer_of_segments_has_a_cache_in_memory() -> None:
    """The second query of a pipeline finds the encodings of the first."""
    pipeline = make()
    first, second = (pipeline.compress(query, PASSAGES) for query in (QUERY, QUERY + " Exactly?"))
    assert first.report["cache"] is not None
    assert first.report["cache"]["store"] == "memory"
    assert (hits(first), hits(second)) == ((0, 4), (2, 2))


def test_results_are_the_same_without() -> None:
    """A cache, cold or warm, changes nothing but the report."""
    plain = make(cache="none").compress(QUERY, PASSAGES)
    pipeline = make()
    assert plain.report["cache"] is None
    assert plain == pipeline.compress(QUERY, PASSAGES) == pipeline.compress(QUERY, PASSAGES)


def test_other_scorers_have_none_by_default() -> None:
    """What looks at the whole call is never cached."""
    packed = Pipeline.from_recipe("lexical").compress(QUERY, PASSAGES)
    assert packed.report["cache"] is None


def test_recipe_of_a_scorer_of_the_whole_call_is_refused() -> None:
    """The recipe says so when it is read, not when it is called."""
    with pytest.raises(RecipeError, match="`cache` needs a pointwise scorer; 'lexical' looks"):
        Pipeline.from_recipe("lexical", cache="memory:")


@pytest.mark.parametrize(
    ("cache", "message"),
    [
        ("redsi://user:hunter2@host", "a URL begins with one of"),
        ("redis://user:hunter2@host?tls=1", "unknown option"),
        ({"url": "memory:", "secret": "hunter2 hunter2 hunter2"}, "unknown option 'secret'"),
        ({"url": "memory:", "tiers": ["score"]}, "'encoding' or 'scores'"),
        ({"url": ["redis://user:hunter2@host"]}, "`url` must be a valid string, got"),
        (["redis://user:hunter2@host"], "must be a valid string, got"),
        ("sqlite://user:hunter2@host/a.db", "a SQLite URL is"),
        ("memory://user:hunter2@host", "a memory URL is"),
        ({"namespace": "a"}, "`url` is missing"),
        (7, "must be a valid string"),
    ],
)
def test_wrong_options_are_refused(cache: Any, message: str) -> None:
    """A mistake is found when the recipe is read, and no password is repeated."""
    with pytest.raises(RecipeError, match=message) as caught:
        Pipeline.from_recipe({**RECIPE, "cache": cache})
    assert "hunter2" not in str(caught.value)


def test_options_are_written_back() -> None:
    """A recipe with a cache is read as it was written; nothing is opened."""
    options = {"url": "sqlite:////nowhere/at/all.db", "tiers": ["encoding"]}
    recipe = Pipeline.from_recipe({**RECIPE, "cache": options}).recipe
    assert recipe.to_data()["cache"] == options
    assert Pipeline.from_recipe(recipe.to_data()).recipe == recipe


def test_given_store_is_shared_and_stays_open() -> None:
    """Two pipelines use one store, and closing one of them leaves it full."""
    store = MemoryCache()
    with make(cache=store) as first:
        first.compress(QUERY, PASSAGES)
    assert hits(make(cache=store).compress(QUERY, PASSAGES)) == (2, 0)


def test_own_store_is_closed() -> None:
    """Closing a pipeline releases the memory that it took; it still works."""
    pipeline = make()
    pipeline.compress(QUERY, PASSAGES)
    pipeline.close()
    assert hits(pipeline.compress(QUERY, PASSAGES)) == (0, 4)


def test_given_store_must_be_one() -> None:
    """Anything that is neither data nor a store is named."""
    with pytest.raises(RecipeError, match="a cache must have `name`, got"):
        make(cache=object())


def test_secret_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipeline with the secret finds nothing of one without, nor of one with another."""
    store = MemoryCache()
    make(cache=store).compress(QUERY, PASSAGES)
    monkeypatch.setenv(SECRET, "a secret of one tenant")
    assert hits(make(cache=store).compress(QUERY, PASSAGES)) == (0, 4)
    given = make(cache=store, cache_secret=b"a secret of one tenant")
    assert hits(given.compress(QUERY, PASSAGES)) == (2, 0)
    other = make(cache=store, cache_secret="a secret of another")
    assert hits(other.compress(QUERY, PASSAGES)) == (0, 4)


def test_short_secret_is_refused() -> None:
    """It is when the pipeline is made."""
    with pytest.raises(CacheError, match="at least 16 bytes"):
        make(cache_secret="short")


def test_scorer_is_the_one_that_was_given() -> None:
    """The cache around it is the pipeline's business."""
    pipeline = make()
    assert pipeline.scorer is pipeline.recipe.scorer


def test_repr_has_no_password() -> None:
    """What is logged can be read by others; the rest of the URL is there."""
    pipeline = make(cache={"url": "redis://user:hunter2@127.0.0.1:1/0", "namespace": "a@b"})
    assert "'redis://127.0.0.1:1/0'" in repr(pipeline)
    assert "'a@b'" in repr(pipeline)
    assert "hunter2" not in repr(pipeline)


def test_pickled_pipeline_uses_the_same_file(tmp_path: Path) -> None:
    """A worker process finds what the first one stored."""
    pipeline = make(
        cache=f"sqlite:///{tmp_path}/segments.db", cache_secret="a secret of one tenant"
    )
    pipeline.compress(QUERY, PASSAGES)
    copied: Pipeline = pickle.loads(pickle.dumps(pipeline))
    assert hits(copied.compress(QUERY, PASSAGES)) == (2, 0)
    pipeline.close()
    copied.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # fork in a process with threads
def test_child_process_has_what_its_parent_had() -> None:
    """A fork of a warm server is warm."""
    pipeline = make()
    expected = pipeline.compress(QUERY, PASSAGES).text
    reading, writing = os.pipe()
    if os.fork() == 0:
        packed = pipeline.compress(QUERY, PASSAGES)
        os.write(writing, f"{hits(packed)} {packed.text}".encode())
        os._exit(0)
    os.wait()
    assert os.read(reading, 10_000).decode() == f"(2, 0) {expected}"


def test_store_out_of_reach_is_reported() -> None:
    """The result is the same, and the report says that the cache did nothing."""
    pipeline = make(cache="redis://127.0.0.1:1?timeout_ms=20")
    for _ in range(5):  # the breaker opens
        packed = pipeline.compress(QUERY, PASSAGES)
        assert packed.report["notes"] == ["cache: redis unavailable"]
        assert packed.report["cache"] is not None
        assert not packed.report["cache"]["available"]
    assert packed == make(cache="none").compress(QUERY, PASSAGES)
    pipeline.close()


def test_concurrent_calls_of_an_event_loop_are_counted_apart() -> None:
    """Each call's report has its own counts, and together no segment is encoded twice."""
    pipeline = make()

    async def calls() -> list[PackedContext]:
        queries = [f"{QUERY} {number}" for number in range(8)]
        return await asyncio.gather(*(pipeline.acompress(query, PASSAGES) for query in queries))

    results = asyncio.run(calls())
    used = [packed.report["cache"]["tiers"] for packed in results if packed.report["cache"]]
    assert [tiers["scores"]["misses"] for tiers in used] == [2] * 8
    assert sum(tiers["encoding"]["bytes_written"] > 0 for tiers in used) == 1
    pipeline.close()


def test_passages_are_cached_ahead() -> None:
    """The first query finds what was stored before it."""
    pipeline = make()
    first, again = pipeline.cache_passages(PASSAGES), pipeline.cache_passages(PASSAGES)
    assert (first.passages, first.segments, first.encoded, again.encoded) == (2, 2, 2, 0)
    assert first.bytes_written > 0
    assert hits(pipeline.compress(QUERY, PASSAGES)) == (2, 2)


@pytest.mark.parametrize(
    "options", [{"cache": "none"}, {"cache": {"url": "memory:", "tiers": ["scores"]}}]
)
def test_without_encodings_nothing_is_cached_ahead(options: Any) -> None:
    """It says so, because a job that stores nothing should fail."""
    with pytest.raises(RecipeError, match=r"there is no cache|no encodings"):
        make(**options).cache_passages(PASSAGES)
