"""What is kept: of a passage, and each span of it."""

from __future__ import annotations

from dataclasses import dataclass

from ctxpack.selection import Passage, SpanKind


@dataclass(frozen=True, slots=True)
class Evidence:
    """A kept span: ``passage.text[start:end]``.

    Args:
        passage: the passage, the same object that came in.
        passage_index: its position in the input.
        start: first character.
        end: one past the last character.
        score: of the span, in [0, 1]; None when nothing scored it.
        kind: what the span is in the document.
    """

    passage: Passage
    passage_index: int
    start: int
    end: int
    score: float | None
    kind: SpanKind

    @property
    def text(self) -> str:
        """The verbatim characters."""
        return self.passage.text[self.start : self.end]


@dataclass(frozen=True, slots=True)
class PackedPassage:
    """A passage of which something was kept.

    Args:
        passage: the passage, the same object that came in.
        passage_index: its position in the input.
        text: its body: kept spans and gap marks, without title, id or citation.
        score: relevance in [0, 1]; None when nothing scored it.
        spans: offsets of the kept spans; neighbours without a gap between them are one.
    """

    passage: Passage
    passage_index: int
    text: str
    score: float | None
    spans: tuple[tuple[int, int], ...]

    @property
    def retrieval_score(self) -> float | None:
        """The score that the passage came in with."""
        return self.passage.score
