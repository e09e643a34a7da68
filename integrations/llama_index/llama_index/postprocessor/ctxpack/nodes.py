"""Nodes to passages, and what is kept of them back to nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from llama_index.core.schema import (
    BaseNode,
    ImageNode,
    IndexNode,
    MediaResource,
    MetadataMode,
    Node,
    NodeWithScore,
    TextNode,
)

from ctxpack import PackedContext, Passage

KEY = "ctxpack"
"""The one metadata key that ctxpack adds; no language or embedding model sees it."""


_NOT_TEXT_ALONE = (ImageNode, IndexNode)


class SynthesizerLayout:
    """Joins bodies as a response synthesiser joins nodes.

    Args:
        nodes: those that the bodies are of.
        others: nodes that the model reads after them, whatever is kept.
    """

    def __init__(self, nodes: Sequence[BaseNode], others: Iterable[BaseNode] = ()) -> None:
        # Planning asks for the same contents again and again.
        self._content = cache(lambda index, body: _content(with_text(nodes[index], body)))
        self._others = [_content(node) for node in others]

    def join(self, bodies: Sequence[tuple[int, str]]) -> str:
        """Return the context that the synthesiser puts into its prompt."""
        contents = [self._content(index, body) for index, body in bodies] + self._others
        return "\n\n".join(content for content in contents if content)


def text_of(node: BaseNode) -> str | None:
    """Return the text of a node that is nothing but text; None for images, indices and the like."""
    if isinstance(node, TextNode):
        return None if isinstance(node, _NOT_TEXT_ALONE) else node.text
    if not isinstance(node, Node):
        return None
    if node.image_resource or node.audio_resource or node.video_resource:
        return None
    return (node.text_resource.text or "") if node.text_resource else ""


def with_text(node: BaseNode, text: str, record: Mapping[str, Any] | None = None) -> BaseNode:
    """Return a copy of a text node with another text, and with `record` below `KEY`.

    No model sees what stands below `KEY`. The copy shares no container with the node.
    """
    metadata = {**node.metadata, **({} if record is None else {KEY: dict(record)})}
    hidden = [KEY] if KEY in metadata else []
    update: dict[str, Any] = {
        "metadata": metadata,
        "relationships": dict(node.relationships),
        "excluded_llm_metadata_keys": _with(node.excluded_llm_metadata_keys, hidden),
        "excluded_embed_metadata_keys": _with(node.excluded_embed_metadata_keys, hidden),
    }
    if isinstance(node, TextNode):
        update["text"] = text
    elif isinstance(node, Node):
        resource = node.text_resource or MediaResource()
        update["text_resource"] = resource.model_copy(update={"text": text})
    return node.model_copy(update=update)


def passage_of(node: BaseNode, title_key: str | None, score: float | None = None) -> Passage | None:
    """Return the passage of a node; None when it is not text alone."""
    text = text_of(node)
    if text is None:
        return None
    title = None if title_key is None else node.metadata.get(title_key)
    return Passage(
        text,
        id=node.node_id,
        title=title if isinstance(title, str) else None,
        score=score,
        metadata=node.metadata,
    )


def nodes_of(packed: PackedContext, nodes: Sequence[NodeWithScore]) -> list[NodeWithScore]:
    """Return copies of the nodes of which something is kept, in output order.

    Text is cut to what is kept, and the record of it stands below `KEY` in the metadata. The score
    is the relevance; without one it is as it was.
    """
    result = []
    for kept, record in zip(packed.passages, packed.records(), strict=True):
        node, score = nodes[kept.passage_index].node, nodes[kept.passage_index].score
        if KEY in node.metadata:
            record["earlier"] = node.metadata[KEY]
        copy = with_text(node, kept.text, record)
        place(copy, node, kept.spans)
        result.append(NodeWithScore(node=copy, score=score if kept.score is None else kept.score))
    return result


def place(copy: BaseNode, node: BaseNode, spans: Sequence[tuple[int, int]]) -> None:
    """Set the offsets of a copy that holds `spans` of a node: unknown unless they are one slice."""
    if isinstance(copy, TextNode) and isinstance(node, TextNode):
        copy.start_char_idx = copy.end_char_idx = None
        if node.start_char_idx is not None and len(spans) == 1:
            copy.start_char_idx = node.start_char_idx + spans[0][0]
            copy.end_char_idx = node.start_char_idx + spans[0][1]


def _content(node: BaseNode) -> str:
    return node.get_content(MetadataMode.LLM).strip()


def _with(keys: Sequence[str], more: Sequence[str]) -> list[str]:
    return [*keys, *(key for key in more if key not in keys)]
