"""Baselines of the evaluation: BM25, and sentence embeddings of the base model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch.nn import functional
from transformers import AutoTokenizer, BertModel

from ctxpack.scoring.base import PassageScores
from ctxpack.scoring.segments import word_key
from ctxpack.selection import FloatArray, SplitPassage
from ctxpack.train.bm25 import Bm25


class Bm25Scorer:
    """BM25 over the spans of a call, and over its passages with their titles."""

    def score(self, query: str, passages: Sequence[SplitPassage]) -> list[PassageScores]:
        """Return scores on BM25's own scale."""
        asked = _words(query)
        whole = Bm25(
            [_words(f"{part.passage.title or ''} {part.passage.text}") for part in passages]
        )
        spans = Bm25([_words(text) for part in passages for text in _texts(part)])
        return _assembled(passages, whole.scores(asked), spans.scores(asked))


class EmbeddingScorer:
    """Cosines of mean-pooled embeddings: query with every span, query with every passage.

    Args:
        base: directory of a BERT-style sentence-embedding model with its tokenizer.
    """

    def __init__(self, base: Path) -> None:
        self._tokenizer = AutoTokenizer.from_pretrained(base)
        self._model = BertModel.from_pretrained(base, add_pooling_layer=False).eval()

    def score(self, query: str, passages: Sequence[SplitPassage]) -> list[PassageScores]:
        """Return cosines in [-1, 1]."""
        asked = self._embedded([query])[0]
        whole = self._embedded([part.passage.text for part in passages]) @ asked
        spans = self._embedded([text for part in passages for text in _texts(part)]) @ asked
        return _assembled(passages, whole, spans)

    @torch.no_grad()  # type: ignore[untyped-decorator]  # torch is Any to mypy
    def _embedded(self, texts: list[str]) -> FloatArray:
        order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
        vectors = np.zeros((len(texts), self._model.config.hidden_size), np.float32)
        for start in range(0, len(order), 32):
            rows = order[start : start + 32]
            tokens = self._tokenizer(
                [texts[row] for row in rows],
                padding=True,
                truncation=True,
                max_length=256,
                return_tensors="pt",
            )
            with torch.autocast("cpu", dtype=torch.bfloat16):
                states = self._model(**tokens).last_hidden_state.float()
            mask = tokens["attention_mask"][..., None]
            mean = (states * mask).sum(1) / mask.sum(1)
            vectors[rows] = functional.normalize(mean, dim=-1).numpy()
        return vectors


def _assembled(
    passages: Sequence[SplitPassage], whole: ArrayLike, spans: ArrayLike
) -> list[PassageScores]:
    ends = np.cumsum([len(part.spans) for part in passages])[:-1]
    parts = np.split(np.asarray(spans, np.float32), ends)
    return [
        PassageScores(float(score), part)
        for score, part in zip(np.asarray(whole), parts, strict=True)
    ]


def _texts(part: SplitPassage) -> list[str]:
    return [part.passage.text[span.start : span.end] for span in part.spans]


def _words(text: str) -> list[int]:
    return [word_key(word) for word in re.findall(r"\w+", text.lower())]
