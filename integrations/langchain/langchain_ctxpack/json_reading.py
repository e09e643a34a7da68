"""JSON stays JSON: elements are kept whole or not at all, and long strings are pruned."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from ctxpack import Passage
from langchain_ctxpack.json_tree import JsonTree, Node
from langchain_ctxpack.reading import Reading

_GAP = '"[…]"'
_KEY = '"ctxpack": '


class JsonReading(Reading):
    """A JSON array or object; the mark is its last element, or the last member ``ctxpack``.

    Args:
        text: see `JsonTree`, which says what may be left out.
        mark: see `Reading`.

    Raises:
        ValueError: `text` is no JSON array or object.
        RecursionError: it is nested too deeply.
    """

    joiner = ", "

    def __init__(self, text: str, mark: str) -> None:
        super().__init__(mark)
        self._tree = JsonTree(text)
        self._member = (_KEY if text.lstrip()[0] == "{" else "") + _written(mark)
        self.units = [Passage(leaf.text, title=leaf.beside or None) for leaf in self._tree.leaves]
        self.is_whole = [leaf.is_whole for leaf in self._tree.leaves]

    def join(self, bodies: Sequence[tuple[int, str]]) -> str:
        """Return the JSON with the kept units, strings cut to their bodies, and the mark."""
        kept, root = self.kept(bodies), self._tree.root
        return self._wrapped(root, [*self._parts(root, kept, sorted(kept)), self._member])

    def empty(self) -> str:
        """Return the mark alone, in an array or object."""
        root = self._tree.root
        return f"{self._tree.text[root.value]}{self._member}{self._tree.text[root.end - 1]}"

    def _parts(self, node: Node, kept: dict[int, str], numbers: list[int]) -> list[str]:
        """Return the texts of the children that stay.

        Args:
            node: a sequence or record.
            kept: number and body of the leaves to keep.
            numbers: the same numbers, sorted.
        """
        children: Sequence[Node] = node.children
        if node.kind == "sequence":
            low = bisect_left(numbers, node.leaves.start)
            high = bisect_left(numbers, node.leaves.stop)
            # Every child of a sequence has a leaf, so the last that starts before a leaf holds it.
            holding = {
                bisect_right(children, number, key=lambda child: child.leaves.start) - 1
                for number in numbers[low:high]
            }
            children = [children[position] for position in sorted(holding)]
        return [self._text(child, kept, numbers) for child in children]

    def _text(self, node: Node, kept: dict[int, str], numbers: list[int]) -> str:
        key, value = self._slice(node.start, node.value), self._slice(node.value, node.end)
        if node.kind == "string":
            number = node.leaves.start
            return key + (_written(kept[number]) if number in kept else _GAP)
        if node.kind == "unit":
            return key + (value if node.leaves.start in kept else value[0] + value[-1])
        if node.kind == "fixed":
            return key + value
        return key + self._wrapped(node, self._parts(node, kept, numbers))

    def _wrapped(self, node: Node, parts: Sequence[str]) -> str:
        """Return the parts in the brackets of a node, with its own white space."""
        first, last = node.children[0], node.children[-1]
        separator = ", "
        if len(node.children) > 1:
            separator = self._slice(first.end, node.children[1].start)
        opening, closing = self._slice(node.value, first.start), self._slice(last.end, node.end)
        return opening + separator.join(parts) + closing

    def _slice(self, start: int, end: int) -> str:
        return self._tree.text[start:end]


def _written(value: str) -> str:
    """Return a string as JSON, escaped only where it must be."""
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return json.dumps(value)
    return json.dumps(value, ensure_ascii=False)
