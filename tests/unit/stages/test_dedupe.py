from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ctxpack.selection import Passage, Selection, Span, SplitPassage
from ctxpack.stages.dedupe import Dedupe

WALL = "The outer wall is built of dark basalt from the north. "
MOLE = "A mole shelters the small boats from the winter swell. "
LAMP = "Its lamp burned whale oil until the gas works came. "
QUAY = "The quay was paved with the ballast of empty ships. "
TABLE = "| berth | fee |\n|---|---|\n"
ROWS = (
    "| north quay, inner side, in summer only | 40 |\n",
    "| south quay, inner side, in summer only | 25 |\n",
)


def gone(selection: Selection, stage: Dedupe | None = None) -> list[tuple[int, str, int | None]]:
    """Return (passage, text, passage that keeps it) of what `stage` drops."""
    after = (stage or Dedupe())(selection, None)
    drops = after.dropped()
    assert {drop.stage for drop in drops} <= {"dedupe"}
    texts = [after.passages[drop.passage_index].text[drop.start : drop.end] for drop in drops]
    return [(d.passage_index, text, d.merged_into) for d, text in zip(drops, texts, strict=True)]


def split(*parts: tuple[str, str, int | None], **fields: object) -> SplitPassage:
    """Return a passage of spans given as (text, kind, requires)."""
    ends = np.cumsum([len(text) for text, *_ in parts]).tolist()
    spans = [
        Span(end - len(text), end, kind, requires)
        for end, (text, kind, requires) in zip(ends, parts, strict=True)
    ]
    return SplitPassage(Passage("".join(text for text, *_ in parts), **fields), tuple(spans))


def titled(text: str, **fields: object) -> SplitPassage:
    """Return a passage of one span."""
    return split((text, "sentence", None), **fields)


def test_drops_copies(make) -> None:
    """Of equal passages the first stays, and the record says where the text is."""
    assert gone(make(WALL + MOLE, LAMP, WALL + MOLE)) == [(2, WALL + MOLE, 0)]


def test_drops_short_copies(make) -> None:
    """A copy may be shorter than `min_chars`."""
    assert gone(make("Yes.", "Yes.", "No.")) == [(1, "Yes.", 0)]


def test_drops_what_lies_inside_another(make) -> None:
    """A passage that stands inside another one goes."""
    assert gone(make(WALL + MOLE + LAMP, MOLE)) == [(1, MOLE, 0)]


def test_drops_the_overlap_of_neighbours(make) -> None:
    """The head of a passage that repeats the tail of another one goes, and only the head."""
    assert gone(make(WALL + MOLE, MOLE + LAMP)) == [(1, MOLE, 0)]


def test_drops_the_tail_of_the_worse(make) -> None:
    """When the later passage is the better one, the earlier loses its tail."""
    selection = make(WALL + MOLE, MOLE + LAMP, scores=[[0.1, 0.1], [0.1, 0.9]])
    assert gone(selection) == [(0, MOLE, 1)]


def test_sees_through_cuts_inside_sentences(make) -> None:
    """A splitter that cuts in the middle of a sentence leaves a head that goes as well."""
    whole = WALL + MOLE + LAMP + QUAY
    first, second = whole[: len(WALL + MOLE) + 9], whole[len(WALL) + 7 :]
    assert gone(make(first, second)) == [(1, MOLE[7:], 0)]


def test_overlap_may_end_in_other_white_space(make) -> None:
    """White space that a splitter stripped from the ends does not hide an overlap."""
    assert gone(make((WALL + MOLE).strip(), "\n" + MOLE + LAMP)) == [(1, "\n" + MOLE, 0)]


def test_short_overlaps_stay(make) -> None:
    """An overlap below `min_chars` characters proves nothing."""
    selection = make(WALL + "It did so for a year.", "It did so for a year. " + LAMP)
    assert gone(selection) == []
    assert gone(selection, Dedupe(min_chars=21)) == [(1, "It did so for a year. ", 0)]


def test_min_chars_is_exact(make) -> None:
    """An overlap of `min_chars` characters goes, one of a character less stays."""
    tail = "It stood so for a year and eight days. "
    selection = make(WALL + tail, tail + LAMP)
    assert len(tail.strip()) == 38
    assert gone(selection, Dedupe(min_chars=39)) == []
    assert gone(selection, Dedupe(min_chars=38)) == [(1, tail, 0)]


