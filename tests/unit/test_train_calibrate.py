"""Calibration: probabilities that hold, and thresholds that keep what was promised."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from ctxpack.train import calibrate


def sample(n: int = 4000) -> calibrate.Sample:
    """Return logits twice as steep as they should be, one evidence span a need."""
    rng = np.random.default_rng(0)
    spans = rng.normal(size=n) * 4
    evidence = (rng.random(n) < 1 / (1 + np.exp(-spans / 2))).astype(float)
    need = np.where(evidence == 1, np.arange(n), -1)
    return calibrate.Sample(spans[:9], evidence[:9], spans, evidence, need)


def test_fit_finds_the_slope() -> None:
    """Logits that are twice too steep are flattened by half."""
    slope, offset = calibrate.fit([sample()]).evidence
    assert slope == pytest.approx(0.5, abs=0.05)
    assert offset == pytest.approx(0, abs=0.1)


def test_fitted_probabilities_have_a_small_error() -> None:
    """The error of what was fitted is far below that of what was not."""
    part = sample()
    fitted = calibrate.probabilities(calibrate.fit([part]), part)
    raw = 1 / (1 + np.exp(-part.spans))
    assert calibrate.calibration_error(fitted, part.evidence) < 0.03
    assert calibrate.calibration_error(raw, part.evidence) > 0.05


def test_threshold_keeps_the_evidence_it_promises() -> None:
    """The recall at each operating point is at least its goal."""
    part = sample()
    calibration = calibrate.fit([part])
    needed = calibrate.needed_probabilities(calibration, part)
    for name, threshold in calibrate.thresholds(calibration, [part]).items():
        assert (needed >= threshold).mean() >= calibrate.RECALL_GOALS[name]


def test_one_of_several_answers_is_enough() -> None:
    """Spans with the same need count once, with the best of them."""
    part = calibrate.Sample(
        relevance=np.zeros(1),
        relevant=np.ones(1),
        spans=np.array([-9.0, 9.0]),
        evidence=np.ones(2),
        need=np.zeros(2),
    )
    plain = calibrate.Calibration(relevance=(1, 0), evidence=(1, 0))
    assert calibrate.needed_probabilities(plain, part) == pytest.approx([1], abs=1e-3)


def test_brier_skill_of_the_base_rate_is_zero() -> None:
    """Saying the base rate of everything tells nothing."""
    labels = np.array([1.0, 0, 0, 0])
    assert calibrate.brier_skill(np.full(4, 0.25), labels) == pytest.approx(0)


def test_pooled_needs_stay_apart() -> None:
    """What one data set needs is not satisfied by the evidence of another."""
    part = sample(200)
    both = calibrate.pooled([part, part])
    n_needs = len(np.unique(part.need[part.need >= 0]))
    assert len(np.unique(both.need[both.need >= 0])) == 2 * n_needs
    assert len(both.spans) == 2 * len(part.spans)
