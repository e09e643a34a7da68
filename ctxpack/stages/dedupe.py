"""The step that keeps one of several copies of a text."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from ctxpack.selection import BoolArray, Selection, SplitPassage
from ctxpack.stages.base import Call, Stage

_WORD = re.compile(r"\w+")

# Text that stands in more places than this is boilerplate: it says nothing about two passages.
_MOST_PLACES = 8

Copies = dict[int, range]  # By span of a passage, the spans of another that hold its text.


class Dedupe(Stage):
    """Drop the spans of a passage that a better passage of the same title says as well.

    Two passages share a text when, laid over each other, they are equal up to an end of either one
    on both sides: copies, a passage inside another, neighbours from a splitter that overlaps. Or
    they are near copies: half of the spans begin alike, and the words are the same but for a few,
    none with a capital, digit or letter without case, for a changed name or number may mean another
    subject. Then what equals kept text of the better passage goes; a changed span never does.

    Other equal spans stay: what "it" or a table row means depends on the text before, and so a span
    goes only with what it requires. A line break is equal to a space; white space around spans is
    not compared, nor, outside of code, is that of near copies.

    The better passage has the higher passage score; before scoring, the higher retrieval score if
    every passage has one; at equal scores it is the earlier one.

    Args:
        threshold: least similarity of near copies, in (0, 1]: twice the words that both have
            equally often, over the different words of both (Dice 1945, "Measures of the amount of
            ecologic association between species"). Default 0.9; 1 takes the same words only.
        min_chars: least length of an overlap, in characters, 1 or more; default 40. A copy, which
            is a near copy too, may be shorter.

    Drops with reason ``duplicate`` and the passage that keeps the text.
    """

    name: ClassVar[str] = "dedupe"
    value_option: ClassVar[str | None] = "threshold"

    threshold: float = Field(default=0.9, gt=0, le=1)
    min_chars: int = Field(default=40, ge=1)

    def _apply(self, selection: Selection, call: Call) -> Selection:
        texts = [_Text(selection.split(index)) for index in range(len(selection.passages))]
        anchors = _anchors(texts, self.min_chars)
        places: defaultdict[object, list[tuple[int, int]]] = defaultdict(list)
        for index in _best_first(selection):
            title = selection.passages[index].title
            shifts: defaultdict[int, Counter[int]] = defaultdict(Counter)
            for key, starts in anchors[index].items():
                for start, (other, there) in product(starts, places[title, key]):
                    shifts[other][there - start] += 1
            for other, found in shifts.items():
                copies = self._copies(texts[index], texts[other], found)
                mask = _droppable(selection, index, other, copies)
                if mask.any():
                    selection = selection.drop(
                        mask, stage=self.name, reason="duplicate", merged_into=other
                    )
                if not selection.kept[selection.first[index] : selection.first[index + 1]].any():
                    break
            else:
                for key, starts in anchors[index].items():
                    room = _MOST_PLACES - len(places[title, key])
                    places[title, key] += [(index, start) for start in starts[:room]]
        return selection

    def _copies(self, text: _Text, other: _Text, shifts: Counter[int]) -> Copies:
        copies: Copies = {}
        for shift, _ in shifts.most_common(_MOST_PLACES):
            copies |= text.overlap(other, shift, self.min_chars)
        if not copies and 2 * shifts.total() >= len(text.starts):
            copies = text.near_copies(other, self.threshold)
        return copies


class _Text:
    """A passage's text, and where its spans start and end without the white space around them."""

    def __init__(self, split: SplitPassage) -> None:
        self.chars, self.spans = split.passage.text.replace("\n", " "), split.spans
        self.starts = [s.end - len(self.chars[s.start : s.end].lstrip()) for s in self.spans]
        self.ends = [s.start + len(self.chars[s.start : s.end].rstrip()) for s in self.spans]

    def overlap(self, other: _Text, shift: int, min_chars: int) -> Copies:
        """Return the spans in the stretch that lies over equal text when moved by `shift`."""
        start = max(self.starts[0], other.starts[0] - shift)
        end = min(self.ends[-1], other.ends[-1] - shift)
        equal = self.chars[start:end] == other.chars[start + shift : end + shift]
        if not equal or end - start < min_chars:
            return {}
        return {
            span: range(
                bisect_right(other.ends, self.starts[span] + shift),
                bisect_left(other.starts, self.ends[span] + shift),
            )
            for span in range(bisect_left(self.starts, start), bisect_right(self.ends, end))
        }

    def near_copies(self, other: _Text, threshold: float) -> Copies:
        """Return the equal spans of near copies, none if they are not; see `Dedupe`."""
        bag, bag_of_other = (Counter(_WORD.findall(text.chars)).items() for text in (self, other))
        changed = bag ^ bag_of_other
        similarity = 1 - len(changed) / max(1, len(bag) + len(bag_of_other))
        plain = all(word.isalpha() and word.islower() for word, _ in changed)
        if not plain or similarity < threshold:
            return {}
        there = {words: range(span, span + 1) for span, words in enumerate(other._words())}
        return {span: there[words] for span, words in enumerate(self._words()) if words in there}

    def _words(self) -> list[str]:
        """Return the text of each span with one space for any white space, save in code."""
        texts = [(span.kind, self.chars[span.start : span.end]) for span in self.spans]
        return [text if kind == "code" else " ".join(text.split()) for kind, text in texts]


def _anchors(texts: Sequence[_Text], width: int) -> Sequence[Mapping[int, list[int]]]:
    """Return, by text, the starts, by hash, of windows that also stand at the start of a span.

    A window has the largest power of two in `width` characters. Its hash is a polynomial modulo
    2**64 (Karp and Rabin 1987, "Efficient randomized pattern-matching algorithms").
    """
    codes = "".join(text.chars + "\0" * width for text in texts).encode(
        "utf-32-le", "surrogatepass"
    )
    hashes = np.frombuffer(codes, dtype="<u4").astype(np.uint64)
    size, factor = 1, 0x9E3779B97F4A7C15
    while 2 * size <= width:
        hashes[:-size] = hashes[:-size] * np.uint64(factor) + hashes[size:]
        size, factor = 2 * size, factor**2 % 2**64
    begins = np.cumsum([0, *(len(text.chars) + width for text in texts)])
    starts = [begins[i] + start for i, text in enumerate(texts) for start in text.starts]
    wanted = hashes[np.array(starts, dtype=np.int64)]
    found = np.flatnonzero(np.isin(hashes >> 48, wanted >> 48, kind="table"))  # a fast sieve
    found = found[np.isin(hashes[found], wanted)]
    owner = np.searchsorted(begins, found, side="right") - 1
    rows = np.stack([owner, found - begins[owner]], axis=1).tolist()
    anchors: list[defaultdict[int, list[int]]] = [defaultdict(list) for _ in texts]
    for (index, start), key in zip(rows, hashes[found].tolist(), strict=True):
        if start < len(texts[index].chars) and len(anchors[index][key]) < _MOST_PLACES:
            anchors[index][key].append(start)
    return anchors


def _droppable(selection: Selection, index: int, other: int, copies: Copies) -> BoolArray:
    """Return the (n_spans,) bool mask of `copies` that `other` keeps and nothing here requires."""
    spans, begin = selection.split(index).spans, selection.first[index]
    droppable = np.zeros_like(selection.kept)
    mine = droppable[begin : begin + len(spans)]
    for span, held in sorted(copies.items()):
        above, there = spans[span].requires, selection.kept[selection.first[other] :]
        mine[span] = (above is None or mine[above]) and there[held.start : held.stop].all()
    for span in reversed(range(len(spans))):
        above = spans[span].requires
        if above is not None and selection.kept[begin + span] and not mine[span]:
            mine[above] = False
    return droppable


def _best_first(selection: Selection) -> list[int]:
    scores: Sequence[Any] = [passage.score for passage in selection.passages]
    if selection.passage_scores is not None:
        scores = selection.passage_scores.tolist()
    if any(score is None or score != score for score in scores):
        scores = [0] * len(scores)
    return sorted(range(len(scores)), key=scores.__getitem__, reverse=True)
