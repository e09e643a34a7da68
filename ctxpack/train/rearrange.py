"""Augmentation of passages: their spans moved, shuffled, cut, merged, or set as Markdown.

What is evidence stays evidence, in another place or dress. Every kind is off unless the mixture
file gives it a share, see `Augment`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ctxpack.scoring.segments import WINDOW, Segment, WordPieces
from ctxpack.train.batches import Batch, Pair
from ctxpack.train.mixture import Augment

N_PARTNERS = 8
"""Segments of the batch that are looked at to find one that another can be merged with."""
BULLETS = ("-", "*", "1.")
"""How the items of a list begin."""

Ints = NDArray[np.int64]


class _Block(NamedTuple):
    """One span of a segment in the making.

    Args:
        ids: token ids.
        words: word keys.
        origin: number of the span that it was, counted through those of a partner too; -1 for a
            span that was none.
    """

    ids: Ints
    words: Ints
    origin: int

    def within(self, pieces: WordPieces, before: str, after: str = "") -> _Block:
        """Return the span between marks."""
        first, last = pieces.tokens(before), pieces.tokens(after)
        return self._replace(
            ids=np.concatenate((first.ids, self.ids, last.ids)),
            words=np.concatenate((first.words, self.words, last.words)),
        )


class _Unit(NamedTuple):
    """A segment with its pairs.

    Args:
        segment: the segment.
        pairs: the queries that are scored against it.
        evidence: numbers of the spans that are evidence for any of them.
    """

    segment: Segment
    pairs: list[Pair]
    evidence: list[int]

    @classmethod
    def of(cls, segment: Segment, pairs: list[Pair]) -> _Unit:
        """Return a unit with what is evidence in it."""
        labels = [pair.labels for pair in pairs if pair.labels is not None]
        evidence = np.flatnonzero(np.sum(labels, axis=0)) if labels else np.zeros(0, np.int64)
        return cls(segment, pairs, evidence.tolist())

    @property
    def is_known(self) -> bool:
        """Whether all evidence in it is marked."""
        return all(pair.labels is not None for pair in self.pairs)

    def blocks(self, first: int = 0) -> list[_Block]:
        """Return the spans, their origins counted from `first`."""
        ids, words, nodes = self.segment.ids, self.segment.words, self.segment.nodes
        return [
            _Block(ids[nodes == 1 + span], words[nodes == 1 + span], first + span)
            for span in range(len(self.segment.spans))
        ]


Blocks = list[_Block] | None
"""The spans of a rearranged segment, or None where it cannot be rearranged."""


def rearranged(
    batch: Batch,
    segments: Sequence[Segment],
    shares: Augment,
    pieces: WordPieces,
    rng: np.random.Generator,
) -> tuple[Batch, list[Segment]]:
    """Return the batch with some of its segments rearranged, each in one way, and all segments.

    The teacher's cosines stay those of the segments as they were.

    Args:
        batch: the pairs and their labels.
        segments: of its units.
        shares: how many segments go which way.
        pieces: the tokenizer.
        rng: source of chance.
    """
    units = [_Unit.of(*part) for part in zip(segments, batch.pairs, strict=True)]
    pairs, found = list(batch.pairs), list(segments)
    for number, unit in enumerate(units):
        partner: _Unit | None = None
        blocks: Blocks = None
        kind = _drawn(shares, rng)
        if kind == "merged":
            partner = _partner(unit, units, rng)
            blocks = _merged(unit, partner, rng) if partner is not None else None
        elif kind in _WAYS:
            blocks = _WAYS[kind](unit, pieces, rng)
        if blocks is None:
            continue
        made = _assembled(unit.segment, blocks)
        if len(made.ids) <= WINDOW:
            found[number] = made
            pairs[number] = _relabelled(unit, partner, blocks)
    return replace(batch, pairs=pairs), found


def _drawn(shares: Augment, rng: np.random.Generator) -> str:
    """Return the name of a kind, each as often as its share says; '' for none."""
    draw = rng.random()
    for kind in (*_WAYS, "merged"):
        draw -= getattr(shares, kind)
        if draw < 0:
            return kind
    return ""


def _moved(unit: _Unit, pieces: WordPieces, rng: np.random.Generator) -> Blocks:
    """Put one evidence span anywhere."""
    if not unit.evidence:
        return None
    blocks = unit.blocks()
    block = blocks.pop(unit.evidence[int(rng.integers(len(unit.evidence)))])
    blocks.insert(int(rng.integers(len(blocks) + 1)), block)
    return blocks


def _shuffled(unit: _Unit, pieces: WordPieces, rng: np.random.Generator) -> Blocks:
    blocks = unit.blocks()
    return [blocks[place] for place in rng.permutation(len(blocks))]


def _cut(unit: _Unit, pieces: WordPieces, rng: np.random.Generator) -> Blocks:
    """Drop spans at both ends that are evidence for nobody."""
    blocks = unit.blocks()
    if not unit.is_known:
        return None
    first, last = int(rng.integers(len(blocks))), 0
    if unit.evidence:
        first, last = int(rng.integers(unit.evidence[0] + 1)), unit.evidence[-1]
    end = int(rng.integers(max(first, last) + 1, len(blocks) + 1))
    return blocks[first:end]


def _listed(unit: _Unit, pieces: WordPieces, rng: np.random.Generator) -> Blocks:
    """Make every span an item of a list."""
    bullet = BULLETS[int(rng.integers(len(BULLETS)))]
    numbered = bullet == "1."
    return [
        block.within(pieces, f"{number}." if numbered else bullet)
        for number, block in enumerate(unit.blocks(), start=1)
    ]


def _tabled(unit: _Unit, pieces: WordPieces, rng: np.random.Generator) -> Blocks:
    """Make every span a row of a table, under a header that says nothing."""
    header = pieces.tokens("| No. | Text | |---|---|")
    rows = [
        block.within(pieces, f"| {number} |", "|")
        for number, block in enumerate(unit.blocks(), start=1)
    ]
    return [_Block(header.ids, header.words, -1), *rows]


_WAYS: dict[str, Callable[[_Unit, WordPieces, np.random.Generator], Blocks]] = {
    "moved": _moved,
    "shuffled": _shuffled,
    "cut": _cut,
    "listed": _listed,
    "tabled": _tabled,
}


def _partner(unit: _Unit, units: Sequence[_Unit], rng: np.random.Generator) -> _Unit | None:
    """Return a segment of which all is known that the unit's queries must be told."""
    asking = {pair.question for pair in unit.pairs}
    for place in rng.permutation(len(units))[:N_PARTNERS].tolist():
        other: _Unit = units[place]
        known = {pair.question for pair in other.pairs if pair.labels is not None}
        if other is not unit and unit.is_known and asking <= known:
            return other
    return None


