"""How the text of a tool's result is read: as prose, as lines, or as JSON."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from ctxpack import PackedContext, Passage


class Reading(ABC):
    """A text as units that the engine weighs, and how the kept ones become text again.

    A reading is the layout of its call, so that the budget counts the mark as well.

    Args:
        mark: stands in the text when something is left out.

    Attributes:
        units: the passages of the call.
        is_whole: of each unit, whether it is kept whole or not at all.
        header: the unit without which the others cannot be read; None for none.
        joiner: what stands between two units that follow each other.
    """

    units: Sequence[Passage]
    is_whole: Sequence[bool]
    header: int | None = None
    joiner: str = ""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    @abstractmethod
    def join(self, bodies: Sequence[tuple[int, str]]) -> str:
        """Return the text of the kept units, the mark included.

        Args:
            bodies: unit and what is kept of its text, in order.
        """

    def empty(self) -> str:
        """Return the mark alone, in the form of the text."""
        return self.mark

    def kept(self, bodies: Sequence[tuple[int, str]]) -> dict[int, str]:
        """Return the bodies by unit, without whole units of which only a part is kept."""
        return {
            number: body
            for number, body in bodies
            if not self.is_whole[number] or body.strip() == self.units[number].text.strip()
        }

    def dropped_of(self, bodies: Sequence[tuple[int, str]], packed: PackedContext) -> list[str]:
        """Return what was left out, in order, verbatim.

        Args:
            bodies: as for `join`.
            packed: what the engine made of the units.
        """
        kept, dropped, last = self.kept(bodies), list[str](), -2
        for number, unit in enumerate(self.units):
            if not self.is_whole[number]:
                slices = (drop for drop in packed.dropped if drop.passage_index == number)
                dropped += [unit.text[drop.start : drop.end] for drop in slices]
            elif number not in kept:
                if last == number - 1:
                    dropped[-1] += self.joiner + unit.text
                else:
                    dropped.append(unit.text)
                last = number
        return dropped


class ProseReading(Reading):
    """Sentences and Markdown blocks: one unit, and the engine decides inside it."""

    is_whole = (False,)

    def __init__(self, text: str, mark: str) -> None:
        super().__init__(mark)
        self.units = (Passage(text),)

    def join(self, bodies: Sequence[tuple[int, str]]) -> str:
        """Return the body and, on a line of its own, the mark."""
        return "".join(f"{body.rstrip()}\n\n" for _, body in bodies) + self.mark
