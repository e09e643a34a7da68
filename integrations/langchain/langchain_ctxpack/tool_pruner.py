"""Prunes the texts of a tool's result against a request."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import NamedTuple

from ctxpack import PackedContext, Pipeline
from langchain_ctxpack.block_reading import BlockReading
from langchain_ctxpack.json_reading import JsonReading
from langchain_ctxpack.line_reading import LineReading, is_lines
from langchain_ctxpack.reading import ProseReading, Reading
from langchain_ctxpack.settings import RecipeSource, pipeline_of

MAX_BLOCK_CHARS = 1200
"""Of blocks of lines; the engine's own bound for code."""

CHARS_PER_TOKEN = 2
"""Few texts have fewer, so a block of that many for each token of the budget mostly fits it."""

ERROR = (
    r"\b(?:ERROR|FATAL|CRITICAL|FAILED)\b"
    r"|Traceback \(most recent call last\)"
    r"|(?m:^[^\w\n]*(?:Caused by: |Exception in |(?:\w+\.)*[A-Z]\w*(?:Error|Exception)(?::|$)))"
    r"|(?i:\b(?:error|fatal|panic)(?:\[\w+\])?:)"
)
"""What an error looks like in a log, a traceback or a compiler's output; not in source code."""

_PRUNE = ["score", {"prune": {"threshold": 0, "pins": [ERROR]}}, "select", {"order": "document"}]


class Pruned(NamedTuple):
    """A pruned result.

    Args:
        texts: by number of the text that came in; one that is missing was left out.
        mark: a text to add, None when it already stands in the only text.
        id: names what was left out; the same for the same texts and query.
        dropped: what was left out, verbatim and in order.
    """

    texts: dict[int, str]
    mark: str | None
    id: str
    dropped: list[str]


class ToolPruner:
    """Prunes texts by a recipe; of what must stay whole, it keeps what the recipe's scorer prefers.

    Args:
        recipe: for text that may be cut between sentences and blocks; None for one that keeps what
            scores best, and what looks like an error before anything else.
        budget: most tokens of a result, the mark included.

    Attributes:
        pipeline: prunes text that may be cut.

    Raises:
        ValueError: the recipe breaks a rule, or the mark alone is over the budget.
    """

    def __init__(self, recipe: RecipeSource | None, *, budget: int) -> None:
        lenient = {"on_error": "passthrough", "pin_overflow": "degrade"}
        data = {**pipeline_of("balanced").recipe.to_data(), **lenient, "steps": _PRUNE}
        self.pipeline = pipeline_of(data if recipe is None else recipe)
        self._scoring = Pipeline.from_recipe(
            {**self.pipeline.recipe.to_data(), "budget": None, "steps": ["score"]},
            # Rows and lines are no sentences: without a recipe of their own, words decide.
            scorer="lexical" if recipe is None else self.pipeline.scorer,
            token_counter=self.pipeline.token_counter,
        )
        self._budget = budget
        least = self.count(JsonReading('{"":0}', _mark("0" * 10)).empty())
        if budget < least:
            raise ValueError(f"`budget` must be at least {least}, for the mark, got {budget}")

    def count(self, text: str) -> int:
        """Return the tokens of a text."""
        return self.pipeline.token_counter.count(text)

    def prune(self, texts: Sequence[str], query: str) -> Pruned | None:
        """Return the texts within the budget; None when nothing is left out."""
        whole = "\0".join([query, *texts]).encode(errors="surrogatepass")
        id = hashlib.sha256(whole).hexdigest()[:10]
        reading = self._read(texts, _mark(id))
        if all(reading.is_whole):
            packed = self._scoring.compress(query, reading.units)
            bodies = self._chosen(reading, packed)
        else:
            packed = self.pipeline.compress(
                query, reading.units, budget=self._budget, layout=reading
            )
            bodies = [(kept.passage_index, kept.text) for kept in packed.passages]
        dropped = reading.dropped_of(bodies, packed)
        if not dropped:
            return None
        if isinstance(reading, BlockReading):
            return Pruned(reading.kept(bodies), reading.mark, id, dropped)
        text = reading.join(bodies)
        if self.count(text) > self._budget:  # what cannot be left out does not fit
            text, dropped = reading.empty(), list(texts)
        return Pruned({0: text}, None, id, dropped)

    def _read(self, texts: Sequence[str], mark: str) -> Reading:
        if len(texts) > 1:
            return BlockReading(texts, mark)
        text = texts[0]
        if text.lstrip()[:1] in {"[", "{"}:
            try:
                return JsonReading(text, mark)
            except (ValueError, RecursionError):
                pass  # something else that starts with a bracket
        if is_lines(text):
            room = CHARS_PER_TOKEN * (self._budget - self.count(mark))
            return LineReading(text, mark, block_chars=min(MAX_BLOCK_CHARS, room))
        return ProseReading(text, mark)

    def _chosen(self, reading: Reading, packed: PackedContext) -> list[tuple[int, str]]:
        """Return the units to keep: header, errors, then by score, as long as they fit."""
        scores = {kept.passage_index: kept.score or 0.0 for kept in packed.passages}
        texts = [unit.text for unit in reading.units]
        costs = self.pipeline.token_counter.count_many(texts)
        ranks = [
            (number != reading.header, not re.search(ERROR, text), -scores.get(number, 0.0))
            for number, text in enumerate(texts)
        ]
        order = sorted(range(len(texts)), key=ranks.__getitem__)
        room, chosen = self._budget - self.count(reading.join([])), []
        for number in order:
            if costs[number] <= room:
                chosen.append(number)
                room -= costs[number]
        # Separators and marks of gaps are not planned for.
        while chosen:
            bodies = [(number, texts[number]) for number in sorted(chosen)]
            if self.count(reading.join(bodies)) <= self._budget:
                return bodies
            chosen.pop()
        return []


def _mark(id: str) -> str:
    return f"[parts left out; to read them: expand_context(id='{id}')]"