def _merged(unit: _Unit, partner: _Unit, rng: np.random.Generator) -> Blocks:
    """Put the spans of two segments together, under the title of the first."""
    own, others = unit.blocks(), partner.blocks(len(unit.segment.spans))
    return own + others if rng.random() < 0.5 else others + own


def _assembled(whole: Segment, blocks: Sequence[_Block]) -> Segment:
    """Return a segment of the blocks, under the title of `whole`."""
    n_head = int(np.argmax(whole.nodes > 0))
    sizes = [len(block.ids) for block in blocks]
    nodes = np.repeat(np.arange(len(blocks)) + 1, sizes)
    return Segment(
        ids=np.concatenate((whole.ids[:n_head], *(block.ids for block in blocks), whole.ids[-1:])),
        words=np.concatenate((whole.words[:n_head], *(block.words for block in blocks), [0])),
        nodes=np.concatenate((np.zeros(n_head, np.int64), nodes, [0])),
        spans=np.arange(len(blocks)),
    )


def _relabelled(unit: _Unit, partner: _Unit | None, blocks: Sequence[_Block]) -> list[Pair]:
    """Return the unit's pairs with the labels of the spans as they stand now."""
    origins = np.array([block.origin for block in blocks])
    others = {pair.question: pair for pair in partner.pairs} if partner is not None else {}
    found = []
    for pair in unit.pairs:
        other = others.get(pair.question)
        relevant = pair.relevant or (other is not None and other.relevant)
        labels = pair.labels
        if labels is not None:
            parts = [labels] if other is None or other.labels is None else [labels, other.labels]
            # The last entry is that of a span that was none: origin -1.
            labels = np.concatenate((*parts, [0])).astype(np.float32)[origins]
        found.append(Pair(pair.question, relevant, labels))
    return found
