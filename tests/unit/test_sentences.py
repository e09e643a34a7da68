from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctxpack.errors import InputError
from ctxpack.selection import Span
from ctxpack.sentences import MAX_ITEM_CHARS, split
from ctxpack.sentences.blocks import MAX_HEADING_CHARS
from ctxpack.sentences.language import guess_language
from ctxpack.sentences.pieces import MAX_SPAN_CHARS
from ctxpack.sentences.prose import LONG_SENTENCE_CHARS, UNMARKED_SPAN_CHARS

FRAGMENTS = [
    *("# Top", "## Sub", "Title\n===", "- item", "  - nested", "1. one", "2) two", "* * *", "+"),
    *("| a | b |\n|---|---|", "| 1 | 2 |", "```", "```py\nx = 1\n\ny", "~~~", "    code()", "\tx"),
    *("> quoted", "> - item", "- # both", "- ```", "---\nkey: value\n---", "<table>\n<tr>", "***"),
    *("It ends. It goes on", "Mr. A. Smith (b. 1950) left", '"Yes." "No!', "A lead:", "Ja. Nein"),
    *(
        "これは本です。「はい。」と",
        "यह है। हाँ",
        "نعم؟ لا",
        "สวัสดี ครับ",
        "e\u0301\u0301",
        "👩\u200d👩",
    ),
    *(
        "\n",
        "\n\n",
        "\r\n",
        "\r",
        " ",
        "\t",
        "\x0b",
        "\x0c",
        "\x85",
        "\u2028",
        "\0",
        "\ud83d",
        "\udc00",
    ),
    *(
        "word " * 300,
        "x" * 1500,
        "a, " * 500,
        "- " + "Long one. " * 50,
        "'" * 40,
        '"' * 41,
        "." * 9,
    ),
]
TEXTS = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=6) | st.just("\n"), max_size=30).map(
    "".join
)


def shown(text: str, language: str = "auto") -> list[str]:
    """Return the texts of the spans without the white space around them."""
    return [text[start:end].strip() for start, end, *_ in split(text, language=language)]


def outline(text: str) -> list[tuple[str, str, int | None]]:
    """Return text, kind and requirement of each span."""
    return [(text[low:high].strip(), kind, needs) for low, high, kind, needs in split(text)]


@given(TEXTS)
def test_spans_cover_every_character_once(text: str) -> None:
    """Spans are contiguous, in order, not empty, and reach from the first character to the last."""
    position = 0
    for span in split(text):
        assert span.start == position < span.end
        position = span.end
    assert position == len(text)


@given(TEXTS)
def test_requires_is_a_forest_with_contiguous_subtrees(text: str) -> None:
    """A span requires an earlier one that every span in between requires too, if indirectly."""
    path: list[int] = []
    for number, span in enumerate(split(text)):
        while path and path[-1] != span.requires:
            path.pop()
        assert span.requires is None or path
        path.append(number)


@given(TEXTS)
def test_no_span_is_longer_than_the_bound(text: str) -> None:
    """A span has at most `MAX_SPAN_CHARS` characters, white space around it aside."""
    assert all(len(text[span.start : span.end].strip()) <= MAX_SPAN_CHARS for span in split(text))


@given(TEXTS)
def test_no_span_begins_in_white_space(text: str) -> None:
    """White space belongs to the span before it; only indented blocks and code keep their own."""
    for span in split(text)[1:]:
        if span.kind == "sentence" and text[span.start - 1] not in "\n\r":
            assert not text[span.start].isspace()


@given(TEXTS)
def test_lone_surrogates_are_characters_like_others(text: str) -> None:
    """A lone surrogate is split as the replacement character in its place is."""
    replaced = "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in text)
    assert split(text) == split(replaced)


def test_empty_text_has_no_spans() -> None:
    """No text, no spans."""
    assert split("") == ()


@pytest.mark.parametrize("text", [" ", "\n\n", "\r\n \t", "\0", "😀", "\ud800", "---"])
def test_text_without_words_is_one_span(text: str) -> None:
    """White space, marks and other text without a word is one sentence."""
    assert split(text) == (Span(0, len(text), "sentence", None),)


