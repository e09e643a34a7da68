"""The table of the evaluation and the card made from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from ctxpack.errors import InputError
from ctxpack.scoring.manifest import Calibration, Manifest
from ctxpack.train.card import card, shipped
from ctxpack.train.evaluate import Result, Task, evaluate, named_scorer
from ctxpack.train.mixture import SHIPPED, Mixture
from ctxpack.train.pieces import word_pieces

LONG, SHORT = "Ann, the eldest of all five sisters, came from Turin.", "Bob came too."


def test_retention_stands_beside_that_of_the_oracle() -> None:
    """What is kept, as a share of what a choice by the labels keeps at the same budget."""
    result = Result("toy", "kept@10%", np.array([0.0, 0.5]), np.array([0.5, 0.5]))
    line = result.summary()
    assert (line["mean"], line["oracle"], line["of_oracle"]) == (0.25, 0.5, 0.5)


def test_oracle_takes_the_shortest_evidence_first() -> None:
    """Of two evidence sentences only one fits, and the first is too long."""
    text = f"{LONG} {SHORT} {'It rained. ' * 12}"
    evidence = [[0, len(LONG)], [len(LONG) + 1, len(LONG) + 1 + len(SHORT)]]
    raw = {
        "query": "Who came?",
        "span_kind": "sentence",
        "passages": [{"text": text, "gold": True, "evidence": evidence}],
    }
    found = evaluate(
        named_scorer("bm25"), {"toy": [raw]}, word_pieces(), tasks=[Task("toy", "retention")]
    )
    assert [result.summary()["oracle"] for result in found] == [0.5, 0.5]


def test_unknown_scorer_is_refused(tmp_path: Path) -> None:
    """The message lists what there is."""
    with pytest.raises(InputError, match=r"--scorer .*: must be ctxpack-swift"):
        named_scorer(str(tmp_path))


def manifest(name: str, *trained_on: str) -> Manifest:
    """Return a manifest that says what a card needs."""
    recalls = {"balanced": 0.97}
    part = {"ece": 0.04, "brier_skill": 0.4, "recall": recalls, "kept": recalls}
    return Manifest(
        name=name,
        version=f"{name}-1",
        files={},
        calibration=Calibration(relevance=(1, 0), evidence=(1, 0)),
        operating_points={"balanced": 0.01},
        training={
            "steps": 9,
            "seconds": 60,
            "hardware": "a CPU",
            "passages": 8,
            "pairs": 7,
            "trained_on": dict.fromkeys(trained_on, ""),
            "calibration_on_other_half": {"qed": part},
        },
    )


def test_directory_of_two_models_is_refused(tmp_path: Path) -> None:
    """Which of them is meant is not guessed."""
    for name in ("ctxpack-mini", "ctxpack-swift"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text(manifest(name).model_dump_json())
    with pytest.raises(InputError, match="must be ctxpack-swift"):
        named_scorer(str(tmp_path))


def test_card_describes_both_models() -> None:
    """Each has its version, its data, its diagrams; the table has a column a scorer."""
    manifests = [manifest("ctxpack-swift", "qed", "selqa"), manifest("ctxpack-mini", "qed")]
    line = {"task": "musique", "measure": "kept@10%", "n": 9, "mean": 0.5, "low": 0, "high": 1}
    tables = {"ctxpack-swift": [line], "ctxpack-mini": [line | {"oracle": 0.9}]}
    plots = {"ctxpack-swift": "s.svg", "ctxpack-mini": "m.svg"}
    text = card(manifests, shipped(manifests, Mixture.load(SHIPPED)), tables, plots)
    for words in (
        "`ctxpack-swift` `ctxpack-swift-1`, `ctxpack-mini` `ctxpack-mini-1`",
        "| `qed` | CC BY-SA 3.0 | `ctxpack-swift`, `ctxpack-mini` |",
        "| `selqa` | Apache-2.0 | `ctxpack-swift` |",
        "| `musique` | kept@10%, oracle 0.900 | 0.500 [0.000, 1.000] n=9 | 0.500",
        "### ctxpack-mini\n\nOperating points: `balanced` 0.01.",
        "(m.svg)",
    ):
        assert words in text
