"""A Runnable that packs documents, for chains written in LCEL."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.documents import Document

from ctxpack import PackedContext
from langchain_ctxpack.packing import PackRunnable


class CtxPackContext(PackRunnable[PackedContext]):
    """Turns ``{"question": …, "documents": …}`` into the packed context.

    The result is what `Pipeline.compress` returns, its text and evidence among it; see
    `PackRunnable` for the settings.
    """

    def _output(self, packed: PackedContext, documents: Sequence[Document]) -> PackedContext:
        return packed
