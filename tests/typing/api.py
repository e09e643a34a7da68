"""How the public names are used, for mypy; nothing here runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ctxpack import (
    Evidence,
    PackedContext,
    Passage,
    Pipeline,
    Scorer,
    Selection,
    Span,
    TokenCounter,
    errors,
)
from ctxpack.cache import MemoryCache


class Words:
    """A counter of a third party."""

    name = "words"
    exact = True

    def count(self, text: str) -> int:
        """Return the number of words."""
        return len(text.split())

    def count_many(self, texts: Sequence[str]) -> list[int]:
        """Return the number of words of each text."""
        return [self.count(text) for text in texts]


counter: TokenCounter = Words()

passage = Passage("Text.", id="a", title="A", score=0.5, metadata={"page": 1})
by_name = Pipeline.from_recipe("balanced")
by_path = Pipeline.from_recipe(Path("mine.yaml"))
by_data = Pipeline.from_recipe({"version": 1, "steps": ["score", "select"]})
changed = Pipeline.from_recipe("balanced", budget=512, scorer="lexical", token_counter=counter)
cached = Pipeline.from_recipe("balanced", cache="sqlite:///segments.db", cache_secret=b"0" * 16)
shared = Pipeline.from_recipe("balanced", cache=MemoryCache(1_000_000))
n_encoded: int = cached.cache_passages([passage, "text"]).encoded

packed: PackedContext = by_name.compress("query", [passage, "text"], budget=512)
unlimited: PackedContext = by_name.compress("query", [passage])
batch: list[PackedContext] = by_name.compress_batch([("query", [passage, "text"])], budget=512)

text: str = packed.text
token_count: int = packed.token_count
input_token_count: int = packed.input_token_count
kept_ratio: float = packed.kept_ratio
reasons: Sequence[str] = packed.report["reasons"]
hits: int = packed.report["cache"]["tiers"]["encoding"]["hits"] if packed.report["cache"] else 0
kept: Evidence = packed.evidence[0]
verbatim: str = kept.passage.text[kept.start : kept.end]
score: float | None = kept.score
where_dropped: list[tuple[int, int, int, str, str]] = [
    (drop.passage_index, drop.start, drop.end, drop.stage, drop.reason) for drop in packed.dropped
]
sources: list[tuple[str, int, int]] = [
    (piece.kind, piece.text_start, piece.text_end) for piece in packed.pieces
]
retrieval_score: float | None = packed.passages[0].retrieval_score
scorer: Scorer = by_name.scorer
span: Span = Span(0, 5, kind="sentence")


async def asynchronous() -> str:
    """Use the asynchronous form."""
    with Pipeline.from_recipe("faithful") as pipeline:
        return (await pipeline.acompress("query", [passage], budget=512)).text


def of_a_stage(selection: Selection) -> Selection:
    """Use a selection as a stage does."""
    return selection.drop(~selection.pinned, stage="mine", reason="not_pinned")


def catch() -> str:
    """Every error is a `CtxpackError` and a built-in one."""
    try:
        Pipeline.from_recipe("missing")
    except errors.RecipeError as error:
        as_built_in: ValueError = error
        return str(as_built_in)
    return ""
