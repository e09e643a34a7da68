"""Text to spans: half-open offsets that cover every character exactly once.

Markdown is cut into blocks (`blocks`), prose into sentences (`prose`), and what is longer than a
bound into smaller pieces (`pieces`). White space belongs to the span before it.
"""

from __future__ import annotations

import re
from itertools import pairwise

from ctxpack.errors import InputError
from ctxpack.selection import Span
from ctxpack.sentences.blocks import Block, find_blocks
from ctxpack.sentences.language import ISO_639_1, guess_language
from ctxpack.sentences.pieces import (
    BLANK_LINES,
    CELLS,
    LINES,
    MAX_SPAN_CHARS,
    WHITE_SPACE,
    cut_long,
)
from ctxpack.sentences.prose import cut_prose

MAX_ITEM_CHARS = 400
"""A longer list item is cut into its sentences: it is a numbered paragraph, as in contracts. Of the
list items in 403 Markdown files 99 % are shorter (399 characters at that rank)."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_SEPARATORS = {
    "heading": (WHITE_SPACE,),
    "code": (BLANK_LINES, LINES, WHITE_SPACE),
    "table_header": (LINES, CELLS, WHITE_SPACE),
    "table_row": (CELLS, WHITE_SPACE),
}


def split(text: str, *, language: str = "auto") -> tuple[Span, ...]:
    """Return the spans of `text`: contiguous, in order, none empty; ``()`` for ``''``.

    Args:
        text: any string. Lines end as in Markdown: LF, CRLF or CR.
        language: ISO 639-1 code, what follows a hyphen is ignored (``pt-BR``); ``auto`` goes by
            the script of the text.

    Raises:
        InputError: `language` is not such a code.
    """
    code = language.split("-", 1)[0].lower()
    if code not in ISO_639_1 and language != "auto":
        raise InputError(f"split: `language` must be 'auto' or an ISO 639-1 code, got {language!r}")
    if not text:
        return ()
    if not text.isascii():
        # `sentencex` refuses lone surrogates; one character for one keeps the offsets.
        text = _SURROGATE.sub("\ufffd", text)
    if language == "auto":
        code = guess_language(text)
    return tuple(_spans(text, find_blocks(text), code))


def _spans(text: str, blocks: list[Block], language: str) -> list[Span]:
    spans: list[Span] = []
    last: list[int] = []  # the last span of each block: the one that other blocks require
    is_required = {block.requires for block in blocks}
    ends = [block.start for block in blocks[1:]] + [len(text)]
    for number, (block, end) in enumerate(zip(blocks, ends, strict=True)):
        requires = None if block.requires is None else last[block.requires]
        for low, high in pairwise([*_starts(text, block, end, language), end]):
            spans.append(Span(low, high, block.kind, requires))
            if number in is_required and block.kind != "sentence":
                requires = len(spans) - 1  # the pieces of a required block stay together
        if number in is_required and block.kind == "sentence":
            spans[-1] = spans[-1]._replace(kind="list_lead")
        last.append(len(spans) - 1)
    return spans


def _starts(text: str, block: Block, end: int, language: str) -> list[int]:
    """Return where the spans of a block start."""
    if block.kind == "sentence":
        return cut_prose(text, block.start, end, language)
    chars = len(text[block.start : end].strip())
    if block.kind == "list_item" and chars > MAX_ITEM_CHARS:
        return cut_prose(text, block.start, end, language)
    if block.kind == "list_item" or chars <= MAX_SPAN_CHARS:
        return [block.start]
    return cut_long(text, block.start, end, at=_SEPARATORS[block.kind])
