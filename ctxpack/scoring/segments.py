"""Segments: the blocks of a passage that a model encodes in one pass, and the words in them.

A passage that fits the window is one segment; a longer one is cut at span boundaries into
overlapping segments, so that its length never silently changes what is scored. A title is repeated
at the head of every segment: ``[CLS] title [SEP] text [SEP]``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from ctxpack.selection import IntArray, SplitPassage

if TYPE_CHECKING:
    from tokenizers import Tokenizer

WINDOW = 256
"""Most tokens in a segment; the base encoder was trained on no more."""
QUERY_WINDOW = 64
"""Most tokens of a query that are read."""
TITLE_WINDOW = 32
"""Most tokens of a title that are read."""
OVERLAP = 0.25
"""A segment starts with the last span of the one before, if that fills at most this share of it."""
LONE_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Tokens:
    """Word pieces of a text.

    Args:
        ids: (n_tokens,) int64, numbers in the vocabulary.
        words: (n_tokens,) int64, the key of the word that starts at this token, 0 where no word
            starts (continuation, punctuation, special token).
        starts: (n_tokens,) int64, first character of each token.
    """

    ids: IntArray
    words: IntArray
    starts: IntArray


@dataclass(frozen=True, slots=True)
class Segment:
    """What the encoder reads in one pass.

    Args:
        ids: (n_tokens,) int64, with special tokens.
        words: (n_tokens,) int64, word keys as in `Tokens`.
        nodes: (n_tokens,) int64, 0 for special and title tokens, ``1 + j`` for a token of
            ``spans[j]``.
        spans: (n_spans,) int64, numbers of the passage's spans that have a token here.
    """

    ids: IntArray
    words: IntArray
    nodes: IntArray
    spans: IntArray


class WordPieces:
    """Texts to word pieces and word keys, by a BERT-style `tokenizers.Tokenizer`."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._tokenizer = tokenizer
        self.cls = _special(tokenizer, "[CLS]")
        self.sep = _special(tokenizer, "[SEP]")

    def tokens(self, text: str) -> Tokens:
        """Return the word pieces of `text`, without special tokens."""
        # `tokenizers` refuses lone surrogates; one replacement character each keeps the offsets.
        clean = LONE_SURROGATE.sub("\ufffd", text)
        encoding = self._tokenizer.encode(clean, add_special_tokens=False)
        starts = [start for start, _ in encoding.offsets]
        return Tokens(_ints(encoding.ids), _ints(_word_keys(encoding.tokens)), _ints(starts))

    def query(self, text: str) -> Tokens:
        """Return the word pieces of a query as the encoder reads it, cut to `QUERY_WINDOW`."""
        tokens = self.tokens(text)
        body = slice(0, QUERY_WINDOW - 2)
        return Tokens(
            np.concatenate(([self.cls], tokens.ids[body], [self.sep])),
            np.concatenate(([0], tokens.words[body], [0])),
            np.concatenate(([0], tokens.starts[body], [len(text)])),
        )

    def segments(self, passage: SplitPassage) -> list[Segment]:
        """Return the segments of a passage; together they hold every span that has a token."""
        text = self.tokens(passage.passage.text)
        title = self.tokens(passage.passage.title or "")
        n_title = min(len(title.ids), TITLE_WINDOW)
        head_ids = [self.cls, *title.ids[:n_title], *([self.sep] if n_title else [])]
        head_words = [0, *title.words[:n_title], *([0] if n_title else [])]
        capacity = WINDOW - len(head_ids) - 1
        ends = np.array([span.end for span in passage.spans])
        span_of = np.searchsorted(ends, text.starts, side="right")
        segments = []
        for begin, end in _blocks(span_of, capacity):
            spans, nodes = np.unique(span_of[begin:end], return_inverse=True)
            segments.append(
                Segment(
                    ids=np.concatenate((head_ids, text.ids[begin:end], [self.sep])),
                    words=np.concatenate((head_words, text.words[begin:end], [0])),
                    nodes=np.concatenate((np.zeros(len(head_ids), np.int64), nodes + 1, [0])),
                    spans=spans,
                )
            )
        return segments


def _blocks(span_of: IntArray, capacity: int) -> Iterator[tuple[int, int]]:
    """Yield token ranges of at most `capacity`, cut between spans where a span fits at all."""
    n_tokens = len(span_of)
    begin = 0
    while n_tokens - begin > capacity:
        cut = begin + capacity
        bounds = begin + 1 + np.flatnonzero(np.diff(span_of[begin : cut + 1]))
        end = int(bounds[-1]) if len(bounds) else cut
        yield begin, end
        last = int(bounds[-2]) if len(bounds) > 1 else end
        begin = last if end - last <= OVERLAP * capacity else end
    if n_tokens > begin:
        yield begin, n_tokens


def _word_keys(pieces: Sequence[str]) -> list[int]:
    """Return the key of the word that starts at each piece: ``["play", "##s"]`` → ``[k, 0]``."""
    keys = [0] * len(pieces)
    end = len(pieces)
    for start in range(len(pieces) - 1, -1, -1):
        if pieces[start].startswith("##"):
            continue
        word = pieces[start] + "".join(piece[2:] for piece in pieces[start + 1 : end])
        keys[start] = word_key(word)
        end = start
    return keys


@lru_cache(maxsize=100_000)
def word_key(word: str) -> int:
    """Return a number in [1, 2**31) for a lower-case word, the same for its plural; 0 for marks.

    Plurals are folded by the S-stemmer (Harman, "How effective is suffixing?", 1991).
    """
    if not any(character.isalnum() for character in word):
        return 0
    if len(word) > 3:
        if word.endswith("ies") and word[-4] not in "ae":
            word = word[:-3] + "y"
        elif word.endswith("es") and word[-3] not in "aeo":
            word = word[:-1]
        elif word.endswith("s") and word[-2] not in "us":
            word = word[:-1]
    return crc32(word.encode()) >> 1 | 1


def _special(tokenizer: Tokenizer, token: str) -> int:
    number = tokenizer.token_to_id(token)
    if number is None:
        raise ValueError(f"tokenizer: no {token!r} in its vocabulary")
    return int(number)


def _ints(values: Sequence[int]) -> IntArray:
    return np.array(values, dtype=np.int64)
