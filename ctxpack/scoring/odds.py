"""Scores as log-odds, in which what several scorers say adds up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ctxpack.selection import FloatArray

_LEAST = 1e-6


def log_odds(columns: Sequence[FloatArray]) -> NDArray[np.float64]:
    """Return (n, n_columns) log-odds of probabilities; 0 and 1 count as 1e-6 away from them.

    Args:
        columns: (n,) float32 in [0, 1], one array a scorer.
    """
    bounded = np.clip(np.stack(columns, axis=1).astype(np.float64), _LEAST, 1 - _LEAST)
    return np.log(bounded) - np.log1p(-bounded)


def weighed(columns: Sequence[FloatArray], weights: Mapping[str, float]) -> FloatArray:
    """Return (n,) probabilities whose log-odds are a weighted sum of those of `columns`.

    What has score 0 in the first column, because it was not scored, keeps it.

    Args:
        columns: (n,) float32 in [0, 1], one array a scorer.
        weights: of the columns, in order, and a constant.
    """
    *factors, constant = weights.values()
    together = probabilities(log_odds(columns) @ np.array(factors) + constant)
    return np.where(columns[0] > 0, together, np.float32(0))


def probabilities(odds: NDArray[np.float64]) -> FloatArray:
    """Return (n,) float32 probabilities of log-odds (n,)."""
    return (1 / (1 + np.exp(-odds))).astype(np.float32)
