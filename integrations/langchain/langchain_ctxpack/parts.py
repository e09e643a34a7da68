"""Kept documents to parts that respect their structure."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.documents import Document

from ctxpack import PackedContext, TokenCounter
from langchain_ctxpack.documents import KEY, with_text


def parts_of(
    kept: Sequence[Document], packed: PackedContext, counter: TokenCounter, part_tokens: int
) -> list[Document]:
    """Return slices of the kept documents, in order; `CtxPackTransformer` says where it cuts.

    Args:
        kept: one document for each passage of `packed`, in the same order.
        packed: what was kept.
        counter: counts the tokens of a part.
        part_tokens: most tokens of a part.
    """
    parts = []
    slices_of_each = packed.slices(counter, most=part_tokens)
    for document, passage, slices in zip(kept, packed.passages, slices_of_each, strict=True):
        for start, end in slices:
            part = with_text(document, passage.passage.text[start:end])
            part.metadata[KEY] = {**part.metadata[KEY], "spans": [[start, end]]}
            if part.id is not None and len(slices) > 1:
                part.id = f"{part.id}:{start}-{end}"
            parts.append(part)
    return parts
