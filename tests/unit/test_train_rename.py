"""Renamed batches: other names in the same places, the same in every text."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from ctxpack.scoring.rarity import RarityTable
from ctxpack.scoring.segments import Query, Segment, WordPieces, word_key
from ctxpack.selection import Passage, SplitPassage
from ctxpack.sentences import split
from ctxpack.train.pieces import word_pieces
from ctxpack.train.rename import Names, Spellings

TEXTS = (
    "The ship was built by Annabel Forsyth. In spring Forsyth sold it to Quimby of Leith.",
    "It sank off Leith with oil from Quimby. Nobody told Annabel.",
    "Once the poet Ingrid met Ostrander and Valdemar. Later Ingrid met Valdemar and Ostrander.",
    "Nobody in Leith was a smith. Nobody knew of Smith, who met Smith again: a smith. Nobody.",
    "So Ostrander hired Hepzibah.",
)
QUESTION = "To whom did Forsyth sell the ship?"
NAMES = ("annabel", "forsyth", "ingrid", "leith", "ostrander", "quimby", "valdemar")


@pytest.fixture(scope="module")
def pieces() -> WordPieces:
    """Return the tokenizer."""
    return word_pieces()


def table(common: tuple[str, ...] = ()) -> RarityTable:
    """Return a table in which some words are common."""
    keys = np.array(sorted(map(word_key, ("the", *common))), np.int64)
    return RarityTable(keys, np.full(len(keys), 0.1, np.float32))


@pytest.fixture(scope="module")
def spellings() -> Spellings:
    """Return what the texts say of spellings."""
    return Spellings.of(TEXTS)


def batch(pieces: WordPieces) -> tuple[list[Segment], list[Query]]:
    """Return the first two texts under the title "Leith", and the question."""
    segments = [
        pieces.segments(SplitPassage(Passage(text, title="Leith"), split(text)))[0]
        for text in TEXTS[:2]
    ]
    return segments, [pieces.query(QUESTION)]


def renamed(pieces: WordPieces, names: Names, seed: int = 0) -> tuple[list[Segment], list[Query]]:
    """Return the batch with other names."""
    return names.renamed(*batch(pieces), np.random.default_rng(seed))


def test_names_are_words_with_a_capital_within_sentences(spellings: Spellings) -> None:
    """What only begins sentences is no name, nor what stands small elsewhere or is seen once."""
    keys = set(spellings.names(table()).keys.tolist())
    assert keys == {word_key(name) for name in NAMES}


def test_common_names_stay(spellings: Spellings) -> None:
    """A name that the base has surely read is not replaced."""
    keys = spellings.names(table(("leith",))).keys.tolist()
    assert word_key("leith") not in keys
    assert word_key("quimby") in keys


def test_a_name_is_the_same_in_every_text(pieces: WordPieces, spellings: Spellings) -> None:
    """Words that were equal stay equal across segments, title and query, and others stay apart."""
    before, asked = batch(pieces)
    n_changed = 0
    for seed in range(10):
        after, asking = renamed(pieces, spellings.names(table()), seed)
        old = np.concatenate([_words(text) for text in (*before, *asked)])
        new = np.concatenate([_words(text) for text in (*after, *asking)])
        other = dict(zip(old.tolist(), new.tolist(), strict=True))
        assert [other[key] for key in old.tolist()] == new.tolist()
        assert len(set(other.values())) == len(other)
        n_changed += sum(key != name for key, name in other.items())
    assert n_changed > 10


def test_what_is_no_name_stays_in_place(pieces: WordPieces, spellings: Spellings) -> None:
    """Every span keeps its words that are no names, and has pieces for all of its words."""
    before, _ = batch(pieces)
    names = {word_key(name) for name in NAMES}
    after, asking = renamed(pieces, spellings.names(table()))
    for old, new in zip(before, after, strict=True):
        assert new.ids.shape == new.words.shape == new.nodes.shape
        assert new.spans.tolist() == old.spans.tolist()
        for node in range(1 + len(old.spans)):
            was, is_now = old.words[old.nodes == node], new.words[new.nodes == node]
            kept = [key for key in was.tolist() if key and key not in names]
            assert kept == [key for key in is_now.tolist() if key and key not in names]
    assert asking[0].ids.shape == asking[0].words.shape == asking[0].told.shape


def test_pieces_go_with_their_word(pieces: WordPieces, spellings: Spellings) -> None:
    """A replaced name has all pieces of the other and none of its own: read back, it is a word."""
    (segment, _), _ = renamed(pieces, spellings.names(table()))
    vocabulary = {number: piece for piece, number in pieces._tokenizer.get_vocab().items()}
    text = " ".join(vocabulary[number] for number in segment.ids.tolist()).replace(" ##", "")
    tokens = pieces.tokens(text.replace("[CLS]", "").replace("[SEP]", ""))
    wanted = segment.words[segment.words != 0]
    assert tokens.words[tokens.words != 0].tolist() == wanted.tolist()


def _words(text: Segment | Query) -> np.ndarray:
    return text.words[text.words != 0]
