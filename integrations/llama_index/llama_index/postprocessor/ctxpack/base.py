"""A node postprocessor that keeps the sentences which answer the query."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core import instrumentation
from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle, TextNode

from ctxpack import PackedContext, PackedPassage, Passage, Pipeline

KEY = "ctxpack"
"""The one metadata key that ctxpack adds; no language or embedding model sees it."""

dispatcher = instrumentation.get_dispatcher(__name__)  # type: ignore[attr-defined]


class CtxPackPostprocessor(BaseNodePostprocessor):
    """Compresses retrieved nodes to what answers the query, verbatim, inside a token budget.

    The nodes that come out are copies: the same id, metadata and relationships, the text cut to
    the kept sentences, the relevance in [0, 1] as score, and offsets and scores under the metadata
    key ``ctxpack``. The budget holds for the nodes' content with the metadata that the model sees,
    joined by the response synthesiser's blank line. Nodes that are not text pass through.

    Args:
        recipe: a shipped recipe's name, a YAML file's path, or its data.
        budget: most tokens of the joined nodes; None for the recipe's own.
        token_counter: a counter's name such as ``tiktoken:cl100k_base``; None for the recipe's own.
        title_key: metadata key of a node's title, which the scorer reads; None for no title.
    """

    recipe: str | dict[str, Any] = Field(default="balanced")
    budget: int | None = Field(default=None, ge=0)
    token_counter: str | None = Field(default=None)
    title_key: str | None = Field(default="title")

    _pipeline: Pipeline = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Check the recipe now, so that a mistake shows before the first call."""
        super().model_post_init(context)
        self._pipeline = Pipeline.from_recipe(self.recipe, token_counter=self.token_counter)

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which the framework serialises this class."""
        return "CtxPackPostprocessor"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        texts = [node for node in nodes if _is_text(node)]
        if not texts:
            return nodes
        packed = self._pipeline.compress(
            _query(query_bundle),
            self._passages(texts),
            budget=self.budget,
            layout=_SynthesizerLayout(texts),
        )
        return _nodes(packed, texts, nodes)

    # The framework decorates overrides of abstract methods only, and this one is not abstract.
    @dispatcher.span
    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        texts = [node for node in nodes if _is_text(node)]
        if not texts:
            return nodes
        packed = await self._pipeline.acompress(
            _query(query_bundle),
            self._passages(texts),
            budget=self.budget,
            layout=_SynthesizerLayout(texts),
        )
        return _nodes(packed, texts, nodes)

    def _passages(self, texts: Sequence[NodeWithScore]) -> list[Passage]:
        return [
            Passage(
                scored.text,
                id=scored.node_id,
                title=_text(scored.metadata.get(self.title_key or "")),
                score=scored.score,
                metadata=scored.metadata,
            )
            for scored in texts
        ]


class _SynthesizerLayout:
    """Joins bodies as a response synthesiser joins nodes."""

    def __init__(self, texts: Sequence[NodeWithScore]) -> None:
        self._texts = texts

    def join(self, bodies: Sequence[tuple[int, str]]) -> str:
        contents = [
            self._texts[index].node.model_copy(update={"text": body}).get_content(MetadataMode.LLM)
            for index, body in bodies
        ]
        return "\n\n".join(content.strip() for content in contents if content.strip())


def _is_text(scored: NodeWithScore) -> bool:
    """Return whether a node is plain text; its subclasses refer to images or other indices."""
    return type(scored.node) is TextNode


def _query(query_bundle: QueryBundle | None) -> str:
    if query_bundle is None:
        raise ValueError("CtxPackPostprocessor needs a query: pass `query_bundle` or `query_str`")
    return query_bundle.query_str


def _nodes(
    packed: PackedContext, texts: Sequence[NodeWithScore], nodes: Sequence[NodeWithScore]
) -> list[NodeWithScore]:
    """Return a copy of each text node of which something is kept, then the other nodes."""
    result = [_copy(texts[kept.passage_index], kept) for kept in packed.passages]
    return result + [scored for scored in nodes if not _is_text(scored)]


def _copy(scored: NodeWithScore, kept: PackedPassage) -> NodeWithScore:
    node = scored.node
    assert isinstance(node, TextNode)
    extra = {
        "spans": [list(span) for span in kept.spans],
        "score": kept.score,
        "retrieval_score": kept.retrieval_score,
    }
    start, end = _offsets(node, kept.spans)
    copy = node.model_copy(
        update={
            "text": kept.text,
            "metadata": {**node.metadata, KEY: extra},
            "relationships": dict(node.relationships),
            "excluded_llm_metadata_keys": _with_key(node.excluded_llm_metadata_keys),
            "excluded_embed_metadata_keys": _with_key(node.excluded_embed_metadata_keys),
            "start_char_idx": start,
            "end_char_idx": end,
        }
    )
    return NodeWithScore(node=copy, score=scored.score if kept.score is None else kept.score)


def _offsets(node: TextNode, spans: tuple[tuple[int, int], ...]) -> tuple[int | None, int | None]:
    """Return the offsets of the kept text in the source, None twice unless it is one slice."""
    if node.start_char_idx is None or len(spans) != 1:
        return None, None
    start, end = spans[0]
    return node.start_char_idx + start, node.start_char_idx + end


def _with_key(keys: Sequence[str]) -> list[str]:
    return [*keys, *([] if KEY in keys else [KEY])]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
