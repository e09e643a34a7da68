"""Settings of the postprocessor: writing them as data, reading them back, and mistakes."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from llama_index.core.schema import MetadataMode, NodeWithScore
from llama_index.postprocessor.ctxpack import CtxPackPostprocessor

from ctxpack import Pipeline
from ctxpack.scoring.base import PassageScores

SELECT_ONLY = {"scorer": "lexical", "steps": ["score", "select"]}


def words(text: str) -> int:
    """Return the number of words."""
    return len(text.split())


@pytest.mark.parametrize(
    "recipe", ["balanced", SELECT_ONLY, Pipeline.from_recipe("balanced", deadline_ms=60_000)]
)
def test_written_as_data_and_read_back(recipe: Any, query: str, nodes: list[NodeWithScore]) -> None:
    """The dump holds the recipe as data, and a postprocessor made of it does the same."""
    postprocessor = CtxPackPostprocessor(recipe=recipe, budget=40, title_key=None)
    data, text = postprocessor.to_dict(), postprocessor.to_json()
    assert data["class_name"] == "CtxPackPostprocessor"
    assert data["recipe"]["steps"]
    for read in (
        CtxPackPostprocessor.from_dict(data),
        CtxPackPostprocessor.from_json(text),
        pickle.loads(pickle.dumps(postprocessor)),
    ):
        assert json.loads(read.to_json()) == json.loads(text)
        assert read.postprocess_nodes(nodes, query_str=query) == postprocessor.postprocess_nodes(
            nodes, query_str=query
        )


def test_a_recipe_from_a_file(tmp_path: Path) -> None:
    """A path is read when the postprocessor is made, and written as the recipe's data."""
    path = tmp_path / "mine.yaml"
    path.write_text("scorer: lexical\nsteps: [score, select]\n")
    assert CtxPackPostprocessor(recipe=path).to_dict()["recipe"]["name"] == "mine"


@pytest.mark.parametrize(
    "settings",
    [
        {"recipe": Pipeline.from_recipe("balanced", token_counter=words)},
        {"token_counter": words},
        {"query_from": max},
    ],
    ids=["recipe", "token_counter", "query_from"],
)
def test_an_object_is_not_data(settings: dict[str, Any], request: pytest.FixtureRequest) -> None:
    """A setting that only an object can hold is an error when written, and names itself."""
    with pytest.raises(ValueError, match=request.node.callspec.id):
        CtxPackPostprocessor(**settings).to_dict()


def test_a_pickle_is_whole() -> None:
    """A setting that cannot be pickled is an error, not a copy that does something else."""
    postprocessor = CtxPackPostprocessor(query_from=lambda message, history: message)
    with pytest.raises(pickle.PicklingError, match="query_from"):
        pickle.dumps(postprocessor)


def test_counts_with_a_function(query: str, nodes: list[NodeWithScore]) -> None:
    """The budget is in the tokens of the given counter."""
    postprocessor = CtxPackPostprocessor(recipe="rerank-only", budget=40, token_counter=words)
    kept = postprocessor.postprocess_nodes(nodes, query_str=query)
    read = "\n\n".join(scored.get_content(MetadataMode.LLM) for scored in kept)
    assert 0 < words(read) <= 40


class LongFirst:
    """A scorer that no recipe can name: the longest passage is the best."""

    pointwise = False
    operating_points: ClassVar[dict[str, float]] = {}

    def score(self, query: str, passages: Sequence[Any]) -> list[PassageScores]:
        """Return the length over that of the longest, for a passage and its spans."""
        longest = max(len(passage.text) for passage, _ in passages)
        return [
            PassageScores(len(passage.text) / longest, np.full(len(spans), 0.5, dtype=np.float32))
            for passage, spans in passages
        ]

    def score_many(self, calls: Sequence[Any]) -> list[list[PassageScores]]:
        """Return `score` of every call."""
        return [self.score(query, passages) for query, passages in calls]


def test_keeps_the_pipelines_scorer(query: str, nodes: list[NodeWithScore]) -> None:
    """A token counter beside a `Pipeline` replaces its counter and nothing else."""
    recipe = {"scorer": "lexical", "steps": ["score", {"rerank": 1}]}
    pipeline = Pipeline.from_recipe(recipe, scorer=LongFirst())
    postprocessor = CtxPackPostprocessor(recipe=pipeline, token_counter=words)
    kept = postprocessor.postprocess_nodes(nodes[1:] + nodes[:1], query_str=query)
    assert [scored.node_id for scored in kept] == ["bridge"]


@pytest.mark.parametrize("settings", [{"recipe": "balanecd"}, {"budget": -1}, {"bugdet": 100}])
def test_a_mistake_shows_at_once(settings: dict[str, Any]) -> None:
    """What breaks a rule is an error before the first call."""
    with pytest.raises(ValueError, match=r"balan|greater|Extra"):
        CtxPackPostprocessor(**settings)


def test_the_recipe_is_fixed() -> None:
    """What the pipeline was made of does not change under it."""
    with pytest.raises(ValueError, match="frozen"):
        CtxPackPostprocessor().recipe = "faithful"