def test_equal_sentences_in_different_places_stay(make) -> None:
    """What a sentence means depends on the text before it, which differs here."""
    assert gone(make(WALL + LAMP, MOLE + LAMP)) == []


def test_copies_within_a_passage_stay(make) -> None:
    """A passage is not compared with itself."""
    assert gone(make(WALL + WALL)) == []


def test_drops_near_copies(make) -> None:
    """After a small edit, equal spans go and the edited one stays."""
    edited = MOLE.replace("winter swell", "heavy winter swell")
    selection = make(WALL + MOLE + LAMP, WALL + edited + LAMP)
    assert gone(selection) == [(1, WALL, 0), (1, LAMP, 0)]


def test_threshold_sets_how_near(make) -> None:
    """At 1 only passages with the same words are near copies; the marks between may differ."""
    edited, marked = MOLE.replace("swell", "swells"), MOLE.replace("boats", "boats,")
    assert gone(make(WALL + MOLE + LAMP, WALL + edited + LAMP), Dedupe(threshold=1.0)) == []
    selection = make(WALL + MOLE + LAMP, WALL + marked + LAMP)
    assert gone(selection, Dedupe(threshold=1.0)) == [(1, WALL, 0), (1, LAMP, 0)]


def test_line_breaks_may_differ(make) -> None:
    """Copies and overlaps that are wrapped to other lines are found."""
    wrapped = (WALL + MOLE + LAMP).replace(" the ", "\nthe ")
    assert gone(make(WALL + MOLE + LAMP, wrapped)) == [(1, wrapped, 0)]
    assert gone(make(WALL + MOLE, MOLE.replace(" the", "\nthe") + LAMP))[0][0] == 1


def test_other_white_space_of_near_copies_may_differ(make) -> None:
    """Runs of white space inside the spans of a near copy count as one space."""
    spaced = (WALL + MOLE + LAMP).replace(" the winter", "  the\twinter")
    assert gone(make(WALL + MOLE + LAMP, spaced)) == [(1, spaced, 0)]


@pytest.mark.parametrize(
    ("old", "new"), [("dark", "1911"), ("dark", "Icelandic"), ("dark", "玄武"), ("basalt", "x2")]
)
def test_another_name_or_number_is_another_subject(make, old, new) -> None:
    """Passages that differ in a name or a number stay whole: "its" is not the same there."""
    assert gone(make(WALL + MOLE + LAMP, WALL.replace(old, new) + MOLE + LAMP)) == []


def test_another_title_is_another_subject(make) -> None:
    """Equal texts under different titles stay: they say it of different things."""
    selection = make(titled(WALL, title="Reykjavik"), titled(WALL, title="Akureyri"), titled(WALL))
    assert gone(selection) == []


def test_prefers_retrieval_scores_before_scoring(make) -> None:
    """Unscored, the passage with the higher retrieval score stays."""
    assert gone(make(titled(WALL, score=1), titled(WALL, score=2.5))) == [(0, WALL, 1)]


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_missing_retrieval_score_leaves_the_order(make, missing) -> None:
    """When a passage has no retrieval score, the earlier one stays."""
    selection = make(titled(WALL, score=1), titled(WALL, score=2), titled(LAMP, score=missing))
    assert gone(selection) == [(1, WALL, 0)]


def test_passage_scores_come_before_retrieval_scores(make) -> None:
    """Scored, the passage with the higher passage score stays."""
    selection = make(titled(WALL, score=9), titled(WALL, score=1), scores=[[0.1], [0.2]])
    assert gone(selection) == [(0, WALL, 1)]


def test_a_header_stays_with_its_other_rows(make) -> None:
    """A shared table header is kept as long as a row that requires it is."""
    table = split((TABLE, "table_header", None), (ROWS[0], "table_row", 0))
    longer = split((TABLE, "table_header", None), *((row, "table_row", 0) for row in ROWS))
    assert gone(make(table, longer)) == [(1, ROWS[0], 0)]


