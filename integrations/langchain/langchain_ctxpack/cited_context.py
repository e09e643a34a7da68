"""A Runnable that packs documents into a text with citation marks, and says what they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.documents import Document
from typing_extensions import TypedDict

from ctxpack import PackedContext, Pipeline
from langchain_ctxpack.documents import KEY, documents_of
from langchain_ctxpack.packing import PackRunnable


class CitedContext(TypedDict):
    """What comes out of `CtxPackCitedContext`.

    Attributes:
        context: for the prompt; never over the budget. ``[1]`` stands before the first source.
        sources: the documents of which something is kept, in the order of their marks; each has
            its mark as ``citation`` in the metadata below ``ctxpack``.
    """

    context: str
    sources: list[Document]


class CtxPackCitedContext(PackRunnable[CitedContext]):
    """Turns ``{"question": …, "documents": …}`` into a text with citation marks, and its sources.

    In a stream both come before the answer that a chain makes of them; see `PackRunnable` for the
    settings.
    """

    @property
    def OutputType(self) -> type[CitedContext]:  # noqa: N802 - the framework's name
        """What comes out, for the schema of a chain."""
        return CitedContext

    def model_post_init(self, context: Any, /) -> None:
        """Turn citation marks on."""
        super().model_post_init(context)
        render = {**self._pipeline.recipe.to_data().get("render", {}), "citations": True}
        self._pipeline = Pipeline.from_recipe(self._pipeline, render=render)

    def _output(self, packed: PackedContext, documents: Sequence[Document]) -> CitedContext:
        marks = (
            packed.text[piece.text_start : piece.text_end].strip()
            for piece in packed.pieces
            if piece.kind == "citation"
        )
        sources = documents_of(packed, documents)
        for source, mark in zip(sources, marks, strict=True):
            source.metadata[KEY]["citation"] = mark
        return CitedContext(context=packed.text, sources=sources)
