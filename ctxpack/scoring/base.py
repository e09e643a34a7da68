"""What a scorer is: relevance of passages and of their spans to a query."""

from __future__ import annotations

import struct
import sys
from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from hashlib import blake2b
from importlib import metadata
from itertools import islice
from typing import Any, ClassVar, NamedTuple, Protocol, TypeGuard

import numpy as np
from pydantic import BaseModel, ConfigDict

from ctxpack.cache.keys import framed
from ctxpack.selection import FloatArray, Passage, Span, SplitPassage


class PassageScores(NamedTuple):
    """Scores of one passage, higher is better.

    Args:
        relevance: of the whole passage, in [0, 1].
        spans: (n_spans,) float32 in [0, 1], one score per span of the passage.
    """

    relevance: float
    spans: FloatArray


EVIDENCE_MARK = "\n\x1e"
"""Stands in an `extended` query between the question and the evidence."""

ScoreCall = tuple[str, Sequence[SplitPassage]]


def under_title(passage: Passage, span: Span) -> str:
    """Return a span as evidence for `extended`: under the title of its passage."""
    return f"{passage.title or ''}\n{passage.text[span.start : span.end]}"


def extended(query: str, evidence: Sequence[str]) -> str:
    """Return the query of a second hop: the question and what was found for it so far."""
    return query + EVIDENCE_MARK + "\n".join(evidence)


class TextSegment(NamedTuple):
    """What a `SegmentScorer` encodes in one pass, and all that the encoding depends on.

    Args:
        title: of the passage; '' for none.
        text: the passage's text, or a stretch of it.
        ends: one past the last character of each span in `text`; the last one is ``len(text)``.
        first: number of the first of these spans in the passage; an encoding does not know it.
    """

    title: str
    text: str
    ends: tuple[int, ...]
    first: int = 0

    @classmethod
    def of(cls, passage: SplitPassage) -> TextSegment:
        """Return a whole passage."""
        ends = tuple([span.end for span in passage.spans])
        return cls(passage.passage.title or "", passage.passage.text, ends)

    def part(self, start: int, end: int) -> TextSegment:
        """Return the characters ``[start, end)`` with the spans, cut ones too, that they are of."""
        if (start, end) == (0, len(self.text)):
            return self
        first, last = bisect_right(self.ends, start), bisect_left(self.ends, end)
        ends = tuple([min(one, end) - start for one in self.ends[first : last + 1]])
        return TextSegment(self.title, self.text[start:end], ends, self.first + first)

    @property
    def content(self) -> bytes:
        """Title, text and ends as bytes, different for different segments; for cache keys."""
        title, text = (part.encode("utf-8", "surrogatepass") for part in (self.title, self.text))
        return framed(title, text, struct.pack(f"<{len(self.ends)}I", *self.ends))


class Scorer(Protocol):
    """Scores passages and their spans against a query; safe to call from many threads."""

    @property
    def pointwise(self) -> bool:
        """Whether the scores of a passage depend on (query, passage) alone.

        Only such a scorer may be cached, or batched with other calls.
        """
        ...

    @property
    def operating_points(self) -> Mapping[str, float]:
        """Thresholds on span scores by name (``faithful``, ``balanced``, ``aggressive``)."""
        ...

    def score(self, query: str, passages: Sequence[SplitPassage]) -> list[PassageScores]:
        """Return scores for every passage, in the order given."""
        ...

    def score_many(self, calls: Sequence[ScoreCall]) -> list[list[PassageScores]]:
        """Return `score` of every call, in order; the same numbers as one by one."""
        ...

    def warm_up(self) -> None:
        """Load what scoring needs, so that the first call is not slower than the others."""
        ...

    def close(self) -> None:
        """Release what `warm_up` or a call loaded; a later call loads it again."""
        ...


class SegmentScorer(Scorer, Protocol):
    """A pointwise scorer in two halves, so that the expensive one is paid once per segment.

    The scores of a passage are the best of its segments: see `best_of`.
    """

    @property
    def fingerprint(self) -> bytes:
        """What else encodings and scores depend on: the model, its options, its libraries."""
        ...

    def segments(self, passages: Sequence[SplitPassage]) -> list[list[TextSegment]]:
        """Return the segments of every passage, which together cover its text; cheap."""
        ...

    def encode(self, segments: Sequence[TextSegment]) -> list[bytes]:
        """Return what `score_encoded` reads of every segment, in order.

        The expensive half. It depends on the segment alone, not on a query or on other segments.
        """
        ...

    def score_encoded(self, query: str, encodings: Sequence[bytes]) -> list[PassageScores]:
        """Return the scores of every segment and of its spans, in order; the light half.

        Raises:
            ModelError: an encoding is not one of `encode`; for a cache such a one is a miss.
        """
        ...


