"""What every token counter must keep to."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from ctxpack.testing.cases import CASES
from ctxpack.tokens import TokenCounter


class CounterContract:
    """Tests that every token counter passes; override `counter`."""

    @pytest.fixture
    def counter(self) -> TokenCounter:
        """Return the counter under test."""
        raise NotImplementedError("override the `counter` fixture")

    @pytest.fixture
    def texts(self) -> list[str]:
        """Return the texts of all cases."""
        return [passage.text for case in CASES.values() for passage in case.passages]

    def test_counts_nothing_in_no_text(self, counter: TokenCounter) -> None:
        """The empty text has no tokens."""
        assert counter.count("") == 0

    def test_counts_are_whole_numbers(self, counter: TokenCounter, texts: list[str]) -> None:
        """A count is an int of at least 1 for text that is not white space."""
        for text in texts:
            count = counter.count(text)
            assert type(count) is int
            assert count >= bool(text.strip())

    def test_many_equals_one_by_one(self, counter: TokenCounter, texts: list[str]) -> None:
        """`count_many` gives what `count` gives for each text."""
        assert counter.count_many(texts) == [counter.count(text) for text in texts]

    def test_serves_many_threads(self, counter: TokenCounter, texts: list[str]) -> None:
        """Eight threads at once get what one gets alone."""
        alone = [counter.count(text) for text in texts]
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(counter.count, texts)) == alone
