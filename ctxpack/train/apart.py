"""Records of single sentences: what a passage says, asked of each of its spans alone.

Where documents are answers of one sentence, items of a list or turns of a chat, no title and no
neighbour tells what a span is about. Training passages are paragraphs under a title, so these
records are made of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ctxpack.selection import FRAME_KINDS, Passage
from ctxpack.sentences import split
from ctxpack.train.records import Candidate, Record

MIN_SPANS = 3
"""Of a record: among fewer there is little to choose."""


def apart(records: Mapping[str, Sequence[Record]]) -> Iterator[Record]:
    """Yield the records that can be made, in the order of the data sets' names.

    Every span but headings and the heads of tables becomes a passage without a title, gold if it
    holds evidence. A record makes none if it has a gold passage of unknown evidence, or nothing to
    choose from.

    Args:
        records: data set → its training records.
    """
    for dataset in sorted(records):
        for record in records[dataset]:
            known = all(part.evidence for part in record.candidates if part.gold)
            if not record.has_spans or not known:
                continue
            candidates = tuple(_spans_of(record))
            kinds = {part.gold for part in candidates}
            if len(candidates) >= MIN_SPANS and len(kinds) == 2:
                yield record._replace(candidates=candidates)


def _spans_of(record: Record) -> Iterator[Candidate]:
    """Yield the spans of a record's passages as candidates, each text once."""
    gold: dict[str, bool] = {}
    for candidate in record.candidates:
        for span, is_evidence in zip(candidate.spans, candidate.is_evidence, strict=True):
            text = candidate.passage.text[span.start : span.end].strip()
            if text and span.kind not in FRAME_KINDS:
                gold[text] = gold.get(text, False) or is_evidence
    for text, is_gold in gold.items():
        evidence = ((0, len(text)),) if is_gold else ()
        yield Candidate(Passage(text), split(text), is_gold, evidence)
