"""JSON as a tree of slices of its text: what may be left out, and what must stay."""

from __future__ import annotations

import json
from typing import Literal, NamedTuple

LONG_CHARS = 400
"""A longer string is text to prune, and a longer array one whose elements may be left out."""

MAX_RECORD_MEMBERS = 16
"""An object with more members is a table by key, whose members may be left out."""

Kind = Literal["fixed", "unit", "string", "sequence", "record"]

_WHITE = frozenset(" \t\n\r")
_DECODER = json.JSONDecoder()


class Node(NamedTuple):
    """A value, with its key if it has one: ``text[start:end]``.

    Args:
        kind: a ``unit`` is kept whole or not at all, a ``string`` may be pruned; of a ``sequence``
            children may be left out, of a ``record`` none; ``fixed`` has nothing to leave out.
        start: first character, of the key if there is one.
        value: first character of the value.
        end: one past the last character.
        leaves: numbers of the units and strings in it.
        children: elements or members, of a ``sequence`` or ``record``.
    """

    kind: Kind
    start: int
    value: int
    end: int
    leaves: range
    children: tuple[Node, ...] = ()


class Leaf(NamedTuple):
    """A unit or string.

    Args:
        text: of a unit as it stands, of a string its value.
        is_whole: whether it is a unit.
        beside: the fixed members of the record that a string is in, as they stand; '' for none.
    """

    text: str
    is_whole: bool
    beside: str = ""


class JsonTree:
    """The values of a text as nodes, and those that may be left out or pruned as leaves.

    Args:
        text: a JSON array or object; NaN and Infinity, which Python writes, are let through.

    Raises:
        ValueError: it is not, or it is empty.
        RecursionError: it is nested too deeply.
    """

    def __init__(self, text: str) -> None:
        if not isinstance(json.loads(text), list | dict):
            raise ValueError("a JSON array or object is needed")
        self.text = text
        self.leaves: list[Leaf] = []
        start = self._skip(0)
        self.root = self._container(start, start, is_root=True)
        if not self.root.children:
            raise ValueError("there is nothing in it to leave out")

    def _node(self, start: int, value: int) -> Node:
        if self.text[value] in "[{":
            return self._container(start, value)
        found, end = _DECODER.raw_decode(self.text, value)
        node = Node("fixed", start, value, end, self._leaves_from(len(self.leaves)))
        if isinstance(found, str) and len(found) > LONG_CHARS:
            return self._leaf(node, "string", found)
        return node

    def _container(self, start: int, value: int, *, is_root: bool = False) -> Node:
        found, end = _DECODER.raw_decode(self.text, value)
        node = Node("fixed", start, value, end, self._leaves_from(len(self.leaves)))
        if not is_root and end - value <= LONG_CHARS:
            return node
        if isinstance(found, dict):
            is_sequence = len(found) > MAX_RECORD_MEMBERS
        elif is_root or any(isinstance(element, str | list | dict) for element in found):
            is_sequence = True
        else:
            return self._leaf(node, "unit", self.text[start:end])  # numbers mean nothing alone
        children = self._children(value, is_sequence=is_sequence)
        leaves = self._leaves_from(node.leaves.start)
        if not is_root and not leaves:
            return node
        if not is_sequence:
            self._put_beside(children)
        kind: Kind = "sequence" if is_sequence else "record"
        return node._replace(kind=kind, leaves=leaves, children=children)

    def _children(self, value: int, *, is_sequence: bool) -> tuple[Node, ...]:
        text, children, at = self.text, [], self._skip(value + 1)
        while text[at] not in "]}":
            start = at
            if text[value] == "{":
                _, at = _DECODER.raw_decode(text, at)
                at = self._skip(self._skip(at) + 1)  # the colon
            child = self._node(start, at)
            if is_sequence and child.kind == "fixed":
                child = self._leaf(child, "unit", text[start : child.end])
            children.append(child)
            at = self._skip(child.end)
            if text[at] == ",":
                at = self._skip(at + 1)
        return tuple(children)

    def _leaf(self, node: Node, kind: Kind, text: str) -> Node:
        self.leaves.append(Leaf(text, is_whole=kind == "unit"))
        return node._replace(kind=kind, leaves=self._leaves_from(len(self.leaves) - 1))

    def _leaves_from(self, first: int) -> range:
        return range(first, len(self.leaves))

    def _put_beside(self, children: tuple[Node, ...]) -> None:
        fixed = [self.text[node.start : node.end] for node in children if node.kind == "fixed"]
        for node in children:
            if node.kind == "string":
                number = node.leaves.start
                self.leaves[number] = self.leaves[number]._replace(beside=", ".join(fixed))

    def _skip(self, at: int) -> int:
        """Return where the white space at `at` ends."""
        while self.text[at : at + 1] in _WHITE:
            at += 1
        return at
