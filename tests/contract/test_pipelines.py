"""Every shipped recipe keeps the eight laws."""

from __future__ import annotations

import pytest

from ctxpack import Pipeline, recipes
from ctxpack.testing import PipelineContract


class TestPipelines(PipelineContract):
    @pytest.fixture(params=recipes.names())
    def pipeline(self, request: pytest.FixtureRequest) -> Pipeline:
        return Pipeline.from_recipe(request.param)


class TestCitations(PipelineContract):
    """Titles, ids, metadata, citation marks and another separator, all counted."""

    @pytest.fixture
    def pipeline(self) -> Pipeline:
        render = {
            "template": "<{id}> {title}\npage {metadata.page}\n{body}\n--",
            "separator": "\n* * *\n",
            "citations": True,
        }
        return Pipeline.from_recipe("balanced", render=render)


class TestWithoutSteps(PipelineContract):
    """A pipeline of no steps still keeps the laws: the last count decides alone."""

    @pytest.fixture
    def pipeline(self) -> Pipeline:
        return Pipeline.from_recipe({"scorer": "lexical", "steps": []})
