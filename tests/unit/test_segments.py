"""Segments: every span of a passage is in one, none is longer than the window."""

from __future__ import annotations

import numpy as np
import pytest
from tokenizers import Tokenizer

from ctxpack.scoring.manifest import MODELS
from ctxpack.scoring.segments import QUERY_WINDOW, WINDOW, WordPieces, word_key
from ctxpack.selection import Passage, Span, SplitPassage


@pytest.fixture(scope="module")
def pieces() -> WordPieces:
    """Return the bundled tokenizer."""
    return WordPieces(Tokenizer.from_file(str(MODELS / "tokenizer.json")))


def passage(*sentences: str, title: str | None = None) -> SplitPassage:
    """Return a passage with one span a sentence."""
    ends = np.cumsum([len(sentence) for sentence in sentences]).tolist()
    spans = tuple(Span(end - len(s), end) for s, end in zip(sentences, ends, strict=True))
    return SplitPassage(Passage("".join(sentences), title=title), spans)


def test_short_passage_is_one_segment(pieces: WordPieces) -> None:
    """Title and special tokens are node 0, tokens of span j are node j + 1."""
    (segment,) = pieces.segments(passage("A cat. ", "A dog.", title="Pets"))
    assert segment.nodes.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 0]
    assert segment.spans.tolist() == [0, 1]


def test_long_passage_is_cut_between_spans(pieces: WordPieces) -> None:
    """Every span is whole in some segment, and no segment exceeds the window."""
    split = passage(*(f"Ship {number} sailed on. " for number in range(200)), title="Ships")
    segments = pieces.segments(split)
    assert {n for segment in segments for n in segment.spans.tolist()} == set(range(200))
    assert all(len(segment.ids) <= WINDOW for segment in segments)
    assert all(np.bincount(segment.nodes)[1:].min() >= 5 for segment in segments)


def test_segments_overlap(pieces: WordPieces) -> None:
    """The last span of a segment is the first of the next."""
    split = passage(*(f"Ship {number} sailed on. " for number in range(200)))
    first, second, *_ = pieces.segments(split)
    assert first.spans[-1] == second.spans[0]


def test_span_longer_than_the_window_is_in_several_segments(pieces: WordPieces) -> None:
    """What cannot fit is cut, and nothing of it is left out."""
    segments = pieces.segments(passage("word " * 600, "End."))
    assert sum((segment.nodes == 1).sum() for segment in segments if 0 in segment.spans) == 600
    assert 1 in segments[-1].spans


def test_span_without_a_token_is_in_no_segment(pieces: WordPieces) -> None:
    """White space has no token; its span is skipped, the others keep their numbers."""
    (segment,) = pieces.segments(passage("One.", "   ", "Two."))
    assert segment.spans.tolist() == [0, 2]


def test_text_without_a_token_has_no_segment(pieces: WordPieces) -> None:
    """Nothing is scored where there is nothing to read."""
    assert pieces.segments(passage("  ")) == []


def test_lone_surrogate_keeps_the_offsets(pieces: WordPieces) -> None:
    """A character that UTF-8 cannot hold is read as one unknown character."""
    assert pieces.tokens("a \ud800 b").starts.tolist() == [0, 4]


def test_query_is_cut_to_its_window(pieces: WordPieces) -> None:
    """A query keeps its special tokens when it is cut."""
    query = pieces.query("word " * 500)
    assert len(query.ids) == QUERY_WINDOW
    assert (query.ids[0], query.ids[-1]) == (pieces.cls, pieces.sep)


def test_word_starts_carry_the_key(pieces: WordPieces) -> None:
    """Continuations and punctuation have key 0; a plural has the key of its singular."""
    tokens = pieces.tokens("Kerensky, ships")
    assert tokens.words[[0, -1]].tolist() == [word_key("kerensky"), word_key("ship")]
    assert not tokens.words[1:-1].any()


@pytest.mark.parametrize(
    ("plural", "singular"), [("cities", "city"), ("houses", "house"), ("cats", "cat")]
)
def test_plural_is_folded(plural: str, singular: str) -> None:
    """Query and passage meet in the singular."""
    assert word_key(plural) == word_key(singular)


@pytest.mark.parametrize("word", ["glass", "bus", "gas"])
def test_final_s_that_is_no_plural_stays(word: str) -> None:
    """Words in ss, us and short words are not cut."""
    assert word_key(word) != word_key(word[:-1])
