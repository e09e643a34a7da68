"""Reliability diagrams: how often a span of a probability is evidence."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ctxpack.errors import MissingExtraError

COLUMNS = 4
BLUE, GREY = "#1f6feb", "#8a8a8a"


def reliability_diagrams(quality: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Draw one diagram a data set into an SVG file, the same bytes for the same numbers.

    A point is a bin of equal mass; its bar is the 95 % interval of Wilson (1927).

    Args:
        quality: data set → ``bins`` of `calibrate.reliability` and ``ece``.
        path: of the file.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("drawing", "train") from None
    columns = min(COLUMNS, len(quality))
    rows = -(-len(quality) // columns)
    figure = Figure(figsize=(2.6 * columns, 2.75 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axis, (name, part) in zip(axes.flat, quality.items(), strict=False):
        probabilities, shares, counts = np.array(part["bins"]).reshape(-1, 3).T
        low, high = _wilson(shares, counts)
        axis.plot((0, 1), (0, 1), color=GREY, linewidth=1, linestyle="--")
        # Rounding may put a bound of 0 or 1 past its point by a hair.
        bars = np.maximum(0, (shares - low, high - shares))
        style = {"fmt": "o", "markersize": 3.5, "color": BLUE, "linewidth": 1, "clip_on": False}
        axis.errorbar(probabilities, shares, yerr=bars, **style)
        axis.set_title(f"{name}, ECE {part['ece']:.3f}, n = {int(counts.sum())}", fontsize=8)
        axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axis.tick_params(labelsize=7)
    for axis in axes.flat[len(quality) - columns : len(quality)]:
        axis.tick_params(labelbottom=True)
    for axis in axes.flat[len(quality) :]:
        axis.remove()
    figure.supxlabel("probability of evidence", fontsize=9)
    figure.supylabel("share that is evidence", fontsize=9)
    with matplotlib.rc_context({"svg.hashsalt": "ctxpack", "svg.fonttype": "none"}):
        figure.savefig(path, format="svg", metadata={"Date": None})


def _wilson(
    shares: np.ndarray[Any, Any], counts: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    z = 1.96
    middle = shares + z**2 / (2 * counts)
    reach = z * np.sqrt(shares * (1 - shares) / counts + z**2 / (4 * counts**2))
    return (middle - reach) / (1 + z**2 / counts), (middle + reach) / (1 + z**2 / counts)
