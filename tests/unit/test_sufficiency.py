from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctxpack import Pipeline
from ctxpack.bench.sufficiency import Study, auroc, calibration_error, measure
from ctxpack.scoring.base import ConfiguredScorer

STEPS = ["score", {"prune": 0.5}]
PASSAGES = ["The wall is old. Nobody knows why.", "Boats leave at noon."]


def sufficiency(scorer: ConfiguredScorer | str, query: str, *passages: str, **recipe: Any) -> Any:
    """Return the sufficiency of a call."""
    pipeline = Pipeline.from_recipe({"scorer": scorer, "steps": STEPS, **recipe})
    return pipeline.compress(query, passages).sufficiency


def test_is_the_highest_score_of_a_passage(scorer: ConfiguredScorer) -> None:
    """The best passage tells, though nothing of it may be kept."""
    assert sufficiency(scorer, "wall", *PASSAGES) == pytest.approx(0.9)
    assert sufficiency(scorer, "lighthouse", *PASSAGES) == pytest.approx(0.1)


def test_a_second_hop_changes_nothing(scorer: ConfiguredScorer) -> None:
    """The first scores tell: a passage always matches the evidence found in it."""
    hops = ["score", "hops"]
    assert sufficiency(scorer, "lighthouse", *PASSAGES, steps=hops) == pytest.approx(0.1)


def test_no_passages_hold_no_answer(scorer: ConfiguredScorer) -> None:
    """Without passages it is 0."""
    assert sufficiency(scorer, "wall") == 0.0


def test_is_unknown_without_scores(scorer: ConfiguredScorer) -> None:
    """Without a scoring step, or when the deadline has cut it, there is nothing to tell from."""
    assert sufficiency(scorer, "wall", *PASSAGES, steps=[]) is None
    assert sufficiency(scorer, "wall", *PASSAGES, deadline_ms=1e-6) is None


def test_scores_that_compare_passages_do_not_tell() -> None:
    """The lexical scorer finds a best passage even where none is good."""
    assert sufficiency("lexical", "wall", *PASSAGES) is None


def test_auroc_counts_pairs_in_order() -> None:
    """It is the share of pairs in the right order, half of those that are equal."""
    assert auroc(np.array([0.9, 0.5]), np.array([0.5, 0.1])) == 0.875
    assert auroc(np.array([0.9]), np.array([])) is None


def test_calibration_error_is_the_mean_gap() -> None:
    """Probabilities of a half for outcomes that are always true are wrong by a half."""
    assert calibration_error(np.full(10, 0.5), np.ones(10)) == 0.5


def test_measures_records_with_and_without_their_answer(tmp_path: Path) -> None:
    """A record is asked as it is, without its gold passage, and of another record's passages."""
    texts = {"wall": "The wall is old.", "boats": "Boats leave at noon."}
    passages = [
        {"title": "", "text": text, "evidence": [], "gold": key == "wall"}
        for key, text in texts.items()
    ]
    record = {"id": "1", "dataset": "d", "query": "How old is the wall?", "passages": passages}
    other = record | {"query": "Is it new?", "passages": passages[1:]}
    path = tmp_path / "d.jsonl"
    path.write_text("\n".join(json.dumps(one) for one in (record, other)))
    found = measure(Study(files=[path], recipe="lexical"))["sets"]["d"]
    assert list(found["n"].values()) == [1, 1, 1, 2, 0]
    assert found["auroc"]["answer taken out"] == 1.0
