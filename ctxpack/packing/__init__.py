"""Which spans to keep under a budget: pure functions on arrays, no text."""

from ctxpack.packing.exact import exact
from ctxpack.packing.greedy import greedy
from ctxpack.packing.pack import pack
from ctxpack.packing.problem import PackingProblem, cost_of, fill_gaps, forced_cost
from ctxpack.packing.repair import shed

__all__ = [
    "PackingProblem",
    "cost_of",
    "exact",
    "fill_gaps",
    "forced_cost",
    "greedy",
    "pack",
    "shed",
]
