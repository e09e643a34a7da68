"""The counters that ship keep their contract."""

from __future__ import annotations

import pytest

from ctxpack import TokenCounter
from ctxpack.testing import CounterContract
from ctxpack.tokens import counter_from


class TestApproximate(CounterContract):
    @pytest.fixture
    def counter(self) -> TokenCounter:
        return counter_from("approximate")


class TestCallable(CounterContract):
    @pytest.fixture
    def counter(self) -> TokenCounter:
        return counter_from(len)
