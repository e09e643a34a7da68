"""Segments: every span of a passage is in one, none is longer than the window."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from ctxpack.scoring.base import TextSegment
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


LONG = {
    "span longer than the window": ["word " * 600, "End."],
    "sentences": [f"Ship {number} sailed on. " for number in range(100)],
    "emoji": ["Ships 😀 sail 👩‍👩‍👧! " * 150, "🎉" * 400],
    "lone surrogates": ["A \ud800 b\udc00c " * 300],
    "CJK": ["灯台は1871年に点灯しました。" * 40, "船が通る" * 100],
    "Hangul": ["등대는 바다를 지킨다. " * 60],
    "accents": ["Ve\u0301lo \u0301a\u0300 la\u0308st x\u302e. " * 100],
    "no spaces": ["unimaginablelighthouse" * 100, "/harbour-commissioners" * 200],
    "spans cut words": ["light", "houses are tall and harb", "ours deep. " * 150],
    "control characters": ["ab\x00cd\ufffdef\u200bgh \x07ij. " * 120],
    "special tokens": ["A[SEP]b [MASK] [CLS]c [UNK]. " * 120],
}


@pytest.mark.parametrize("sentences", LONG.values(), ids=LONG)
def test_segment_read_alone_has_the_tokens_it_has_inside(
    pieces: WordPieces, sentences: list[str]
) -> None:
    """A passage is cut at word starts only, and no token is lost or changed by a cut."""
    whole = TextSegment.of(passage(*sentences, title="Ships"))
    starts = pieces.tokens(whole.text).starts
    cuts = pieces.cuts(whole)
    assert len(cuts) > 1
    for start, end in cuts:
        inside = (starts >= start) & (starts < end)
        ids = pieces.tokens(whole.text).ids[inside]
        assert len(ids) <= WINDOW - 4
        assert pieces.tokens(whole.text[start:end]).ids.tolist() == ids.tolist()


@pytest.mark.parametrize("sentences", LONG.values(), ids=LONG)
def test_segments_cover_the_passage(pieces: WordPieces, sentences: list[str]) -> None:
    """Every character is in a segment, with the number of the span that it is of."""
    split = passage(*sentences)
    whole = TextSegment.of(split)
    parts = [whole.part(*cut) for cut in pieces.cuts(whole)]
    assert parts[0].text == whole.text[: len(parts[0].text)]
    assert parts[-1].text == whole.text[-len(parts[-1].text) :]
    for part, (start, end) in zip(parts, pieces.cuts(whole), strict=True):
        spans = split.spans[part.first : part.first + len(part.ends)]
        assert [min(span.end, end) - start for span in spans] == list(part.ends)
        assert spans[0].start <= start < spans[0].end
        assert spans[-1].start < end <= spans[-1].end


@settings(max_examples=60, deadline=None)
@given(text=st.text(alphabet=st.characters(), min_size=1, max_size=400), title=st.text(max_size=3))
def test_any_text_is_cut_without_a_change_of_words(
    pieces: WordPieces, text: str, title: str
) -> None:
    """What the segments of a passage read, side by side, is what the passage reads."""
    whole = TextSegment.of(passage(text * (1500 // len(text)), title=title))
    last, ids = 0, []
    for start, end in pieces.cuts(whole):
        ids += pieces.tokens(whole.text[max(start, last) : end]).ids.tolist()
        last = end
    assert ids == pieces.tokens(whole.text).ids.tolist()


def test_content_tells_segments_apart() -> None:
    """Title, text and ends all count, and nothing moves from one to the other unseen."""
    parts = [
        TextSegment("a", "bc", (2,)),
        TextSegment("ab", "c", (1,)),
        TextSegment("", "abc", (3,)),
        TextSegment("a", "bc", (1, 2)),
        TextSegment("a", "b\ud800", (2,)),
        TextSegment("a", "b\ufffd", (2,)),
    ]
    assert len({part.content for part in parts}) == len(parts)
    assert parts[0].content == parts[0]._replace(first=3).content


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
