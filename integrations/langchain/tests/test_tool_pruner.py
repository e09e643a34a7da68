"""What the middleware does to texts: any text, any budget."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_ctxpack.json_tree import JsonTree
from langchain_ctxpack.line_reading import is_lines
from langchain_ctxpack.tool_pruner import ERROR, ToolPruner

BUDGET = 60
PRUNER = ToolPruner(None, budget=BUDGET)

words = st.lists(st.sampled_from(["tide", "é", "pump\n", "quay. ", '"', "\\", "\u2028"])).map(
    " ".join
)
numbers = st.floats(allow_nan=False, allow_infinity=False)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | words
)
values = st.recursive(
    scalars | words.map(lambda text: text + "The lamp is lit. " * 40),
    lambda inner: (
        st.lists(inner, max_size=30) | st.dictionaries(st.text(max_size=5), inner, max_size=30)
    ),
    max_leaves=30,
)
lines = st.tuples(st.sampled_from(["", "  ", "\t", "3: "]), words).map("".join)
containers = st.lists(values, max_size=40) | st.dictionaries(st.text(max_size=5), values)


def pruned(text: str, query: str = "Which lamp is lit?") -> str:
    """Return the text as the model sees it."""
    result = PRUNER.prune([text], query)
    return text if result is None else result.texts[0]


@settings(max_examples=30, deadline=None)
@given(containers, st.sampled_from([None, 1]))
def test_json_stays_json_within_the_budget(value: Any, indent: int | None) -> None:
    """Whatever is left out, the text parses; it is within the budget, or was not touched."""
    text = json.dumps(value, indent=indent)
    result = pruned(text)
    kept = json.loads(result)
    assert type(kept) is type(value)
    assert result == text or PRUNER.count(result) <= BUDGET
    if isinstance(value, list) and result != text:
        assert len(kept) <= len(value) + 1


@settings(max_examples=30, deadline=None)
@given(st.lists(lines, max_size=60).map("\n".join))
def test_any_text_is_within_the_budget(text: str) -> None:
    """A text that was over the budget is within it."""
    assert PRUNER.count(pruned(text)) <= max(BUDGET, min(PRUNER.count(text), BUDGET))


def test_numbers_keep_their_spelling() -> None:
    """What stays of JSON is copied, not written anew."""
    rows = [f'{{"lamp": {n}, "volt": 1.50, "big": 1E400}}' for n in range(100)]
    rows[60] = '{"lamp": "lit", "volt": 2.50, "big": 1E400}'
    assert rows[60] in pruned(f"[{', '.join(rows)}]")


def test_an_object_with_many_members_is_a_table() -> None:
    """Its members may be left out, and the mark is a member too."""
    table = {f"lamp{n}": {"lit": n == 50, "state": "lit" if n == 50 else "out"} for n in range(90)}
    kept = json.loads(pruned(json.dumps(table)))
    assert kept["lamp50"] == table["lamp50"]
    assert "expand_context" in kept["ctxpack"]
    assert len(kept) < 20


def test_a_long_array_of_numbers_goes_as_one() -> None:
    """Numbers mean nothing alone: such an array in a record is whole or empty."""
    text = json.dumps({"name": "lamp", "vector": [n / 7 for n in range(400)]})
    kept = json.loads(pruned(text))
    assert kept["name"] == "lamp"
    assert kept["vector"] == []


@pytest.mark.parametrize("text", ["", "3", '"x"', "{", "[1,", "[]", "[" * 9000])
def test_other_text_is_no_json(text: str) -> None:
    """What is no array or object with something in it is not read as JSON."""
    with pytest.raises((ValueError, RecursionError)):
        JsonTree(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The lamp is lit at night.\n" * 5, False),
        ("# Lamps\n\n- The lamp is lit at night\n- It is out by day time\n" * 3, False),
        ("| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |", False),
        ("灯塔于1987年自动化。\n" * 5, False),
        ("12:00:01 INFO the lamp was lit by hand\n" * 5, True),
        ("def lit(lamp):\n    # The lamp is lit at night.\n    return lamp\n" * 3, True),
        ("src/lamp.py:3: lit = True\n" * 5, True),
        ("lamp,volt\n1,2\n3,4\n5,6\n", True),
    ],
)
def test_lines_are_told_from_prose(text: str, expected: bool) -> None:
    """Logs, code, listings and tables of values are lines; prose and Markdown are not."""
    assert is_lines(text) is expected


def test_a_table_of_values_keeps_its_header() -> None:
    """The first line of comma-separated values stays with the rows that are asked for."""
    rows = [f"{n},lamp {n},{n % 7}" for n in range(90)]
    kept = pruned("\n".join(["number,name,volt", *rows]), "What is the voltage of lamp 57?")
    assert kept.startswith("number,name,volt\n")
    assert "57,lamp 57,1\n" in kept


def test_a_huge_log_is_read_in_bigger_blocks() -> None:
    """Beyond some thousand lines neighbours are weighed together, and lines still stay whole."""
    lines = [f"12:00:00 INFO lamp {n} is out" for n in range(6000)]
    lines[4321] = "12:00:00 INFO lamp Vega is lit"
    kept = pruned("\n".join(lines), "What about lamp Vega?").splitlines()
    assert lines[4321] in kept
    assert set(kept[:-1]) <= {*lines, "[…]"}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("12:01:00 ERROR pump 61 stopped", True),
        ("KeyError: 'north'", True),
        ("requests.exceptions.ReadTimeout", False),
        ("java.io.IOException: closed", True),
        ("Caused by: java.io.IOException", True),
        ("pump.c:3:5: error: no such valve", True),
        ("error[E0308]: mismatched types", True),
        ("panic: runtime error", True),
        ("    except KeyError:", False),
        ("    raise ValueError(name)", False),
        ("An error of the pump is rare.", False),
    ],
)
def test_errors_are_told_from_code_that_handles_them(line: str, expected: bool) -> None:
    """What a log, a traceback or a compiler reports is an error; a handler in code is not."""
    assert bool(re.search(ERROR, line)) is expected
