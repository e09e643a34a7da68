"""The laws hold for any passages and any budget."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctxpack import Passage, Pipeline, recipes
from ctxpack.testing import check_laws
from ctxpack.tokens import counter_from

WORDS = ["wall", "Quay", "1911", "U.S.", "潮汐", "ท่าเรือ", "🐟", "[…]", "[1]", "tide", "a", "e.g."]
BLOCKS = [
    "# ",
    "- ",
    "1. ",
    "| a | b |\n|---|---|\n| ",
    "```\n",
    "\n\n",
    "\r\n",
    ". ",
    "! ",
    "。",
    "    ",
]
texts = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from([*WORDS, *BLOCKS, " ", "\n"]), max_size=40).map("".join),
)
names = st.none() | st.text(max_size=8)
passages = st.lists(
    st.builds(Passage, texts, id=names, title=names, score=st.none() | st.floats()), max_size=6
)
queries = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join)
budgets = st.none() | st.integers(0, 120)
PIPELINES = {name: Pipeline.from_recipe(name) for name in recipes.names()}
CITED = Pipeline.from_recipe(
    "balanced", render={"citations": True, "template": "{id} {title}\n{body}\n"}
)


@settings(max_examples=60, deadline=None)
@given(queries, passages, budgets, st.sampled_from([*PIPELINES.values(), CITED]))
def test_laws(query: str, given_: list[Passage], budget: int | None, pipeline: Pipeline) -> None:
    """Verbatim, budget, coverage and identity hold for any input."""
    packed = pipeline.compress(query, given_, budget=budget)
    check_laws(packed, given_, counter=pipeline.token_counter, budget=budget)


@settings(max_examples=20, deadline=None)
@given(queries, passages, budgets)
def test_determinism(query: str, given_: list[Passage], budget: int | None) -> None:
    """The same call gives the same text twice."""
    pipeline = PIPELINES["balanced"]
    first, second = (pipeline.compress(query, given_, budget=budget) for _ in range(2))
    assert first.text == second.text


@pytest.mark.parametrize(
    "count", [len, lambda text: len(text.split()), lambda text: (len(text) + 3) // 4]
)
@settings(max_examples=20, deadline=None)
@given(query=queries, given_=passages, budget=st.integers(0, 120))
def test_budget_in_any_unit(count, query: str, given_: list[Passage], budget: int) -> None:
    """The budget holds in characters, words or any other unit that a counter counts."""
    counter = counter_from(count)
    packed = Pipeline.from_recipe("balanced", token_counter=counter).compress(
        query, given_, budget=budget
    )
    assert counter.count(packed.text) == packed.token_count <= budget