@pytest.mark.parametrize(
    "unit", ["x", " ", "\n", "word ", "'a ", "\ud800", "🙂", "# ", "> ", "1) "]
)
def test_long_text_without_a_sentence_end_is_covered(unit: str) -> None:
    """A long text without any end mark is covered, in time that grows with its length only."""
    text = unit * (300_000 // len(unit))
    assert sum(span.end - span.start for span in split(text)) == len(text)


@pytest.mark.parametrize("language", ["xx", "", "english", "AUTO", "-en", "eng"])
def test_unknown_language_is_refused(language: str) -> None:
    """A language that is no ISO 639-1 code is an error that says where, which rule and value."""
    with pytest.raises(InputError, match=f"split: `language` must be .* ISO 639-1.*{language!r}"):
        split("A text.", language=language)


def test_language_may_have_a_subtag() -> None:
    """What follows a hyphen in a language code is ignored."""
    assert split("Am 8. Mai. Ja.", language="de-CH") == split("Am 8. Mai. Ja.", language="de")


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The café is closed.", "en"),
        ("Das ist der Rhein und nicht die Elbe.", "de"),
        ("Он был здесь.", "ru"),
        ("これは漢字を含む文章である。", "ja"),
        ("这是一个句子。", "zh"),
        ("यह है।", "hi"),
        ("نعم، هذا صحيح.", "ar"),
        ("สวัสดีครับ", "th"),
        ("", "en"),
    ],
)
def test_language_goes_by_the_script(text: str, language: str) -> None:
    """The script of a text picks the language whose rules split it."""
    assert guess_language(text) == language


@pytest.mark.parametrize(
    "sentences",
    [
        ["Dr. Smith paid 3.14 dollars in the U.S. Senate.", "He left.", "Why?"],
        ["J. K. Rowling wrote it.", "See Fig. 3 and no. 5 (cf. Lee et al. 2003)."],
        ["It was shown.[1][2]", "It was shown again.[3]", "So be it."],
        ['"Stop!" he said.', "She waited...", "Nobody came."],
        ["5.1. The supplier delivers.", "(b) The buyer pays.", "IV. The court decides."],
        ["Whisky Galore! is a film.", "It is old."],
        ["The flea spreads Y. pestis.", "It bites."],
        ["The cast (Seasons 1 – 10) stayed.", "The chef left."],
        ["We sell at www.NPS.gov and foo.Bar.baz too.", "Come in."],
        ["it is good.", "i like it.", "you will like it."],
        ["That is **all.**", "The rest is _silence._", "Good night."],
        ["यह किताब है।", "वह क्या है?", "हाँ।"],
        ["هل هذا كتاب؟", "نعم.", "شكرا."],
        ["Am 8. Februar ist der Tag und nicht die Nacht.", "Das war z. B. gestern."],
    ],
)
def test_sentences(sentences: list[str]) -> None:
    """Sentences that are joined with a space are found again."""
    text = " ".join(sentences)
    assert shown(text) == sentences


@pytest.mark.parametrize(
    "sentences",
    [
        ["It works.", "Great!", "I like it."],
        ["これは本です。", "「行く。」と言った。", "はい！"],
        ["这是一个句子。", "他说：“我来了。你呢？”", "好！"],
    ],
)
def test_sentences_without_spaces(sentences: list[str]) -> None:
    """Sentences that follow each other without a space are found, quotations stay whole."""
    assert shown("".join(sentences)) == sentences


def test_white_space_belongs_to_the_span_before() -> None:
    """What is between two sentences is the end of the first, what is before the first its start."""
    text = " \n One.  \r\n\r\nTwo.\t"
    assert [text[start:end] for start, end, *_ in split(text)] == [" \n One.  \r\n\r\n", "Two.\t"]


def test_wrapped_lines_are_one_sentence() -> None:
    """A line break that wraps a paragraph is no boundary."""
    text = "The quick brown fox\njumps over the lazy\nDog and then sleeps.\nIt snores loudly."
    assert len(split(text)) == 2


def test_a_line_that_is_meant_is_a_boundary() -> None:
    """A short line, a speaker, a bullet and a line behind a very long one start a span."""
    long = "We talk " + "and talk " * 20
    lines = ["Minutes", f"Project Manager: {long}", "Marketing: Yes", "• one", "• two"]
    assert shown("\n".join(lines)) == [line.strip() for line in lines]


