"""Measurements of the segment cache: their records, on the smallest workloads."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ctxpack.bench import cache, callers, rounds
from ctxpack.errors import InputError


def test_cache_record_has_every_store() -> None:
    """Memory, SQLite and Redis stand beside the joint model, with what they hold."""
    before = os.sched_getaffinity(0)
    record = json.loads(json.dumps(cache.measure(cache.Study(passages=2, calls=1))))
    assert {"joint", "uncached", "cold", "memory", "sqlite", "redis"} <= set(record["ms"])
    assert set(record["store_errors"].values()) == {0}
    assert all(held > 0 for held in record["bytes"]["held_per_segment"].values())
    assert record["command"] == "ctxpack bench cache --passages=2 --calls=1"
    assert os.sched_getaffinity(0) == before


def test_sampled_passages_are_different_and_repeatable() -> None:
    """The same seed gives the same passages, of at least the length that is said."""
    texts = [passage.passage.text for passage in rounds.sampled_passages(50)]
    assert texts == [passage.passage.text for passage in rounds.sampled_passages(50)]
    assert len(set(texts)) == 50
    assert min(map(len, texts)) >= rounds.CHARACTERS


def test_passages_of_data(tmp_path: Path) -> None:
    """Records give their passages, equal ones once; too few are an error."""
    record = {
        "id": "1",
        "dataset": "d",
        "query": "q",
        "answers": [],
        "passages": [{"text": text, "gold": False} for text in ("One.", "Two.", "One.")],
    }
    path = tmp_path / "d.jsonl"
    path.write_text(json.dumps(record))
    taken = [passage.passage.text for passage in rounds.sampled_passages(2, data=path)]
    assert taken == ["One.", "Two."]
    with pytest.raises(InputError, match="has 2 passages, not 3"):
        list(rounds.sampled_passages(3, data=path))


def test_callers_record_compares_bytes() -> None:
    """Every contender's scores are those of the scorer alone."""
    record = json.loads(json.dumps(callers.measure(callers.Crowd(callers=3, passages=2, rounds=1))))
    assert record["overlapping"]["same_bytes"]
    assert record["disjoint"]["same_bytes"]
    assert record["n"] == 3


def test_numbers_are_at_least_one() -> None:
    """A workload of nothing is refused."""
    with pytest.raises(InputError, match="`passages` must be at least 1"):
        cache.Study(passages=0)
    with pytest.raises(InputError, match="`rounds` must be at least 1"):
        callers.Crowd(rounds=0)
