"""A result as text, JSON or Markdown."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Any

from ctxpack.packed import PackedContext


class OutputFormat(StrEnum):
    """How the result is written; JSON holds offsets, drops and the report."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


def written(query: str, packed: PackedContext, output_format: OutputFormat) -> str:
    """Return a result as text that ends with a line end; '' for an empty result as text."""
    if output_format is OutputFormat.JSON:
        return json.dumps(_data(query, packed), ensure_ascii=False, indent=2) + "\n"
    if output_format is OutputFormat.MARKDOWN:
        return _markdown(query, packed)
    return packed.text + "\n" if packed.text and packed.text[-1] != "\n" else packed.text


def _data(query: str, packed: PackedContext) -> dict[str, Any]:
    """Return a result as data for JSON, everything included; scores are null before scoring."""
    return {
        "query": query,
        "text": packed.text,
        "token_count": packed.token_count,
        "input_token_count": packed.input_token_count,
        "kept_ratio": packed.kept_ratio,
        "sufficiency": packed.sufficiency,
        "passages": [
            {
                "passage_index": kept.passage_index,
                "id": kept.passage.id,
                "title": kept.passage.title,
                "metadata": dict(kept.passage.metadata),
                "retrieval_score": kept.retrieval_score,
                "score": kept.score,
                "spans": [list(span) for span in kept.spans],
                "text": kept.text,
            }
            for kept in packed.passages
        ],
        "evidence": [
            {
                "passage_index": span.passage_index,
                "start": span.start,
                "end": span.end,
                "kind": span.kind,
                "score": span.score,
                "text": span.text,
            }
            for span in packed.evidence
        ],
        "dropped": [drop._asdict() for drop in packed.dropped],
        "pieces": [piece._asdict() for piece in packed.pieces],
        "report": packed.report,
    }


def _markdown(query: str, packed: PackedContext) -> str:
    """Return a result as a Markdown page: the kept text quoted, with its sources, and counts."""
    report = packed.report
    sections = [
        f"# {' '.join(query.split())}",
        f"{packed.token_count:,} of {packed.input_token_count:,} tokens"
        f" ({packed.kept_ratio:.1%}), {report['passages_kept']} of {report['passages']} passages,"
        f" recipe `{report['recipe']}`, tokens by `{report['token_counter']}`.",
    ]
    if packed.sufficiency is not None:
        sections.append(f"{packed.sufficiency:.0%} likely that the passages hold an answer.")
    for kept in packed.passages:
        offsets = ", ".join(f"{start}–{end}" for start, end in kept.spans)
        quoted = "\n".join(f"> {line}".rstrip() for line in kept.text.strip("\n").split("\n"))
        place = f"passage {kept.passage_index + 1}"
        source = place if kept.passage.id is None else f"`{kept.passage.id}`"
        sections += [f"## {kept.passage.title or place}", quoted]
        sections.append(f"Source: {source}, characters {offsets}.")
    if report["dropped"]:
        sections.append("## Left out")
        sections.append("\n".join(f"- {why}: {n} spans" for why, n in report["dropped"].items()))
    return "\n\n".join(sections) + "\n"
