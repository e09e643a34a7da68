"""Passages from files: text and Markdown, JSON, JSON Lines, Parquet.

A file is read in stretches, so that a large one is never in memory as a whole and several machines
can share it: some lines of JSON Lines, a row group of Parquet, any other file whole.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from ctxpack.errors import InputError, MissingExtraError, shown
from ctxpack.selection import Passage

STDIN = "-"
STRETCH_BYTES = 500_000
"""Of JSON Lines, about; encoding them takes `ctxpack-swift` some ten seconds."""

_ROWS = 256  # of Parquet that are in memory at a time


class InputFormat(StrEnum):
    """What a file holds; `AUTO` goes by the ending of its name, standard input by its start."""

    AUTO = "auto"
    TEXT = "text"
    JSON = "json"
    JSONL = "jsonl"
    PARQUET = "parquet"


class Keys(NamedTuple):
    """The keys of a JSON object that hold the parts of a passage; all others are metadata.

    Of Parquet they are the columns that are read.
    """

    text: str = "text"
    title: str = "title"
    id: str = "id"
    score: str = "score"


class Stretch(NamedTuple):
    """A part of a file that can be read by itself.

    Args:
        source: path of the file; ``-`` for standard input.
        input_format: what the file holds; not `AUTO`.
        n_bytes: of the file that are in the stretch.
        start: offset of its first byte; of Parquet, the number of its row group.
        first: number of its first line or row, from 1.
        content: its bytes, where they cannot be read a second time.
    """

    source: str
    input_format: InputFormat
    n_bytes: int
    start: int = 0
    first: int = 1
    content: bytes | None = None


def read_passages(source: str, input_format: InputFormat, keys: Keys) -> list[Passage]:
    """Return the passages in a file, or in standard input for ``-``.

    A text is one passage, its path the id and its file name the title. Line ends stay as they are,
    so that offsets count the characters of the file; a byte order mark is not one of them.

    Raises:
        InputError: the file cannot be read, is not UTF-8, or does not hold passages; the message
            names it, and the line, row or position.
        MissingExtraError: a Parquet file without the package ``pyarrow``.
    """
    return [
        passage
        for stretch in stretches(source, input_format)
        for passage, _ in passages_of(stretch, keys)
    ]


def stretches(source: str, input_format: InputFormat) -> Iterator[Stretch]:
    """Yield the stretches of a file, or of standard input for ``-``, in order.

    Raises:
        InputError: the file cannot be read.
        MissingExtraError: as in `read_passages`.
    """
    if source == STDIN:
        yield from _stretches_of_stdin(input_format)
        return
    if input_format is InputFormat.AUTO:
        suffix = Path(source).suffix.lower().removeprefix(".")
        by_suffix = {kind.value: kind for kind in InputFormat if kind is not InputFormat.AUTO}
        input_format = by_suffix.get(suffix, InputFormat.TEXT)
    if input_format is InputFormat.PARQUET:
        yield from _row_groups(source)
        return
    try:
        if input_format is InputFormat.JSONL:
            with open(source, "rb") as file:
                yield from _lines(source, file, keep=False)
        else:
            yield Stretch(source, input_format, Path(source).stat().st_size)
    except OSError as error:
        raise _unreadable(source, error) from None


def passages_of(stretch: Stretch, keys: Keys) -> Iterator[tuple[Passage, float]]:
    """Yield the passages of a stretch, each with its share of the stretch's bytes.

    Raises:
        InputError: as in `read_passages`.
        MissingExtraError: as in `read_passages`.
    """
    if stretch.input_format is InputFormat.PARQUET:
        yield from _parquet_passages(stretch, keys)
        return
    source, text = stretch.source, _text_of(stretch)
    if stretch.input_format is InputFormat.TEXT:
        named = source != STDIN
        passage = Passage(text, id=source, title=Path(source).name) if named else Passage(text)
        yield passage, stretch.n_bytes
        return
    items = _json_items if stretch.input_format is InputFormat.JSON else _jsonl_items
    found = list(items(stretch, text))
    for where, item in found:
        yield _passage(item, keys, where), stretch.n_bytes / len(found)


def _stretches_of_stdin(input_format: InputFormat) -> Iterator[Stretch]:
    if input_format is InputFormat.PARQUET:
        raise InputError(f"{STDIN}: Parquet is read from files only")
    if input_format is InputFormat.JSONL:
        yield from _lines(STDIN, sys.stdin.buffer, keep=True)
        return
    raw = sys.stdin.buffer.read()
    if input_format is InputFormat.AUTO:
        input_format = _format_of(_decoded(raw, STDIN, 1))
    yield Stretch(STDIN, input_format, len(raw), content=raw)


def _lines(source: str, file: BinaryIO, *, keep: bool) -> Iterator[Stretch]:
    start, first = 0, 1
    while raw := file.read(STRETCH_BYTES):
        raw += file.readline()
        content = raw if keep else None
        yield Stretch(source, InputFormat.JSONL, len(raw), start, first, content)
        start += len(raw)
        first += raw.count(b"\n")


def _text_of(stretch: Stretch) -> str:
    raw = stretch.content
    if raw is None:
        try:
            with open(stretch.source, "rb") as file:
                file.seek(stretch.start)
                raw = file.read(stretch.n_bytes)
        except OSError as error:
            raise _unreadable(stretch.source, error) from None
    return _decoded(raw, stretch.source, stretch.first)


def _decoded(raw: bytes, source: str, first_line: int) -> str:
    try:
        return raw.decode("utf-8-sig" if first_line == 1 else "utf-8")
    except UnicodeDecodeError as error:
        line, byte = raw.count(b"\n", 0, error.start) + first_line, raw[error.start]
        raise InputError(f"{source}:{line}: must be UTF-8, got byte {byte:#x}") from None


def _format_of(text: str) -> InputFormat:
    """Return the format of standard input, JSON when it starts like JSON."""
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


def _json_items(stretch: Stretch, text: str) -> Iterator[tuple[str, Any]]:
    source, data = stretch.source, _parsed(text, stretch.source, 1)
    items = data.get("passages", [data]) if isinstance(data, dict) else data
    if not isinstance(items, list):
        raise InputError(
            f"{source}: must be a list, a passage, or an object with a list `passages`,"
            f" got {shown(data)}"
        )
    for index, item in enumerate(items):
        yield f"{source}: passages[{index}]", item


def _jsonl_items(stretch: Stretch, text: str) -> Iterator[tuple[str, Any]]:
    # Not `splitlines`: a string of JSON may hold other line ends than this one.
    for number, line in enumerate(text.split("\n"), start=stretch.first):
        if line.strip():
            yield f"{stretch.source}:{number}", _parsed(line, stretch.source, number)


def _row_groups(source: str) -> Iterator[Stretch]:
    with _parquet(source) as file:
        size, total = Path(source).stat().st_size, max(1, file.metadata.num_rows)
        first = 1
        for number in range(file.num_row_groups):
            rows = file.metadata.row_group(number).num_rows
            n_bytes = size * rows // total
            yield Stretch(source, InputFormat.PARQUET, n_bytes, number, first)
            first += rows


def _parquet_passages(stretch: Stretch, keys: Keys) -> Iterator[tuple[Passage, float]]:
    source = stretch.source
    with _parquet(source) as file:
        names = file.schema_arrow.names
        if keys.text not in names:
            known = ", ".join(names)
            raise InputError(f"{source}: no column `{keys.text}`, only {known} (see --text-field)")
        columns = [key for key in keys if key in names]
        share = stretch.n_bytes / max(1, file.metadata.row_group(stretch.start).num_rows)
        number = stretch.first
        for batch in file.iter_batches(_ROWS, row_groups=[stretch.start], columns=columns):
            for item in batch.to_pylist():
                yield _passage(item, keys, f"{source}:{number}"), share
                number += 1


@contextmanager
def _parquet(source: str) -> Iterator[Any]:
    """Open a file inside of the block, whose faults are then those of the file."""
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError("reading Parquet", "parquet") from error
    try:
        with parquet.ParquetFile(source) as file:
            yield file
    except OSError as error:
        raise _unreadable(source, error) from None
    except arrow.ArrowException as error:
        raise InputError(f"{source}: must be Parquet: {error}") from None


def _unreadable(source: str, error: OSError) -> InputError:
    return InputError(f"{source}: cannot be read: {error.strerror or error}")


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
        raise InputError(f"{where}: `{keys.text}` must be a string; {found} (see --text-field)")
    if isinstance(identifier, int):
        identifier = str(identifier)
    metadata = {key: value for key, value in item.items() if key not in keys}
    try:
        return Passage(text, id=identifier, title=title, score=score, metadata=metadata)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
