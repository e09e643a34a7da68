"""Links between neighbours when some of them are taken out."""

from __future__ import annotations

from collections.abc import Sequence

from llama_index.core.schema import BaseNode, NodeRelationship, RelatedNodeInfo

_NEIGHBOURS = (NodeRelationship.PREVIOUS, NodeRelationship.NEXT)


def relinked(kept: Sequence[BaseNode], nodes: Sequence[BaseNode]) -> list[BaseNode]:
    """Return the kept nodes; where a neighbour is gone, a copy whose link leads past it.

    Args:
        kept: those of `nodes` that are left, or their copies.
        nodes: all.
    """
    left = {node.node_id for node in kept}
    gone = {node.node_id: node for node in nodes if node.node_id not in left}
    return [_relinked(node, gone) for node in kept] if gone else list(kept)


def _relinked(node: BaseNode, gone: dict[str, BaseNode]) -> BaseNode:
    links = dict(node.relationships)
    for direction in _NEIGHBOURS:
        # No chain of links is longer than this, unless it is a ring.
        for _ in range(len(gone) + 1):
            neighbour = links.get(direction)
            if not isinstance(neighbour, RelatedNodeInfo) or neighbour.node_id not in gone:
                break
            further = gone[neighbour.node_id].relationships.get(direction)
            if further is None:
                del links[direction]
            else:
                links[direction] = further
    if links == node.relationships:
        return node
    return node.model_copy(update={"relationships": links})
