"""Checks of one result against the laws, for tests on any input."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ctxpack.packed import PackedContext
from ctxpack.selection import Passage
from ctxpack.tokens import TokenCounter


def check_laws(
    packed: PackedContext,
    passages: Sequence[Passage],
    *,
    counter: TokenCounter,
    budget: int | None = None,
) -> None:
    """Check a result against every law that a single result can show.

    Args:
        packed: what a pipeline returned.
        passages: what it was given.
        counter: the pipeline's.
        budget: of the call.

    Raises:
        AssertionError: a law is broken; the message names it.
    """
    check_verbatim(packed, passages)
    check_budget(packed, counter=counter, budget=budget)
    check_coverage(packed, passages)
    check_identity(packed, passages)
    json.dumps(packed.report)


def check_verbatim(packed: PackedContext, passages: Sequence[Passage]) -> None:
    """Check that pieces make up the text and span pieces are slices of their passages."""
    pieces = [packed.text[piece.text_start : piece.text_end] for piece in packed.pieces]
    assert "".join(pieces) == packed.text, "pieces joined are not the text"
    spans = []
    for piece, text in zip(packed.pieces, pieces, strict=True):
        if piece.kind == "span":
            assert piece.passage_index is not None
            source = passages[piece.passage_index].text
            assert text == source[piece.start : piece.end], "not verbatim"
            spans.append((piece.passage_index, piece.start, piece.end))
    evidence = [(e.passage_index, e.start, e.end) for e in packed.evidence]
    assert spans == evidence, "the evidence is not what the text shows"


def check_budget(
    packed: PackedContext, *, counter: TokenCounter, budget: int | None = None
) -> None:
    """Check that the counts are true and within the budget."""
    assert packed.token_count == counter.count(packed.text), "token_count is not the text's"
    assert budget is None or packed.token_count <= budget, "over the budget"
    assert packed.token_count <= packed.input_token_count, "more tokens out than in"


def check_coverage(packed: PackedContext, passages: Sequence[Passage]) -> None:
    """Check that kept and dropped stretches cover every character exactly once."""
    stretches = [(e.passage_index, e.start, e.end) for e in packed.evidence]
    stretches += [(d.passage_index, d.start, d.end) for d in packed.dropped]
    covered = dict.fromkeys(range(len(passages)), 0)
    for index, start, end in sorted(stretches):
        assert covered[index] == start < end, f"passage {index}: gap or overlap at {start}"
        covered[index] = end
    for index, passage in enumerate(passages):
        assert covered[index] == len(passage.text), f"passage {index}: its end is not accounted for"
    assert bool(packed.text) == bool(packed.evidence), "text without evidence, or the reverse"
    assert packed.text or packed.report["reasons"], "an empty result without a reason"


def check_identity(packed: PackedContext, passages: Sequence[Passage]) -> None:
    """Check that kept passages are the objects that came in, each once."""
    indices = [kept.passage_index for kept in packed.passages]
    assert len(set(indices)) == len(indices), "a passage stands twice"
    for kept in packed.passages:
        assert kept.passage == passages[kept.passage_index], "a passage was changed"
        assert kept.retrieval_score is passages[kept.passage_index].score, "retrieval score lost"
