"""Queries and passages that the contracts run on: plain ones, odd ones, none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ctxpack.selection import Passage, Selection, SplitPassage
from ctxpack.sentences import split


class Case(NamedTuple):
    """One call: a query and passages."""

    query: str
    passages: tuple[Passage, ...]


HARBOUR = (
    "The harbour was dredged in 1911. Its outer wall is 420 metres long. Fishing boats land their"
    " catch at the north quay.\n\nA lighthouse marks the entrance. It was automated in 1987 and"
    " its keeper moved inland."
)
TABLE = (
    "# Fees\n\nAll fees are due in advance.\n\n"
    "| Berth | Fee |\n|---|---|\n| North quay | 40 |\n| South quay | 25 |\n\n"
    "The office takes:\n\n- cash\n- cards, except on Sundays\n  - no cheques\n"
)
CODE = (
    "Call the tide service:\n\n```python\ndef tide(day):\n    return table[day]\n```\n\nIt caches."
)


def _texts(*texts: str) -> tuple[Passage, ...]:
    return tuple(Passage(text) for text in texts)


CASES: dict[str, Case] = {
    "prose": Case(
        "When was the lighthouse automated?",
        (
            Passage(HARBOUR, id="a", title="Harbour", score=0.9, metadata={"page": 3}),
            Passage("Tides there reach four metres. Spring tides are higher.", id="b", score=0.4),
            Passage("The museum opens at ten. Entry is free.", id="c", title="Museum", score=-1.5),
        ),
    ),
    "markdown": Case("What does the south quay cost?", _texts(TABLE, CODE, HARBOUR)),
    "duplicates": Case("How long is the outer wall?", _texts(HARBOUR, HARBOUR, HARBOUR[34:])),
    "same ids": Case("tide", (Passage(CODE, id="x"), Passage(TABLE, id="x"), Passage(CODE))),
    "no passages": Case("anything", ()),
    "no text": Case("anything", _texts("", "")),
    "white space": Case("anything", _texts(" \n\t ", "", "\r\n")),
    "one character": Case("x", _texts("x", ".", "\n")),
    "no match": Case("zzzz qqqq", _texts(HARBOUR, TABLE)),
    "carriage returns": Case("lighthouse", _texts(HARBOUR.replace("\n", "\r\n"), "a.\rb.\rc.")),
    "Chinese": Case(
        "灯塔是哪一年自动化的?", _texts("港口建于1911年。灯塔于1987年自动化。博物馆免费。")
    ),
    "Japanese": Case(
        "灯台はいつ自動化されましたか", _texts("港は1911年にできた。灯台は1987年に自動化された。")
    ),
    "Thai": Case(
        "ประภาคารเป็นอัตโนมัติเมื่อใด", _texts("ประภาคารเป็นระบบอัตโนมัติในปี 1987 ท่าเรือสร้างในปี 1911")
    ),
    "Arabic": Case(
        "متى تم تشغيل المنارة آليا؟",
        _texts("بني الميناء عام 1911. تم تشغيل المنارة آليا عام 1987."),
    ),
    "emoji": Case("🐟 where?", _texts("👩‍👩‍👧 met at the quay 🐟🐟. Then 🇮🇸 left! 1️⃣ stayed.")),
    "NUL": Case("nul\x00", _texts("A \x00 byte. Another\x00one.")),
    "lone surrogates": Case("quay \ud800", _texts("A \ud83d quay. \udc00 ends.", HARBOUR)),
    "marks": Case("wall", _texts("[1] The wall […] is long. [2] It […] stands. No. Yes.", HARBOUR)),
    "NaN retrieval score": Case("wall", (Passage(HARBOUR, score=float("nan")), Passage(TABLE))),
    "no sentence end": Case("word seven", _texts("word " * 900)),
    "long": Case(
        "tide table", _texts(*(f"{HARBOUR} Part {n} of the tide table." for n in range(40)))
    ),
}
"""By name; every contract test that takes a case runs on each of them."""


def split_case(case: Case) -> list[SplitPassage]:
    """Return the passages of a case with their spans."""
    return [SplitPassage(passage, split(passage.text)) for passage in case.passages]


def unscored(case: Case) -> Selection:
    """Return the selection that a pipeline makes of a case before the first stage."""
    return Selection.of(case.query, split_case(case))


def in_shuffled_order(n: int) -> Sequence[int]:
    """Return a fixed order of ``range(n)`` that is not sorted, for n above 2."""
    return sorted(range(n), key=lambda index: (index * 7919 + 3) % 104729 % 13)
