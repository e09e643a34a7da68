from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from ctxpack.bench.logistic import Cases, fit, log_loss, losses


def cases(n: int = 4000, *, seed: int = 0) -> Cases:
    """Return cases of which the second score says all, and the first nothing."""
    rng = np.random.default_rng(seed)
    noise, p = (rng.uniform(0.05, 0.95, n).astype(np.float32) for _ in range(2))
    return Cases.of([(noise, p, rng.uniform(size=n) < p)])


def test_fit_finds_what_made_the_labels() -> None:
    """Probabilities that are right already weigh 1, those that say nothing 0."""
    assert fit([cases()]) == pytest.approx([0, 1, 0], abs=0.1)


def test_fit_loses_less_than_any_score_alone() -> None:
    """The fitted weights are the best on what they were fitted to."""
    part = cases(200)
    best = log_loss(part, fit([part]))
    assert best <= min(log_loss(part, part.alone(number)) for number in (0, 1))


def test_data_sets_count_the_same() -> None:
    """The mean loss is one over data sets, whatever their sizes."""
    parts = {"small": cases(50), "large": cases(800, seed=1)}
    found = losses(parts, {"first": parts["small"].alone(0)})
    assert found["mean"]["first"] == pytest.approx(
        (found["small"]["first"] + found["large"]["first"]) / 2, abs=1e-4
    )
    assert fit([parts["small"]] * 2) == pytest.approx(fit([parts["small"]]))