def best_of(
    passage: SplitPassage,
    segments: Sequence[TextSegment],
    scores: Iterable[tuple[float, Any]],
    *,
    lowest: float = 0.0,
) -> PassageScores:
    """Return a passage's scores: its own and each span's is the best among its segments.

    Args:
        passage: the passage.
        segments: of the passage.
        scores: (relevance, scores of the spans) of every segment, in order.
        lowest: the score of what is in no segment.
    """
    relevance, spans = lowest, np.full(len(passage.spans), lowest, dtype=np.float32)
    for segment, (of_segment, of_spans) in zip(segments, scores, strict=True):
        relevance = max(relevance, of_segment)
        within = spans[segment.first : segment.first + len(segment.ends)]
        np.maximum(within, of_spans, out=within)
    return PassageScores(relevance, spans)


def from_segments(
    passages: Sequence[SplitPassage],
    parts: Sequence[Sequence[TextSegment]],
    score: Callable[[list[TextSegment]], Iterable[PassageScores]],
) -> list[PassageScores]:
    """Return the scores of passages, from those of all their segments at once.

    Args:
        passages: the passages.
        parts: the segments of every passage.
        score: returns the scores of segments, in order.
    """
    segments = [segment for part in parts for segment in part]
    scores = iter(score(segments) if segments else ())
    return [
        best_of(passage, part, islice(scores, len(part)))
        for passage, part in zip(passages, parts, strict=True)
    ]


def has_segments(scorer: Scorer) -> TypeGuard[SegmentScorer]:
    """Return whether a scorer is a `SegmentScorer`."""
    return all(hasattr(scorer, half) for half in ("segments", "encode", "score_encoded"))


def languages_of(scorer: Scorer) -> frozenset[str] | None:
    """Return the languages that a scorer knows, as ISO 639-1 codes; None for any.

    That is its attribute ``languages``; a scorer without one takes what comes.
    """
    languages: frozenset[str] | None = getattr(scorer, "languages", None)
    return languages


def name_of(scorer: Scorer) -> str:
    """Return what reports call a scorer: its `name`, or its class's where it has none."""
    return str(getattr(scorer, "name", type(scorer).__qualname__))


def reads_evidence(scorer: Scorer) -> bool:
    """Return whether a scorer knows an `extended` query for one; it says so by that attribute."""
    return bool(getattr(scorer, "reads_evidence", False))


class ConfiguredScorer(BaseModel, ABC):
    """Base of scorers that a recipe can name: frozen options, nothing loaded on construction.

    Attributes:
        name: what a recipe calls the scorer.
        pointwise: see `Scorer`.
        operating_points: see `Scorer`. Where another scorer takes a call over, because of its
            language, it must know the names, too: name no others.
        languages: ISO 639-1 codes of the languages that it knows, None for any. The lexical scorer
            gets the calls in others.
        reads_evidence: whether it knows an `extended` query for one, so that a recipe may hop.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: ClassVar[str]
    pointwise: ClassVar[bool]
    operating_points: ClassVar[Mapping[str, float]]
    languages: ClassVar[frozenset[str] | None] = None
    reads_evidence: ClassVar[bool] = False

    def __hash__(self) -> int:
        # Of the class alone: pipelines look scorers up, and an option may be a dict.
        return hash(type(self))

    @property
    def fingerprint(self) -> bytes:
        """What scores depend on besides query, text, title and spans; part of every cache key.

        Class, options and versions of the packages that have it and its bases, so always that of
        ctxpack. A scorer with more to say, such as the hash of a model file, overrides it with
        `fingerprint_of`.
        """
        return fingerprint_of(self)

    @abstractmethod
    def score(self, query: str, passages: Sequence[SplitPassage]) -> list[PassageScores]:
        """Return scores for every passage, in the order given."""

    def score_many(self, calls: Sequence[ScoreCall]) -> list[list[PassageScores]]:
        """Return `score` of every call, in order."""
        return [self.score(query, passages) for query, passages in calls]

    def warm_up(self) -> None:
        """Load nothing: there is nothing to load."""

    def close(self) -> None:
        """Release nothing: there is nothing to release."""


def fingerprint_of(scorer: ConfiguredScorer, *parts: str) -> bytes:
    """Return 16 bytes that change with class, version or options of a scorer, and with `parts`.

    Args:
        scorer: the scorer.
        parts: what else its scores depend on: hashes of files, versions of libraries.
    """
    kind = type(scorer)
    name = f"{kind.__module__}.{kind.__qualname__}"
    bases = [base for base in kind.__mro__ if issubclass(base, ConfiguredScorer)]
    versions = "\n".join(_version_of(base.__module__) for base in bases)
    # As any: an option may be another scorer, of a class that the field does not name.
    fields = (name, versions, scorer.model_dump_json(serialize_as_any=True), *parts)
    return blake2b(framed(*(field.encode() for field in fields)), digest_size=16).digest()


@cache
def _version_of(module: str) -> str:
    """Return the version of the package that has a module; '' where it has none."""
    package = module.partition(".")[0]
    version = getattr(sys.modules.get(package), "__version__", None)
    if version is not None:
        return str(version)
    names = metadata.packages_distributions().get(package, ())
    return ", ".join(sorted(f"{name} {metadata.version(name)}" for name in set(names)))
