"""Segments: the blocks of a passage that a model encodes in one pass, and the words in them.

A passage that fits the window is one segment; a longer one is cut at span boundaries into
overlapping segments, so that its length never silently changes what is scored. A title is repeated
at the head of every segment: ``[CLS] title [SEP] text [SEP]``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from ctxpack.scoring.base import EVIDENCE_MARK, TextSegment
from ctxpack.selection import BoolArray, IntArray, SplitPassage

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

WINDOW = 256
"""Most tokens in a segment; the base encoder was trained on no more."""
QUERY_WINDOW = 64
"""Most tokens of a question that are read."""
EVIDENCE_WINDOW = 96
"""Most tokens that are read of the evidence found for a question."""
TITLE_WINDOW = 32
"""Most tokens of a title that are read."""
OVERLAP = 0.25
"""A segment starts with the last span of the one before, if that fills at most this share of it."""
SURELY_FITS = WINDOW - TITLE_WINDOW - 3
"""Most characters of an ASCII text that is one segment whatever it says: no token is shorter."""
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
class Query:
    """What the model reads of a query: ``[CLS] question [SEP]``, or also ``evidence [SEP]``.

    Args:
        ids: (n_tokens,) int64, with special tokens.
        words: (n_tokens,) int64, word keys as in `Tokens`.
        told: (n_tokens,) int64, 1 for the tokens of evidence, else 0.
    """

    ids: IntArray
    words: IntArray
    told: IntArray

    def with_evidence(self, ids: IntArray, words: IntArray) -> Query:
        """Return the query with found evidence behind it, cut to `EVIDENCE_WINDOW`."""
        body = slice(0, EVIDENCE_WINDOW - 1)
        n_told = len(ids[body]) + 1
        return Query(
            np.concatenate((self.ids, ids[body], self.ids[-1:])),
            np.concatenate((self.words, words[body], [0])),
            np.concatenate((self.told, np.ones(n_told, np.int64))),
        )


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
        encoding = self._encoding(text)
        starts = [start for start, _ in encoding.offsets]
        return Tokens(_ints(encoding.ids), _ints(_word_keys(encoding.tokens)), _ints(starts))

    def query(self, text: str) -> Query:
        """Return what the model reads of a query, which may be an `extended` one."""
        first, _, evidence = text.partition(EVIDENCE_MARK)
        tokens = self.tokens(first)
        body = slice(0, QUERY_WINDOW - 2)
        query = Query(
            np.concatenate(([self.cls], tokens.ids[body], [self.sep])),
            np.concatenate(([0], tokens.words[body], [0])),
            np.zeros(len(tokens.ids[body]) + 2, np.int64),
        )
        found = self.tokens(evidence)
        return query.with_evidence(found.ids, found.words) if len(found.ids) else query

    def segments(self, passage: SplitPassage) -> list[Segment]:
        """Return the segments of a passage; together they hold every span that has a token."""
        whole = TextSegment.of(passage)
        found = []
        for start, end in self.cuts(whole):
            part = whole.part(start, end)
            segment = self.read(part)
            if len(segment.spans):
                found.append(replace(segment, spans=segment.spans + part.first))
        return found

    def read(self, segment: TextSegment) -> Segment:
        """Return a segment as the encoder reads it; its `spans` are numbered from 0."""
        text, title = self.tokens(segment.text), self.tokens(segment.title)
        n_title = min(len(title.ids), TITLE_WINDOW)
        head_ids = [self.cls, *title.ids[:n_title], *([self.sep] if n_title else [])]
        head_words = [0, *title.words[:n_title], *([0] if n_title else [])]
        span_of = np.searchsorted(segment.ends, text.starts, side="right")
        spans, nodes = np.unique(span_of, return_inverse=True)
        return Segment(
            ids=np.concatenate((head_ids, text.ids, [self.sep])),
            words=np.concatenate((head_words, text.words, [0])),
            nodes=np.concatenate((np.zeros(len(head_ids), np.int64), nodes + 1, [0])),
            spans=spans,
        )

    def cuts(self, whole: TextSegment) -> tuple[tuple[int, int], ...]:
        """Return the character ranges of a passage's segments; one range where it fits the window.

        Cuts are at word starts, so that a segment read alone has the tokens that it has inside.
        """
        n_title = min(len(self._encoding(whole.title)), TITLE_WINDOW)
        capacity = WINDOW - n_title - (3 if n_title else 2)
        encoding = self._encoding(whole.text)
        n_tokens = len(encoding)
        if n_tokens <= capacity:
            return ((0, len(whole.text)),)
        starts = _ints([start for start, _ in encoding.offsets])
        span_of = np.searchsorted(whole.ends, starts, side="right")
        is_word = np.array([not piece.startswith("##") for piece in encoding.tokens])
        is_first = is_word & (np.diff(span_of, prepend=-1) > 0)
        # White space before the first word of a span belongs to it.
        places = np.where(is_first, np.array([0, *whole.ends])[span_of], starts).tolist()
        places = [0, *places[1:], len(whole.text)]
        blocks = _blocks(is_word, is_first, capacity)
        return tuple((places[begin], places[end]) for begin, end in blocks)

    def _encoding(self, text: str) -> Encoding:
        # `tokenizers` refuses lone surrogates; one replacement character each keeps the offsets.
        clean = LONE_SURROGATE.sub("\ufffd", text)
        return self._tokenizer.encode(clean, add_special_tokens=False)


def _blocks(is_word: BoolArray, is_first: BoolArray, capacity: int) -> Iterator[tuple[int, int]]:
    """Yield token ranges of at most `capacity`, cut between spans where a span fits at all.

    Args:
        is_word: (n_tokens,) whether a word starts at a token.
        is_first: (n_tokens,) whether a span starts at it, too.
        capacity: most tokens; more than a word can have.
    """
    n_tokens = len(is_word)
    begin = 0
    while n_tokens - begin > capacity:
        within = slice(begin + 1, begin + capacity + 1)
        bounds = begin + 1 + np.flatnonzero(is_first[within])
        end = int(bounds[-1] if len(bounds) else begin + 1 + np.flatnonzero(is_word[within])[-1])
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
