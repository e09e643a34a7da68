"""Stages and scorers by name, ours and a third party's."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, EntryPoints
from types import SimpleNamespace

import pytest

from ctxpack import Pipeline, Selection, registry
from ctxpack.errors import RecipeError
from ctxpack.stages.base import Call, Stage


class Reverse(Stage):
    """A third party's stage: the other way round."""

    name = "reverse"

    def _apply(self, selection: Selection, call: Call) -> Selection:
        return selection.reorder(selection.order[::-1])


@pytest.fixture(autouse=True)
def plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Install two entry points, one of them wrong."""
    entries = EntryPoints(
        [
            EntryPoint("reverse", f"{__name__}:Reverse", "ctxpack.stages"),
            EntryPoint("prune", f"{__name__}:Reverse", "ctxpack.stages"),
            EntryPoint("wrong", "json:loads", "ctxpack.scorers"),
        ]
    )
    monkeypatch.setitem(sys.modules, __name__, SimpleNamespace(Reverse=Reverse))
    monkeypatch.setattr(registry, "entry_points", lambda group: entries.select(group=group))


def test_a_third_partys_stage_is_a_step() -> None:
    """An entry point makes a stage usable by name, without importing it before."""
    pipeline = Pipeline.from_recipe({"scorer": "lexical", "steps": ["reverse"]})
    assert pipeline.compress("q", ["a", "b"]).text == "b\n\na"


def test_a_built_in_name_cannot_be_taken() -> None:
    """An entry point with the name of a built-in stage is not used."""
    assert registry.stage("prune") is registry.STAGES["prune"]


def test_an_entry_that_is_no_scorer_is_refused() -> None:
    """An entry point must be a class of the right kind, under its own name."""
    with pytest.raises(RecipeError, match=r"ctxpack\.scorers: wrong must be a ConfiguredScorer"):
        registry.scorer("wrong")


def test_all_stages_lists_third_parties_last() -> None:
    """Ours come first, in the order of the picture."""
    assert list(registry.all_stages()) == [*registry.STAGES, "reverse"]
