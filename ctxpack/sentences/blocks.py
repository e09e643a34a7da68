"""Markdown structure: where each block starts, what it is, and which block it requires."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from ctxpack.selection import SpanKind

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

MAX_HEADING_CHARS = 200
"""What Markdown takes for a longer heading is prose: a comment, or a paragraph above a rule. All of
a section requires its heading, so a long one would be dear."""

_MARKER = re.compile(
    r"""(?mx) (?:^|\r) [ \t]* (?:
        [#]{1,6} [ \t]                        # heading
      | (?: [-*+] | \d{1,9}[.)] ) [ \t]       # list item
      | ``` | ~~~ | >                         # code, quotation
      | [|:=-] [|:=\- \t]* (?: [\r\n] | \Z )  # line under a heading or a table header
    )"""
)
_FRONT_MATTER = re.compile(
    r"---[ \t]*(?>\r\n?|\n)(?=[\w-]+:)(?s:.*?[\r\n])(?:---|\.\.\.)[ \t]*(?>\r\n?|\n|\Z)"
)
# How a passage cut from source code begins; its comments and rules would look like Markdown.
_SOURCE_CODE = re.compile(
    r"""(?mx) \s*+ (?: @\w[^\r\n]*+\s++ )*+ (?:
        (?: async[ ] )? def[ ]\w+[ ]?\(
      | (?: export[ ] | async[ ] )*+ function\b [^\r\n]* \(
      | (?: pub[ ] )? fn[ ]\w+[(<]  |  func[ ][\w(] .* [{]
      | (?: public | private | protected | static )[ ] .* [{;]$
      | class[ ]\w+ .* [:{]$
      | from[ ][\w.]+[ ]import[ ]  |  package[ ][\w.]+;  |  \#include  |  \#!  |  <\?php
    )"""
)
_NEWLINE = re.compile(r"\r\n?|\n")
_FOUR_WORDS = re.compile(r"\b(?:[^\W\d_]{2,},? ){4}")
_END_MARKS = ".!?…。！？।؟۔"


class Block(NamedTuple):
    """A stretch of text that reaches to the start of the next block.

    Args:
        start: first character.
        kind: what it is; ``sentence`` for prose that is still to be cut into sentences.
        requires: index of the earlier block that it requires, or None.
    """

    start: int
    kind: SpanKind
    requires: int | None = None


def find_blocks(text: str) -> list[Block]:
    """Return the blocks of a text that is not empty; the first starts at 0.

    A heading is required by all of its section, a table header by the rows, a list item by what is
    nested in it. The paragraph before a list is required by the items if it ends in a colon or
    without an end mark; otherwise it says something of its own. Front matter is a code block, and
    so is all of a text that begins like source code.
    """
    if _SOURCE_CODE.match(text):
        return [Block(0, "code")]
    if _MARKER.search(text) is None:
        return [Block(0, "sentence")]
    front = _FRONT_MATTER.match(text)
    body = front.end() if front else 0
    lines = [body, *(match.end() for match in _NEWLINE.finditer(text, body))]
    outline = _Outline(text, lines, [Block(0, "code")] if front else [])
    for token in _parser().parse(text[body:]):
        outline.take(token)
    first, *rest = outline.blocks or [Block(0, "sentence")]
    return [first._replace(start=0), *rest]


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark").enable("table").disable(["html_block", "reference"])
    parser.core.ruler.enableOnly(["normalize", "block"])
    # The first call compiles the rule chains, in place; from then on threads only read them.
    parser.parse("x")
    return parser


class _Outline:
    """Turns the parser's tokens, taken in order, into blocks.

    Args:
        text: what the blocks are cut from.
        lines: where each of the parser's lines starts in `text`.
        blocks: those found so far.
    """

    def __init__(self, text: str, lines: list[int], blocks: list[Block]) -> None:
        self.text = text
        self.lines = lines
        self.blocks = blocks
        # (heading level or 0, block): a new block requires the last of them.
        self.open: list[tuple[int, int]] = []
        # How many of them were open outside of each container that we are in.
        self.outer: list[int] = []
        # The block of the paragraph that ended right before this token.
        self.paragraph: int | None = None

    def take(self, token: Token) -> None:
        """Add the block that a token opens, if any."""
        name = token.type
        if name in ("inline", "paragraph_close"):
            return
        paragraph, self.paragraph = self.paragraph, None
        if name in _CONTAINERS:
            self.outer.append(len(self.open))
        elif name in _CONTAINER_ENDS:
            del self.open[self.outer.pop() :]
        if token.map is None:
            return
        line = token.map[0]
        if name == "paragraph_open":
            self._take_paragraph(line)
        elif name == "heading_open":
            self._take_heading(token.map, int(token.tag[1]))
        elif name == "list_item_open":
            self.open.append((0, self._add(line, "list_item")))
        elif name == "thead_open":
            self.open.append((0, self._add(line, "table_header")))
        elif name == "tr_open":
            self._add(line, "table_row")
        elif name in ("bullet_list_open", "ordered_list_open"):
            if paragraph is not None and self._leads_on(paragraph, line):
                self.open.append((0, paragraph))
        elif name == "fence":
            self._add(line, "code")
        elif name == "code_block":
            # Contracts and letters are indented too: four plain words in a row are prose.
            self._add(line, "sentence" if _FOUR_WORDS.search(token.content) else "code")

    def _add(self, line: int, kind: SpanKind) -> int:
        """Return the block that starts at a line, a new one unless a container started there."""
        start = self.lines[line]
        if not self.blocks or self.blocks[-1].start < start:
            requires = self.open[-1][1] if self.open else None
            self.blocks.append(Block(start, kind, requires))
        return len(self.blocks) - 1

    def _take_paragraph(self, line: int) -> None:
        newest = len(self.blocks) - 1
        in_item = self.open and self.open[-1][1] == newest
        if in_item and self.blocks[newest].kind == "list_item":
            return  # the paragraphs of an item are one block, up to what is nested in it
        added = self._add(line, "sentence")
        if self.blocks[added].kind == "sentence":
            self.paragraph = added

    def _take_heading(self, lines: list[int], level: int) -> None:
        begin, end = lines
        stop = self.lines[end] if end < len(self.lines) else None
        if len(self.text[self.lines[begin] : stop].rstrip()) > MAX_HEADING_CHARS:
            self._add(begin, "sentence")
            return
        floor = self.outer[-1] if self.outer else 0
        while len(self.open) > floor and self.open[-1][0] >= level:
            self.open.pop()
        self.open.append((level, self._add(begin, "heading")))

    def _leads_on(self, paragraph: int, line: int) -> bool:
        before = self.text[self.blocks[paragraph].start : self.lines[line]]
        return before.rstrip().rstrip("*_\"')]")[-1:] not in _END_MARKS


_CONTAINERS = frozenset(
    ["blockquote_open", "bullet_list_open", "ordered_list_open", "list_item_open", "table_open"]
)
_CONTAINER_ENDS = frozenset(name.replace("_open", "_close") for name in _CONTAINERS)
