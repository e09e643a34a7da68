"""Rearranged passages: other places and dress for the same evidence."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from ctxpack.scoring.segments import WINDOW, Segment, WordPieces
from ctxpack.selection import Passage, SplitPassage
from ctxpack.sentences import split
from ctxpack.train.batches import Batch, Pair
from ctxpack.train.mixture import Augment
from ctxpack.train.pieces import word_pieces
from ctxpack.train.rearrange import rearranged

TEXTS = (
    "It rained all week. Ann built the ship. It sank. Nobody wrote it down.",
    "Oats are sown in spring. They are cut in August.",
)
LABELS = (np.array([0, 1, 0, 0], np.float32), np.zeros(2, np.float32))


@pytest.fixture(scope="module")
def pieces() -> WordPieces:
    """Return the tokenizer."""
    return word_pieces()


def batch(labels: tuple[np.ndarray | None, np.ndarray | None] = LABELS) -> Batch:
    """Return two units that one question is asked of; the first is relevant."""
    pairs = [[Pair(0, number == 0, part)] for number, part in enumerate(labels)]
    return Batch(units=[0, 1], questions=[], pairs=pairs)


def segments(pieces: WordPieces) -> list[Segment]:
    """Return the segments of both units, under a title."""
    return [
        pieces.segments(SplitPassage(Passage(text, title="Log"), split(text)))[0] for text in TEXTS
    ]


def changed(pieces: WordPieces, seed: int = 0, **shares: float) -> tuple[Batch, list[Segment]]:
    """Return the batch and its segments, rearranged."""
    rng = np.random.default_rng(seed)
    return rearranged(batch(), segments(pieces), Augment(**shares), pieces, rng)


def words(segment: Segment, span: int) -> list[int]:
    """Return the token ids of a span."""
    return list(segment.ids[segment.nodes == 1 + span])


def test_no_share_changes_nothing(pieces: WordPieces) -> None:
    """Batches stay what they were for a mixture that asks for nothing."""
    after, found = changed(pieces)
    assert after.pairs == batch().pairs
    assert [list(part.ids) for part in found] == [list(part.ids) for part in segments(pieces)]


@pytest.mark.parametrize("kind", ["moved", "shuffled", "cut", "listed", "tabled", "merged"])
@pytest.mark.parametrize("seed", range(6))
def test_evidence_stays_evidence(pieces: WordPieces, kind: str, seed: int) -> None:
    """The span that is marked afterwards holds the tokens of the one that was, and no other is."""
    after, found = changed(pieces, seed, **{kind: 1.0})
    ((pair,), _) = after.pairs
    assert pair.labels is not None
    (span,) = np.flatnonzero(pair.labels)
    wanted = words(segments(pieces)[0], 1)
    there = words(found[0], int(span))
    assert any(there[at : at + len(wanted)] == wanted for at in range(len(there)))
    assert len(pair.labels) == len(found[0].spans) == found[0].nodes.max()
    assert len(found[0].ids) == len(found[0].words) == len(found[0].nodes) <= WINDOW


def test_evidence_comes_to_every_position(pieces: WordPieces) -> None:
    """Moved often enough, it stands first, last and between."""
    places = set()
    for seed in range(40):
        ((pair,), _) = changed(pieces, seed, moved=1.0)[0].pairs
        places.add(int(np.argmax(pair.labels)))
    assert places == {0, 1, 2, 3}


def test_cut_passage_is_shorter(pieces: WordPieces) -> None:
    """Spans at the ends go."""
    sizes = {len(changed(pieces, seed, cut=1.0)[1][0].spans) for seed in range(20)}
    assert sizes == {1, 2, 3, 4}


def test_merged_passage_has_the_spans_of_both(pieces: WordPieces) -> None:
    """What was not relevant becomes it with the evidence that it got."""
    after, found = changed(pieces, merged=1.0)
    assert [len(part.spans) for part in found] == [6, 6]
    assert [pair.relevant for pairs in after.pairs for pair in pairs] == [True, True]


def test_list_and_table_are_read_as_markdown(pieces: WordPieces) -> None:
    """The tokens are those of the text with marks, which the splitter takes for one span each."""
    _, (table, _) = changed(pieces, tabled=1.0)
    sentences = (TEXTS[0][span.start : span.end].strip() for span in split(TEXTS[0]))
    rows = [f"| {number} | {text} |" for number, text in enumerate(sentences, start=1)]
    text = "\n".join(("| No. | Text |", "|---|---|", *rows))
    whole = pieces.segments(SplitPassage(Passage(text, title="Log"), split(text)))[0]
    assert list(table.ids) == list(whole.ids)
    assert list(table.nodes) == list(whole.nodes)


def test_unknown_evidence_is_not_cut(pieces: WordPieces) -> None:
    """Where evidence is not marked, any span may be it."""
    unknown = batch((None, LABELS[1]))
    rng = np.random.default_rng(0)
    _, found = rearranged(unknown, segments(pieces), Augment(cut=1.0), pieces, rng)
    assert len(found[0].spans) == 4
