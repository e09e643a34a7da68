"""How much of the evidence a choice keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ctxpack.train.records import Record


class Stretch(NamedTuple):
    """Characters of a passage: ``passages[passage_index].text[start:end]``."""

    passage_index: int
    start: int
    end: int


def evidence_of(record: Record) -> list[Stretch]:
    """Return the evidence of a record, without white space at the ends.

    Where evidence is an answer, a range in which none of the answers occurs is left out: it marks
    the answer of an intermediate step.
    """
    found = []
    for index, candidate in enumerate(record.candidates):
        for start, end in candidate.evidence:
            text = candidate.passage.text[start:end]
            if not record.any_of or not record.answers or _holds_any(text, record.answers):
                start += len(text) - len(text.lstrip())
                found.append(Stretch(index, start, start + len(text.strip())))
    return found


def retention(record: Record, kept: Sequence[Stretch]) -> float | None:
    """Return the share of evidence that is kept, in [0, 1].

    Where evidence is an answer: 1 if any answer string is kept whole where it is evidence, else 0.
    Otherwise the share of evidence ranges that are kept whole. 0 when nothing is kept, None when
    the record has no evidence.
    """
    evidence = evidence_of(record)
    if not evidence:
        return None
    joined = _joined(kept)
    if record.any_of:
        return float(any(_answer_kept(record, stretch, joined) for stretch in evidence))
    return float(np.mean([any(_overlap(s, k) == s for k in joined) for s in evidence]))


def _joined(kept: Sequence[Stretch]) -> list[Stretch]:
    """Return stretches in order, those that touch made one."""
    joined: list[Stretch] = []
    for stretch in sorted(kept):
        last = joined[-1] if joined else None
        if last and last.passage_index == stretch.passage_index and last.end >= stretch.start:
            joined[-1] = last._replace(end=max(last.end, stretch.end))
        else:
            joined.append(stretch)
    return joined


def _overlap(one: Stretch, other: Stretch) -> Stretch | None:
    start, end = max(one.start, other.start), min(one.end, other.end)
    if one.passage_index != other.passage_index or start >= end:
        return None
    return Stretch(one.passage_index, start, end)


def _answer_kept(record: Record, evidence: Stretch, joined: Sequence[Stretch]) -> bool:
    common = [overlap for stretch in joined if (overlap := _overlap(evidence, stretch))]
    if not record.answers:
        return evidence in common
    text = record.candidates[evidence.passage_index].passage.text
    return any(_holds_any(text[part.start : part.end], record.answers) for part in common)


def _holds_any(text: str, answers: Sequence[str]) -> bool:
    return any(answer.lower() in text.lower() for answer in answers)