def test_long_quotation_is_cut_at_its_sentences() -> None:
    """Sentences inside quotation marks stay together unless they are long."""
    inside = "The ship has left the harbour. "
    short, long = f'He said: "{inside * 2}"', f'He said: "{inside * 20}"'
    assert len(short) < LONG_SENTENCE_CHARS < len(long)
    assert [len(split(short)), len(split(long))] == [1, 20]


def test_long_sentence_is_cut_behind_a_clause() -> None:
    """A sentence over the bound is cut behind a comma, or white space when there is none."""
    for clause in ("so many words in here, ", "so many words in here "):
        text = clause * 100
        starts = {text[span.start :][:7] for span in split(text)}
        assert len(split(text)) > 1
        assert starts == {"so many"} or "," not in clause


def test_hard_cut_spares_a_combining_character() -> None:
    """Text without any white space is cut between characters, not before an accent or a joiner."""
    text = "ae\u0301\u200d" * 1000
    assert {text[span.start] for span in split(text)} <= {"a", "e"}


def test_script_without_end_marks_is_cut_at_spaces() -> None:
    """Thai marks no sentence end: spans end at a space and are short."""
    spans = split("สวัสดีครับผมชื่อสมชาย " * 50)
    assert max(span.end - span.start for span in spans) <= UNMARKED_SPAN_CHARS + 1
    assert len(spans) < 20


def test_fenced_code_is_one_span() -> None:
    """A fenced block is one span whatever is in it."""
    fence = "```py\n# no heading\n\n- no item. Really.\n```"
    assert outline(f"Before.\n\n{fence}\n\nAfter.") == [
        ("Before.", "sentence", None),
        (fence, "code", None),
        ("After.", "sentence", None),
    ]


def test_long_code_is_cut_at_blank_lines() -> None:
    """Code over the bound is cut at blank lines, then lines, and its indentation stays with it."""
    groups = "def f():\n    one()\n    two()\n\n\n" * 40
    text = f"```\n{groups}```"
    assert len(split(text)) > 1
    assert all(text[span.start :].startswith("def") for span in split(text)[1:])
    lines = "```\n" + "    call(me)\n" * 200 + "```"
    assert all(lines[span.start :].startswith("    call") for span in split(lines)[1:])


def test_source_code_is_a_code_block() -> None:
    """A text that begins like source code is code, and a comment in it is no heading."""
    text = "@cache\ndef load(path):\n    # Read it. Twice.\n    return read(path)\n"
    assert outline(text) == [(text.strip(), "code", None)]


def test_indented_block_is_code_unless_it_is_prose() -> None:
    """An indented block is code, but four plain words in a row make it prose."""
    text = "# Title\n\n    call(me)\n\nText.\n\n    The parties agree as follows. So be it."
    assert [kind for _, kind, _ in outline(text)] == ["heading", "code", *["sentence"] * 3]


def test_table_rows_require_the_header() -> None:
    """A table is its header with the delimiter row, and a span per row that requires it."""
    text = "| a | b |\r\n|---|:-:|\r\n| 1. X | 2 |\r\n| 3 | 4 |\r\n\r\nEnd."
    assert outline(text) == [
        ("| a | b |\r\n|---|:-:|", "table_header", None),
        ("| 1. X | 2 |", "table_row", 0),
        ("| 3 | 4 |", "table_row", 0),
        ("End.", "sentence", None),
    ]


def test_long_table_row_is_cut_at_cells() -> None:
    """The pieces of a row over the bound start at a cell and require the header like the row."""
    text = "| a | b |\n|---|---|\n" + "| some words " * 200 + "|\n| 3 | 4 |"
    rows = split(text)[1:]
    assert len(rows) > 2
    assert {(row.kind, row.requires) for row in rows} == {("table_row", 0)}
    assert all(text[row.start :].startswith(("| some", "some", "| 3")) for row in rows)


def test_list_items_require_their_lead() -> None:
    """The last sentence before a list leads into it; a nested item requires the outer one."""
    text = "Some news. You need:\n\n- eggs. Fresh ones.\n  - six\n- milk\n\nDone."
    assert outline(text) == [
        ("Some news.", "sentence", None),
        ("You need:", "list_lead", None),
        ("- eggs. Fresh ones.", "list_item", 1),
        ("- six", "list_item", 2),
        ("- milk", "list_item", 1),
        ("Done.", "sentence", None),
    ]


