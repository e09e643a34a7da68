"""What a method keeps of the passages of a query: a pipeline, two baselines, a perfect choice."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ctxpack.bench.retention import Stretch, evidence_of
from ctxpack.errors import MissingExtraError
from ctxpack.pipeline import Pipeline
from ctxpack.render import Render, Renderer
from ctxpack.scoring.terms import terms
from ctxpack.selection import BoolArray, Passage, Selection, SplitPassage
from ctxpack.sentences import split
from ctxpack.tokens import TokenCounter
from ctxpack.train.bm25 import Bm25
from ctxpack.train.records import Record


class Choice(NamedTuple):
    """What a method keeps, and the text that a model would read."""

    kept: Sequence[Stretch]
    text: str


Method = Callable[[str, Sequence[Passage], int], Choice]
"""Chooses from the passages of a query what to keep within a budget, in tokens."""

Choose = Callable[[Record, int], Choice]
"""The same on a record, of which only a perfect choice reads more than query and passages."""


def on_records(method: Method) -> Choose:
    """Return `method` as it applies to records."""
    return lambda record, budget: method(record.query, passages_of(record), budget)


def passages_of(record: Record) -> list[Passage]:
    """Return the passages of a record."""
    return [candidate.passage for candidate in record.candidates]


def input_token_count(counter: TokenCounter, record: Record) -> int:
    """Return the tokens of all passages of a record, rendered."""
    return counter.count(_text(_select(record.query, passages_of(record))))


def pipeline_method(pipeline: Pipeline) -> Method:
    """Return the method that a pipeline is."""

    def compress(query: str, passages: Sequence[Passage], budget: int) -> Choice:
        packed = pipeline.compress(query, passages, budget=budget)
        kept = [Stretch(e.passage_index, e.start, e.end) for e in packed.evidence]
        return Choice(kept, packed.text)

    return compress


@dataclass(frozen=True, slots=True)
class Baselines:
    """Simple methods, rendered like a pipeline's output and cut to the budget exactly."""

    counter: TokenCounter

    def first_tokens(self, query: str, passages: Sequence[Passage], budget: int) -> Choice:
        """Keep spans from the top, until one does not fit."""
        selection = _select(query, passages)
        return self._longest(selection, range(len(selection.spans)), budget)

    def passage_bm25(self, query: str, passages: Sequence[Passage], budget: int) -> Choice:
        """Keep passages by BM25 of title and text; of the last one its first spans that fit."""
        selection = _select(query, passages)
        scores = _bm25(query, [f"{passage.title or ''} {passage.text}" for passage in passages])
        order = np.argsort(-scores[selection.passage_of], kind="stable")
        return self._longest(selection, order.tolist(), budget)

    def span_bm25(self, query: str, passages: Sequence[Passage], budget: int) -> Choice:
        """Keep spans by BM25 of their text, until one does not fit."""
        selection = _select(query, passages)
        scores = _bm25(query, [selection.text_of(n) for n in range(len(selection.spans))])
        order = np.argsort(-scores, kind="stable")
        return self._longest(selection, order.tolist(), budget)

    def span_embeddings(self, path: Path) -> Method:
        """Return the method that keeps spans by the cosine of sentence embeddings.

        Args:
            path: directory of a Sentence Transformers model.

        Raises:
            MissingExtraError: ``sentence-transformers`` is not installed.
        """
        cosines = _cosines(path)

        def choose(query: str, passages: Sequence[Passage], budget: int) -> Choice:
            selection = _select(query, passages)
            scores = cosines(query, [selection.text_of(n) for n in range(len(selection.spans))])
            return self._longest(selection, np.argsort(-scores, kind="stable").tolist(), budget)

        return choose

    def perfect(self, record: Record, budget: int) -> Choice:
        """Keep evidence, cheapest first, as long as it fits: close to the best that can be done."""
        selection = _select(record.query, passages_of(record))
        units = [_covering(selection, stretch) for stretch in evidence_of(record)]
        units.sort(key=lambda unit: self._count(_keep(selection, unit)))
        best = np.zeros(len(selection.spans), dtype=np.bool_)
        for unit in units:
            if self._count(_keep(selection, best | unit)) <= budget:
                best |= unit
        return _choice(_keep(selection, best))

    def _count(self, selection: Selection) -> int:
        return self.counter.count(_text(selection))

    def _longest(self, selection: Selection, order: Sequence[int], budget: int) -> Choice:
        """Return the first spans of an order, as many as fit."""

        def first(n: int) -> Selection:
            mask = np.zeros(len(order), dtype=np.bool_)
            mask[list(order[:n])] = True
            return _keep(selection, mask)

        fitting = bisect_right(range(len(order) + 1), budget, key=lambda n: self._count(first(n)))
        return _choice(first(fitting - 1))


def _bm25(query: str, texts: Sequence[str]) -> NDArray[np.float64]:
    return Bm25(list(map(terms, texts))).scores(terms(query))


def _cosines(path: Path) -> Callable[[str, Sequence[str]], NDArray[np.float64]]:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise MissingExtraError("a baseline of embeddings", "torch") from error
    model = SentenceTransformer(str(path), device="cpu")

    def cosines(query: str, texts: Sequence[str]) -> NDArray[np.float64]:
        if not texts:
            return np.zeros(0)
        vectors = model.encode([query, *texts], normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vectors[1:] @ vectors[0], dtype=np.float64)

    return cosines


def _select(query: str, passages: Sequence[Passage]) -> Selection:
    return Selection.of(query, [SplitPassage(p, split(p.text)) for p in passages])


def _keep(selection: Selection, mask: BoolArray) -> Selection:
    return selection.drop(~mask, stage="bench", reason="not_chosen")


def _covering(selection: Selection, stretch: Stretch) -> BoolArray:
    """Return the (n_spans,) bool mask of the spans that hold a stretch, and what they require."""
    overlaps = [span.start < stretch.end and stretch.start < span.end for span in selection.spans]
    return selection.with_required(overlaps & (selection.passage_of == stretch.passage_index))


def _text(selection: Selection) -> str:
    return Renderer(Render(), selection.passages).write(selection).text


def _choice(selection: Selection) -> Choice:
    kept = [
        Stretch(int(selection.passage_of[number]), *selection.spans[number][:2])
        for number in np.flatnonzero(selection.kept).tolist()
    ]
    return Choice(kept, _text(selection))
