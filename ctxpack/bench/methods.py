"""What a method keeps of the passages of a record: a pipeline, baselines, a perfect choice."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ctxpack.bench.retention import Stretch, evidence_of
from ctxpack.cache.base import SegmentCache
from ctxpack.errors import MissingExtraError
from ctxpack.pipeline import Pipeline
from ctxpack.render import Render, Renderer
from ctxpack.scoring.terms import terms
from ctxpack.selection import BoolArray, Passage, Selection
from ctxpack.tokens import TokenCounter
from ctxpack.train.bm25 import Bm25
from ctxpack.train.records import Record

PLAIN = Render(template="{body}", separator="\n", gap="")
"""Writes the kept spans and nothing else."""


class Choice(NamedTuple):
    """What a method keeps, and the text that a model would read."""

    kept: Sequence[Stretch]
    text: str


Choose = Callable[[Render, int], Choice]
"""Keeps of one record what fits a budget, in tokens, as it is rendered."""

Method = Callable[[Record], Choose]
"""Reads a record once, for all renderings and budgets."""


def passages_of(record: Record) -> list[Passage]:
    """Return the passages of a record."""
    return [candidate.passage for candidate in record.candidates]


def input_token_count(counter: TokenCounter, record: Record, render: Render) -> int:
    """Return the tokens of all passages of a record, rendered."""
    return counter.count(_text(_selected(record), render))


def pipeline_method(pipeline: Pipeline, *, cache: SegmentCache) -> Method:
    """Return the method that a pipeline is.

    Args:
        pipeline: the pipeline.
        cache: holds what a pointwise scorer computed for one budget, for the others.
    """
    if pipeline.scorer.pointwise:
        pipeline = Pipeline.from_recipe(pipeline, cache=cache)

    @lru_cache
    def rendering(render: Render) -> Pipeline:
        return Pipeline.from_recipe(pipeline, render=render)

    def method(record: Record) -> Choose:
        def choose(render: Render, budget: int) -> Choice:
            compress = rendering(render).compress
            packed = compress(record.query, passages_of(record), budget=budget)
            kept = [Stretch(e.passage_index, e.start, e.end) for e in packed.evidence]
            return Choice(kept, packed.text)

        return choose

    return method


@dataclass(frozen=True, slots=True)
class Baselines:
    """Simple methods, rendered like a pipeline's output and cut to the budget exactly."""

    counter: TokenCounter

    def first_tokens(self, record: Record) -> Choose:
        """Keep spans from the top, until one does not fit."""
        selection = _selected(record)
        return self._first(selection, range(len(selection.spans)))

    def passage_bm25(self, record: Record) -> Choose:
        """Keep passages by BM25 of title and text; of the last one its first spans that fit."""
        selection = _selected(record)
        texts = [f"{passage.title or ''} {passage.text}" for passage in selection.passages]
        return self._best(selection, _bm25(record.query, texts)[selection.passage_of])

    def span_bm25(self, record: Record) -> Choose:
        """Keep spans by BM25 of their text, until one does not fit."""
        selection = _selected(record)
        texts = map(selection.text_of, range(len(selection.spans)))
        return self._best(selection, _bm25(record.query, texts))

    def span_embeddings(self, path: Path) -> Method:
        """Return the method that keeps spans by the cosine of sentence embeddings.

        Args:
            path: directory of a BERT-style sentence-embedding model.

        Raises:
            MissingExtraError: ``torch`` or ``transformers`` is not installed.
        """
        try:
            from ctxpack.train.baselines import EmbeddingScorer
        except ImportError as error:
            raise MissingExtraError("a baseline of embeddings", "torch") from error
        scorer = EmbeddingScorer(path)

        def method(record: Record) -> Choose:
            parts = scorer.score(record.query, [candidate.split for candidate in record.candidates])
            return self._best(_selected(record), np.concatenate([part.spans for part in parts]))

        return method

    def perfect(self, record: Record) -> Choose:
        """Keep evidence, cheapest first, as long as it fits: close to the best that can be done."""
        selection = _selected(record)
        units = [_covering(selection, stretch) for stretch in evidence_of(record)]

        def choose(render: Render, budget: int) -> Choice:
            def cost(mask: BoolArray) -> int:
                return self.counter.count(_text(_keep(selection, mask), render))

            best = np.zeros(len(selection.spans), dtype=np.bool_)
            for unit in sorted(units, key=cost):
                if cost(best | unit) <= budget:
                    best |= unit
            return _choice(_keep(selection, best), render)

        return choose

    def _best(self, selection: Selection, scores: ArrayLike) -> Choose:
        """Keep the spans of the highest scores, ties in order, as many as fit."""
        return self._first(selection, np.argsort(-np.asarray(scores), kind="stable").tolist())

    def _first(self, selection: Selection, order: Sequence[int]) -> Choose:
        """Keep the first spans of an order, as many as fit."""

        def first(n: int) -> Selection:
            mask = np.zeros(len(order), dtype=np.bool_)
            mask[list(order[:n])] = True
            return _keep(selection, mask)

        def choose(render: Render, budget: int) -> Choice:
            numbers = range(len(order) + 1)
            fitting = bisect_right(
                numbers, budget, key=lambda n: self.counter.count(_text(first(n), render))
            )
            return _choice(first(fitting - 1), render)

        return choose


def _bm25(query: str, texts: Iterable[str]) -> NDArray[np.float64]:
    return Bm25(list(map(terms, texts))).scores(terms(query))


def _selected(record: Record) -> Selection:
    return Selection.of(record.query, [candidate.split for candidate in record.candidates])


def _keep(selection: Selection, mask: BoolArray) -> Selection:
    return selection.drop(~mask, stage="bench", reason="not_chosen")


def _covering(selection: Selection, stretch: Stretch) -> BoolArray:
    """Return the (n_spans,) bool mask of the spans that hold a stretch, and what they require."""
    overlaps = [span.start < stretch.end and stretch.start < span.end for span in selection.spans]
    return selection.with_required(overlaps & (selection.passage_of == stretch.passage_index))


def _text(selection: Selection, render: Render) -> str:
    return Renderer(render, selection.passages).write(selection).text


def _choice(selection: Selection, render: Render) -> Choice:
    kept = [
        Stretch(int(selection.passage_of[number]), *selection.spans[number][:2])
        for number in np.flatnonzero(selection.kept).tolist()
    ]
    return Choice(kept, _text(selection, render))
