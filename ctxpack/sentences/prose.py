"""Prose to sentences: sentence ends from `sentencex`, corrected where it is known to err."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import pairwise

from ctxpack.sentences.pieces import CLAUSES, MAX_SPAN_CHARS, WHITE_SPACE, cut_long

LONG_SENTENCE_CHARS = 400
"""A longer sentence (1 in 100 of English ones) is cut inside quotation marks too."""

UNMARKED_SPAN_CHARS = 200
"""Most characters of a span in scripts that mark no sentence end: one or two sentences."""

WIDEST_LINE = 120
"""Nobody wraps lines wider than this, so a line break after a longer line is meant."""

_UNMARKED = frozenset({"bo", "dz", "km", "lo", "th"})

# Above 10 KiB `sentencex` loses characters, and unpaired quotation marks cost it quadratic time.
_WINDOW, _MARGIN = 2500, 100

_WHITE = re.compile(r"\s*")
_NEWLINE = re.compile(r"(?>\r\n?|\n)(?P<blank_line>[^\S\r\n]*[\r\n])?\s*")
# A bullet, a tag, or a label such as `Project Manager: `.
_LINE_OPENER = re.compile(
    r"[•‣▪●◦·<]|[^\W\d_][\w.'’-]*(?:[ \t][^\W\d_a-z][\w.'’-]*){0,3}[ \t]?:(?:\s|\Z)"
)
_QUOTES = re.compile(r"[\"“”„«»「」『』]|\(\w{1,3}\)")

# Marks that close the sentence before a cut, and marks that open the one behind it.
_CLOSERS = re.compile(r"(?:[*_~\"'”’)\]]+(?=\s))?\s*")
_OPENERS = re.compile(r"(?<!\S)[\"“„«「『(\[]+\Z")

_NO_WORD = re.compile(r"[\W_]*+")
# `5.1. `, `(b) `, `IV. `: the number of the sentence that follows.
_NUMBER = re.compile(r"[\s(\[]*+(?:\d{1,3}(?:\.\d{1,3})*+|[A-Za-z]|[ivxl]+|[IVXL]+)[.)\]\s]*+")
# No space at the cut: `works.Great` is two sentences, `a@b.Com`, `www.NPS.gov`, `VI.X` are not.
_ADDRESS = re.compile(r"(?:\S[/@\\]\S*|\bwww\.|(?<!\S)[.?!]+)\Z")
_REST_OF_ADDRESS = re.compile(r"\w+(?:\.\w|[@(_=])|[)\]},:;~_]|</")
_CAPITAL = re.compile(r"(?<![a-z])[A-Z]\.\Z")
_MORE_CAPITALS = re.compile(r"[A-Z]+(?![a-z])")
# `Y. pestis`, but not `i like it. you will too`.
_ABBREVIATION = re.compile(r"(?<![^\W\d_])[^\W\d_]{1,3}\.\s+\Z")
# `Whisky Galore! is a film`.
_AFTER_TITLE = re.compile(r"(?:as|at|by|from|had|has|in|is|of|on|was|were|which|who) ")
# `(Seasons 1 - 10) ` is not the tenth item of a list.
_LATE_PAREN = re.compile(r"\w{1,4}\)")
_OPEN_PAREN = re.compile(r"\([^()]*\Z")
# `「行く。」と言った。` goes on behind the quotation.
_QUOTE_END = re.compile(r"[」』]\s*\Z")
_PARTICLE = re.compile(r"[とのはがをにでもやへか、]")


def cut_prose(text: str, start: int, end: int, language: str) -> list[int]:
    """Return where the sentences of ``text[start:end]`` start; the first is `start`."""
    bound = UNMARKED_SPAN_CHARS if language in _UNMARKED else MAX_SPAN_CHARS
    steps: tuple[Callable[[str, int, int], list[int]], ...] = (
        _cut_lines,
        partial(_cut_sentences, language=language),
        partial(_cut_quotations, language=language),
        partial(cut_long, at=(CLAUSES, WHITE_SPACE), bound=bound),
    )
    starts = [start]
    for step in steps:
        starts = [cut for low, high in pairwise([*starts, end]) for cut in step(text, low, high)]
    return starts


def _cut_lines(text: str, start: int, end: int) -> list[int]:
    """Cut into paragraphs, and at line breaks that are not there to wrap a paragraph."""
    body = _end_of(_WHITE, text, start, end)
    breaks = list(_NEWLINE.finditer(text, body, end))
    if not breaks:
        return [start]
    begins = [body, *(found.end() for found in breaks)]
    widths = [found.start() - begin for begin, found in zip(begins, breaks, strict=False)]
    short = min(max(end - begins[-1], *widths), WIDEST_LINE) / 2
    starts = [start]
    for found, width in zip(breaks, widths, strict=True):
        opens = found.end()
        if opens == end:
            break
        if found.lastgroup or (
            not text[opens].islower()
            and (width < short or width > WIDEST_LINE or _LINE_OPENER.match(text, opens, end))
        ):
            starts.append(opens)
    has_word = (not _NO_WORD.fullmatch(text, *stretch) for stretch in pairwise([*starts, end]))
    return [cut for cut, keep in zip(starts, has_word, strict=True) if keep or cut == start]


def _cut_sentences(text: str, start: int, end: int, language: str) -> list[int]:
    cuts = _sentence_starts(text[start:end], language)
    return _plausible(text, start, end, (start + cut for cut in cuts))


def _cut_quotations(text: str, start: int, end: int, language: str) -> list[int]:
    """Cut a long sentence as if it had no quotation marks; `sentencex` never cuts inside them."""
    if end - start <= LONG_SENTENCE_CHARS:
        return [start]
    bare = _QUOTES.sub(lambda found: " " * len(found[0]), text[start:end])
    cuts = _sentence_starts(bare, language)
    return _plausible(text, start, end, (start + cut for cut in cuts))


def _sentence_starts(text: str, language: str) -> Iterator[int]:
    """Yield where `sentencex` sees the second and later sentences of a text start."""
    from sentencex import get_sentence_boundaries

    text = text.rstrip()
    low = 0
    while True:
        window = text[low : low + _WINDOW]
        cuts = [found["start_index"] for found in get_sentence_boundaries(language, window)[1:]]
        if low + _WINDOW >= len(text):
            yield from (low + cut for cut in cuts)
            return
        # What ends near the edge is seen again, with what follows it.
        cuts = [cut for cut in cuts if cut < _WINDOW - _MARGIN]
        yield from (low + cut for cut in cuts)
        low += max([*cuts, _WINDOW // 2])


def _plausible(text: str, start: int, end: int, cuts: Iterable[int]) -> list[int]:
    """Return `start` and the cuts that are no known error, moved between mark and white space."""
    moved = [start]
    for cut in cuts:
        if cut > moved[-1]:
            moved.append(_move(text, cut, end))
    starts = [start]
    for cut, stop in pairwise([*moved[1:], end]):
        if starts[-1] < cut < stop and not _is_error(text, starts[-1], cut, stop):
            starts.append(cut)
    return starts


def _move(text: str, cut: int, end: int) -> int:
    """Return a cut moved behind what closes the sentence before it, or before an opening mark."""
    behind_white = text[cut - 1].isspace()
    if behind_white and not text[cut].isspace():  # most cuts
        return cut
    cut = _end_of(_WHITE if behind_white else _CLOSERS, text, cut, end)
    opening = _OPENERS.search(text, max(cut - 4, 0), cut)
    return opening.start() if opening else cut


def _end_of(pattern: re.Pattern[str], text: str, start: int, end: int) -> int:
    found = pattern.match(text, start, end)
    return found.end() if found else start


def _is_error(text: str, start: int, cut: int, stop: int) -> bool:
    """Tell whether ``text[start:stop]`` is one sentence although `sentencex` cuts it at `cut`."""
    if (
        _NO_WORD.fullmatch(text, cut, stop)
        or _NO_WORD.fullmatch(text, start, cut)
        or _NUMBER.fullmatch(text, start, cut)
    ):
        return True
    before = text[max(start, cut - 200) : cut]
    if not before[-1].isspace() and before[-1].isascii():
        return bool(
            _ADDRESS.search(before)
            or _REST_OF_ADDRESS.match(text, cut, stop)
            or (_CAPITAL.search(before) and _MORE_CAPITALS.match(text, cut, stop))
        )
    if text[cut].islower() and _ABBREVIATION.search(before):
        return not text[start].islower()
    if _AFTER_TITLE.match(text, cut, stop):
        return not before.rstrip().endswith(".")
    if _LATE_PAREN.match(text, cut, stop):
        return bool(_OPEN_PAREN.search(before))
    return bool(_PARTICLE.match(text, cut, stop) and _QUOTE_END.search(before))