def test_equal_rows_under_other_headers_stay(make) -> None:
    """A row is not a copy of a row that belongs to another header."""
    other = TABLE.replace("fee", "depth")
    tables = [split((h, "table_header", None), (ROWS[0], "table_row", 0)) for h in (TABLE, other)]
    assert gone(make(*tables)) == []


def test_a_row_does_not_leave_its_header(make) -> None:
    """A row stays when the better passage repeats it without the header."""
    bare = split((ROWS[0], "sentence", None), (WALL, "sentence", None))
    table = split((TABLE, "table_header", None), (ROWS[0], "table_row", 0))
    assert gone(make(bare, table)) == []
    assert gone(make(table, bare)) == [(1, ROWS[0], 0)]


def test_equal_lines_of_different_code_stay(make) -> None:
    """Code that shares lines is not the same code."""
    lines = "for passage in passages:\n", "    total += len(passage.text)\n"
    codes = [[(f"def {name}(passages):\n", "code", None)] for name in ("measure", "count")]
    assert (
        gone(make(*(split(*code, *((line, "code", None) for line in lines)) for code in codes)))
        == []
    )


def test_indents_of_code_matter(make) -> None:
    """In code, white space is text."""
    start, ends = ("while waiting_for_the_tide:\n", "code", None), ("    look()\n", "look()\n")
    codes = [split(start, (end, "code", None), (WALL, "sentence", None)) for end in ends]
    assert gone(make(*codes)) == [(1, start[0], 0), (1, WALL, 0)]


def test_text_that_is_not_kept_holds_nothing(make) -> None:
    """A passage whose copy an earlier stage dropped is the one that keeps the text."""
    selection = make(WALL + MOLE, WALL + MOLE)
    selection = selection.drop(np.array([1, 0, 0, 0], dtype=bool), stage="dedupe", reason="test")
    assert gone(selection) == [(0, WALL, None), (1, MOLE, 0)]


def test_a_chain_of_overlaps_keeps_every_sentence(make) -> None:
    """What a passage gives up is kept by the passage that the record names, at the end."""
    parts = [WALL, MOLE, LAMP, QUAY]
    selection = make(*("".join(parts[start : start + 2]) for start in (0, 1, 2, 0, 1, 2)))
    assert gone(selection) == [
        (1, MOLE, 0),
        (2, LAMP, 1),
        (3, WALL + MOLE, 0),
        (4, MOLE, 0),
        (4, LAMP, 1),
        (5, LAMP, 1),
        (5, QUAY, 2),
    ]


def test_finds_copies_in_scripts_without_spaces(make) -> None:
    """Overlaps and copies are found in any script."""
    wall = (
        "港口的外墙由北方运来的深色玄武岩砌成,全长四百二十米,已有百年历史,守护着城里的渔船和商船。"
    )
    lamp, mole = "灯塔的守护人搬到了内地。", "防波堤为小船挡住冬天的涌浪。"
    selection = make(lamp + wall, wall + mole, mole + mole, wall + mole)
    assert gone(selection) == [(1, wall, 0), (3, wall, 0), (3, mole, 1)]


PARTS = st.sampled_from([WALL, MOLE, LAMP, QUAY, LAMP.replace("oil", "fat"), "Yes. ", " \n"])
TEXTS = st.lists(st.lists(PARTS, max_size=5).map("".join), max_size=6)


@settings(max_examples=150, deadline=None)
@given(texts=TEXTS, cut=st.integers(0, 30))
def test_nothing_is_lost(make, texts: list[str], cut: int) -> None:
    """Every dropped span stands in the kept text of the passage that its record names."""
    after = Dedupe()(make(*(text[cut * (index % 2) :] for index, text in enumerate(texts))), None)
    kept = [""] * len(texts)
    for number in np.flatnonzero(after.kept).tolist():
        kept[after.passage_of[number]] += after.text_of(number)
    for number in np.flatnonzero(~after.kept).tolist():
        keeper = after.drops[after.drop_of[number]].merged_into
        assert after.text_of(number).strip() in kept[keeper]


@pytest.mark.parametrize("options", [{"threshold": 0}, {"threshold": 1.1}, {"min_chars": 0}])
def test_refuses_wrong_options(options) -> None:
    """The threshold is in (0, 1], the shortest overlap has a character."""
    with pytest.raises(ValidationError):
        Dedupe(**options)
