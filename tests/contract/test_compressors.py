"""Our compressors keep what every compressor of their framework must keep to."""

from __future__ import annotations

import pytest
from llama_index.postprocessor.ctxpack import CtxPackPostprocessor

from ctxpack.testing import (
    Budget,
    LangChainCompressorContract,
    LlamaIndexPostprocessorContract,
)
from ctxpack.tokens import counter_from
from langchain_ctxpack import CtxPackCompressor

RECIPES = ["balanced", "rerank-only"]
COUNT = counter_from("approximate").count


class TestLangChain(LangChainCompressorContract):
    @pytest.fixture(params=RECIPES)
    def compressor(self, request: pytest.FixtureRequest) -> CtxPackCompressor:
        return CtxPackCompressor(recipe=request.param, budget=60)

    @pytest.fixture
    def budget(self) -> Budget:
        return Budget(60, COUNT)


class TestLlamaIndex(LlamaIndexPostprocessorContract):
    @pytest.fixture(params=RECIPES)
    def compressor(self, request: pytest.FixtureRequest) -> CtxPackPostprocessor:
        return CtxPackPostprocessor(recipe=request.param, budget=60)

    @pytest.fixture
    def budget(self) -> Budget:
        return Budget(60, COUNT)
