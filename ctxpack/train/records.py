"""Canonical records: one JSON object a line, a query with its passages and their evidence."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ctxpack.errors import InputError, shown
from ctxpack.selection import Passage, Span, SplitPassage
from ctxpack.sentences import split


class Candidate(NamedTuple):
    """One passage of a record.

    Args:
        passage: the text with its title.
        spans: of the passage, from `ctxpack.sentences.split`.
        gold: whether the passage is relevant to the query.
        evidence: half-open character ranges of the text that answer the query.
        grade: graded relevance where the source has it.
    """

    passage: Passage
    spans: tuple[Span, ...]
    gold: bool
    evidence: tuple[tuple[int, int], ...]
    grade: int = 0

    @property
    def split(self) -> SplitPassage:
        """The passage as scorers take it."""
        return SplitPassage(self.passage, self.spans)

    @property
    def is_evidence(self) -> list[bool]:
        """Whether each span overlaps evidence."""
        return [
            any(span.start < end and start < span.end for start, end in self.evidence)
            for span in self.spans
        ]


class Record(NamedTuple):
    """One query with its passages.

    Args:
        id: unique in its data set.
        dataset: name of the data set.
        query: what was asked.
        answers: strings that answer it, may be empty.
        any_of: true where one evidence span is enough (evidence is an answer string), false where
            all are needed (evidence is a set of sentences).
        has_spans: whether evidence is known below the passage.
        candidates: the passages; none of them gold means unanswerable.
    """

    id: str
    dataset: str
    query: str
    answers: tuple[str, ...]
    any_of: bool
    has_spans: bool
    candidates: tuple[Candidate, ...]


class _Passage(BaseModel):
    """A passage of a line, as it must be."""

    model_config = ConfigDict(strict=True)

    text: str
    title: str | None = None
    gold: bool
    evidence: list[tuple[int, int]] = []

    @model_validator(mode="after")
    def _check(self) -> Self:
        for start, end in self.evidence:
            if not 0 <= start < end <= len(self.text):
                raise ValueError(
                    f"evidence [{start}, {end}] must lie within its {len(self.text)} characters"
                )
        if self.evidence and not self.gold:
            raise ValueError("evidence must lie in a gold passage")
        return self


class _Line(BaseModel):
    """A line of a file, as it must be; further keys are not read."""

    model_config = ConfigDict(strict=True)

    query: str = Field(min_length=1)
    answers: list[str] = []
    split: str = ""
    span_kind: Literal["answer", "sentence", "excerpt", "none"] = "answer"
    passages: list[_Passage] = Field(min_length=1)


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the raw records of a JSONL file, gzip or plain; empty lines are skipped.

    Raises:
        InputError: the file cannot be read, or a line breaks a rule of the format; the message
            names both.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    number = 0
    try:
        with opener(path, "rt", encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _checked(line, f"{path}:{number}")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InputError(f"{path}:{number + 1}: cannot be read: {error}") from error


def _checked(line: str, where: str) -> dict[str, Any]:
    try:
        raw = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{where}: must be JSON: {error}") from error
    if not isinstance(raw, dict):
        raise InputError(f"{where}: must be an object, got {shown(raw)}")
    try:
        _Line.model_validate_json(line)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in problem["loc"])
        rule = problem["msg"].replace("Input should be", "must be").removeprefix("Value error, ")
        raise InputError(f"{where}: `{key}`: {rule}, got {shown(problem['input'])}") from None
    return raw


def parse(raw: dict[str, Any]) -> Record:
    """Return a record with its passages split into spans."""
    kind = raw.get("span_kind", "answer")
    return Record(
        id=str(raw.get("id", "")),
        dataset=str(raw.get("dataset", "")),
        query=raw["query"],
        answers=tuple(raw.get("answers", ())),
        any_of=kind == "answer",
        has_spans=kind != "none",
        candidates=tuple(_candidate(passage) for passage in raw["passages"]),
    )


def _candidate(raw: dict[str, Any]) -> Candidate:
    passage = Passage(raw["text"], title=raw.get("title") or None)
    evidence = tuple((start, end) for start, end in raw.get("evidence", ()))
    grade = raw.get("rel") or 0
    return Candidate(passage, split(passage.text), bool(raw["gold"]), evidence, grade)


def normalised(text: str) -> str:
    """Return lower-case words joined by one space: ``"Who's  there?"`` → ``"who s there"``."""
    return " ".join(re.findall(r"\w+", text.lower()))