@pytest.mark.parametrize(
    ("before", "leads"),
    [("You need:", True), ("**Steps**", True), ("It is late.", False), ("**Why?**", False)],
)
def test_a_finished_sentence_leads_nowhere(before: str, leads: bool) -> None:
    """A sentence with an end mark stands for itself, although a list follows."""
    first, second = split(f"{before}\n\n1. one")
    assert (first.kind == "list_lead", second.requires == 0) == (leads, leads)


def test_long_list_item_is_cut_at_sentences() -> None:
    """An item over the bound is a numbered paragraph: its sentences require what it requires."""
    item = "1. " + "The supplier delivers the goods. " * 15
    assert len(item) > MAX_ITEM_CHARS
    spans = split(f"They agree:\n\n{item}\n2. End.")
    assert [(span.kind, span.requires) for span in spans[1:]] == [("list_item", 0)] * 16


def test_pieces_of_a_required_block_stay_together() -> None:
    """What requires a block that had to be cut requires all of its pieces."""
    item = "1. " + "The supplier delivers the goods. " * 15
    spans = split(f"{item}\n   - nested")
    assert [span.requires for span in spans] == [None, *range(15)]


def test_sections_require_their_heading() -> None:
    """All of a section requires its heading, to the next of the same or a higher level."""
    text = "Intro.\n\n# A\nOne. Two.\n\n### B\n- x\n\nC\n---\n\nFour.\n\n# D\nFive."
    assert outline(text) == [
        ("Intro.", "sentence", None),
        ("# A", "heading", None),
        ("One.", "sentence", 1),
        ("Two.", "sentence", 1),
        ("### B", "heading", 1),
        ("- x", "list_item", 4),
        ("C\n---", "heading", 1),
        ("Four.", "sentence", 6),
        ("# D", "heading", None),
        ("Five.", "sentence", 8),
    ]


def test_long_heading_is_prose() -> None:
    """What Markdown takes for a very long heading is required by nothing."""
    text = "It is a long story. " * (MAX_HEADING_CHARS // 20 + 1) + "\n-----\n\nEnd."
    assert {(kind, needs) for _, kind, needs in outline(text)} == {("sentence", None)}


def test_heading_in_a_quotation_ends_with_it() -> None:
    """A heading inside a block quotation has no section outside of it."""
    text = "# A\n\n> # B\n> One.\n\nTwo."
    assert [needs for _, _, needs in outline(text)] == [None, 0, 1, 0]


def test_front_matter_is_one_block() -> None:
    """The metadata at the start of a file is a block of its own, neither rule nor heading."""
    text = "---\ntitle: A. B.\ntags: [x]\n---\n# A\nText."
    assert outline(text) == [
        ("---\ntitle: A. B.\ntags: [x]\n---", "code", None),
        ("# A", "heading", None),
        ("Text.", "sentence", 1),
    ]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_lines_are_counted_as_markdown_does(newline: str) -> None:
    """Line ends are LF, CRLF and CR; other separators and NUL are characters of a line."""
    lines = ["# A\x0b\x0c\x85", "O\u2028ne\0.", "", "- b", "- c"]
    assert shown(newline.join(lines)) == ["# A", "O\u2028ne\0.", "- b", "- c"]


def test_tags_start_a_span() -> None:
    """A line that starts with a tag is its own span: rows of an HTML table."""
    rows = ["<table>", "<tr><td>One</td></tr>", "<tr><td>Two</td></tr>", "</table>"]
    assert shown("\n".join(rows)) == rows


def test_threads_share_the_parser() -> None:
    """Splitting in many threads gives what splitting in one gives."""
    texts = [f"# {n}\n\nYou need:\n\n- a{n}\n\n|x|y|\n|-|-|\n|{n}|2|\n" * 5 for n in range(40)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(split, texts)) == [split(text) for text in texts]


def test_import_loads_neither_splitter_nor_parser() -> None:
    """`sentencex` and the Markdown parser are loaded on first use."""
    probe = "import sys, ctxpack; print(sorted({'sentencex', 'markdown_it'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
