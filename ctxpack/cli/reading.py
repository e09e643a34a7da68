"""Passages from files: text and Markdown, JSON, JSON Lines."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from ctxpack.errors import InputError, shown
from ctxpack.selection import Passage

STDIN = "-"


class InputFormat(StrEnum):
    """What a file holds; `AUTO` goes by the ending of its name, standard input by its start."""

    AUTO = "auto"
    TEXT = "text"
    JSON = "json"
    JSONL = "jsonl"


class Keys(NamedTuple):
    """The keys of a JSON object that hold the parts of a passage; all others are metadata."""

    text: str = "text"
    title: str = "title"
    id: str = "id"
    score: str = "score"


def read_passages(source: str, input_format: InputFormat, keys: Keys) -> list[Passage]:
    """Return the passages in a file, or in standard input for ``-``.

    A text is one passage, its path the id and its file name the title. Line ends stay as they are,
    so that offsets count the characters of the file; a byte order mark is not one of them.

    Raises:
        InputError: the file cannot be read, is not UTF-8, or does not hold passages; the message
            names it, and the line or position.
    """
    text = _text_of(source)
    if input_format is InputFormat.AUTO:
        input_format = _format_of(source, text)
    if input_format is InputFormat.TEXT:
        if source == STDIN:
            return [Passage(text)]
        return [Passage(text, id=source, title=Path(source).name)]
    items = _json_items if input_format is InputFormat.JSON else _jsonl_items
    return [_passage(item, keys, where) for where, item in items(source, text)]


def _text_of(source: str) -> str:
    try:
        raw = sys.stdin.buffer.read() if source == STDIN else Path(source).read_bytes()
    except OSError as error:
        raise InputError(f"{source}: cannot be read: {error.strerror}") from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, byte = raw.count(b"\n", 0, error.start) + 1, raw[error.start]
        raise InputError(f"{source}:{line}: must be UTF-8, got byte {byte:#x}") from None


def _format_of(source: str, text: str) -> InputFormat:
    """Return the format by suffix; of standard input, JSON when it starts like JSON."""
    if source != STDIN:
        suffix = Path(source).suffix.lower()
        by_suffix = {".json": InputFormat.JSON, ".jsonl": InputFormat.JSONL}
        return by_suffix.get(suffix, InputFormat.TEXT)
    # A Markdown text may start with `[`, but hardly with one of these.
    if not re.match(r'\s*(\{\s*"|\[\s*["{\]])', text):
        return InputFormat.TEXT
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":  # a second value, on another line
            return InputFormat.JSONL
    except RecursionError:
        pass  # reading it says so
    return InputFormat.JSON


def _json_items(source: str, text: str) -> Iterator[tuple[str, Any]]:
    data = _parsed(text, source, 1)
    items = data.get("passages", [data]) if isinstance(data, dict) else data
    if not isinstance(items, list):
        raise InputError(
            f"{source}: must be a list, a passage, or an object with a list `passages`,"
            f" got {shown(data)}"
        )
    for index, item in enumerate(items):
        yield f"{source}: passages[{index}]", item


def _jsonl_items(source: str, text: str) -> Iterator[tuple[str, Any]]:
    # Not `splitlines`: a string of JSON may hold other line ends than this one.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"{source}:{number}", _parsed(line, source, number)


def _parsed(text: str, source: str, line: int) -> Any:
    """Return what JSON says; NaN and infinity, which JSON does not have, are None.

    Args:
        text: the JSON.
        source: the file, for an error.
        line: of the file on which `text` begins.
    """
    try:
        return json.loads(text, parse_constant=lambda _: None)
    except json.JSONDecodeError as error:
        at = f"{source}:{line + error.lineno - 1}"
        raise InputError(f"{at}: must be JSON: {error.msg} (column {error.colno})") from None
    except RecursionError:
        raise InputError(f"{source}:{line}: must be JSON of fewer levels") from None


def _passage(item: Any, keys: Keys, where: str) -> Passage:
    if isinstance(item, str):
        return Passage(item)
    if not isinstance(item, dict):
        raise InputError(f"{where}: must be a string or an object, got {shown(item)}")
    text, title, identifier, score = (item.get(key) for key in keys)
    if not isinstance(text, str):
        found = f"got {shown(text)}" if keys.text in item else f"its keys are {', '.join(item)}"
        raise InputError(f"{where}: `{keys.text}` must be a string; {found} (see --field)")
    if isinstance(identifier, int):
        identifier = str(identifier)
    metadata = {key: value for key, value in item.items() if key not in keys}
    try:
        return Passage(text, id=identifier, title=title, score=score, metadata=metadata)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
