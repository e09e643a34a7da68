"""Logs, source code, listings: text whose lines mean something as lines."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ctxpack import Passage
from langchain_ctxpack.reading import Reading

MANY_BLOCKS = 5000
"""More blocks are merged with their neighbours, so that a huge log takes seconds, not minutes."""

_GAP = "[…]\n"

_FENCE_OR_TABLE = re.compile(r"(?m)^ {0,3}(?:```|~~~|\|?[ \t]*:?-{3,}:?[ \t]*\|)")
_PROSE = re.compile(
    r"""(?x) \s{0,3} (?: (?: [-*>+] | [#]{1,6} | \d+[.)] ) \s+ )?     # a Markdown opener
    (?! [A-Z]{4,} \b )                                                # not INFO, ERROR
    [\"'“‘(\[*_]* [^\W\d_] (?: .*? [ ] )? (?: [^\W\d_]{2,} [,;:]? [ ] ){3} [^\W\d_]{2,}"""
)
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_CONTINUES = re.compile(r"[ \t]+\S|[)}\]]|[ \t]*$|(?:else|elif|except|finally|catch|end)\b")
_LINE_NUMBER = re.compile(r"[ \t]*\d+[ \t]?[\t:|→]")
_TRACEBACK = "Traceback (most recent call last)"


def is_lines(text: str) -> bool:
    """Tell whether less than half of a text of several lines is prose, and no Markdown holds it."""
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) < 4 or _FENCE_OR_TABLE.search(text):
        return False
    prose = sum(len(line) for line in lines if _PROSE.match(line) or _UNSPACED.search(line))
    return 2 * prose < sum(map(len, lines))


class LineReading(Reading):
    """Blocks of whole lines: a line with the indented ones behind it, a traceback with its error.

    Args:
        text: several lines.
        mark: see `Reading`.
        block_chars: a block that would have more characters is cut at a line.
    """

    def __init__(self, text: str, mark: str, *, block_chars: int) -> None:
        super().__init__(mark)
        blocks = _blocks(text, block_chars)
        if len(blocks) > MANY_BLOCKS:
            blocks = _merged(blocks, block_chars)
        self.units = [Passage(block) for block in blocks]
        self.is_whole = [True] * len(self.units)
        self.header = 0 if _is_table(text) else None

    def join(self, bodies: Sequence[tuple[int, str]]) -> str:
        """Return the kept blocks, a line for each gap between them, and the mark at the end."""
        texts: list[str] = []
        numbers = list(self.kept(bodies))
        for before, number in zip([None, *numbers], numbers, strict=False):
            if before is not None and before + 1 < number:
                texts.append(_GAP)
            texts.append(self.units[number].text)
        if texts and not texts[-1].endswith("\n"):
            texts.append("\n")
        return "".join(texts) + self.mark


def _is_table(text: str) -> bool:
    """Tell whether every line has as many commas, semicolons or tabs as the first, and some."""
    lines = [line for line in text.splitlines() if line.strip()]
    counts = ({line.count(mark) for line in lines} for mark in ",;\t")
    return any(len(count) == 1 and count != {0} for count in counts)


def _blocks(text: str, most_chars: int) -> list[str]:
    blocks: list[str] = []
    in_traceback = False
    lines = text.splitlines(keepends=True)
    for line, bare in zip(lines, _bare(lines), strict=True):
        goes_on = in_traceback or _CONTINUES.match(bare)
        if blocks and goes_on and len(blocks[-1]) + len(line) <= most_chars:
            blocks[-1] += line
            in_traceback = in_traceback and bare[:1].isspace()
        else:
            blocks.append(line)
        in_traceback = in_traceback or _TRACEBACK in bare
    return blocks


def _merged(blocks: list[str], most_chars: int) -> list[str]:
    merged = [""]
    for block in blocks:
        if len(merged[-1]) + len(block) > most_chars:
            merged.append("")
        merged[-1] += block
    return merged


def _bare(lines: list[str]) -> list[str]:
    """Return the lines without line numbers and without the indentation that all of them have."""
    if all(_LINE_NUMBER.match(line) for line in lines):
        lines = [_LINE_NUMBER.sub("", line, count=1) for line in lines]
    margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return [line[margin:] if line.strip() else "" for line in lines]
