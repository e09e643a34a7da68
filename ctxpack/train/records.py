"""Canonical records: one JSON object a line, a query with its passages and their evidence."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ctxpack.errors import InputError
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


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the raw records of a JSONL file, gzip or plain.

    Raises:
        InputError: a line is not a JSON object.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                raw = json.loads(line)
            except json.JSONDecodeError as error:
                raise InputError(f"{path.name}:{number}: not JSON: {error}") from error
            if not isinstance(raw, dict) or "query" not in raw or "passages" not in raw:
                raise InputError(f"{path.name}:{number}: needs `query` and `passages`")
            yield raw


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
