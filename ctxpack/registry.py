"""Stages and scorers by the name that a recipe calls them.

A third party adds its own through the entry-point groups ``ctxpack.stages`` and
``ctxpack.scorers``: the entry's name is the recipe name, its value the class. An entry is loaded
when a recipe names it, and cannot replace a built-in name.
"""

from __future__ import annotations

import difflib
from importlib.metadata import entry_points
from typing import TypeVar

from ctxpack.errors import RecipeError
from ctxpack.scoring.base import ConfiguredScorer
from ctxpack.scoring.bundled import Mini, Swift
from ctxpack.scoring.lexical import Lexical
from ctxpack.stages.base import Stage
from ctxpack.stages.blend import Blend
from ctxpack.stages.dedupe import Dedupe
from ctxpack.stages.hops import Hops
from ctxpack.stages.order import Order
from ctxpack.stages.prune import Prune
from ctxpack.stages.rerank import Rerank
from ctxpack.stages.rescore import Rescore
from ctxpack.stages.score import Score
from ctxpack.stages.select import Select

STAGES: dict[str, type[Stage]] = {
    stage.name: stage
    for stage in (Dedupe, Score, Hops, Rescore, Blend, Rerank, Prune, Select, Order)
}
SCORERS: dict[str, type[ConfiguredScorer]] = {
    scorer.name: scorer for scorer in (Lexical, Swift, Mini)
}

Registered = TypeVar("Registered", bound=Stage | ConfiguredScorer)


def stage(name: str, *, where: str = "registry") -> type[Stage]:
    """Return the stage class that a recipe calls `name`; `where` begins the message of an error.

    Raises:
        RecipeError: there is none, or a third party's entry is not a `Stage` of that name.
    """
    return _find(name, where, STAGES, "ctxpack.stages", Stage)  # type: ignore[type-abstract]


def scorer(name: str, *, where: str = "registry") -> type[ConfiguredScorer]:
    """Return the scorer class that a recipe calls `name`; `where` begins the message of an error.

    Raises:
        RecipeError: there is none, or a third party's entry is not a scorer of that name.
    """
    group = "ctxpack.scorers"
    return _find(name, where, SCORERS, group, ConfiguredScorer)  # type: ignore[type-abstract]


def all_stages() -> dict[str, type[Stage]]:
    """Return every stage by name: ours, then third parties' in the order of their names."""
    names = entry_points(group="ctxpack.stages").names
    return STAGES | {name: stage(name) for name in sorted(names) if name not in STAGES}


def all_scorers() -> dict[str, type[ConfiguredScorer]]:
    """Return every scorer by name: ours, then third parties' in the order of their names."""
    names = entry_points(group="ctxpack.scorers").names
    return SCORERS | {name: scorer(name) for name in sorted(names) if name not in SCORERS}


def unknown(what: str, name: object, known: list[str]) -> str:
    """Return ``unknown step 'prun'; did you mean 'prune'? known: dedupe, …``."""
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown {what} {name!r}; {hint}known: {', '.join(known)}"


def _find(
    name: str,
    where: str,
    built_in: dict[str, type[Registered]],
    group: str,
    base: type[Registered],
) -> type[Registered]:
    if name in built_in:
        return built_in[name]
    entries = entry_points(group=group)
    if name not in entries.names:
        what = "step" if base is Stage else "scorer"
        known = sorted({*built_in, *entries.names})
        raise RecipeError(f"{where}: {unknown(what, name, known)}")
    found = entries[name].load()
    if not (isinstance(found, type) and issubclass(found, base) and found.name == name):
        raise RecipeError(
            f"{where}: entry point {group}: {name} must be a {base.__name__}, got {found!r}"
        )
    return found
