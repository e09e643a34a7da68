"""Several blocks of text in one result, as tools of the Model Context Protocol return them."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ctxpack import Passage
from langchain_ctxpack.reading import Reading


class BlockReading(Reading):
    """Blocks of JSON are kept whole or not at all, and others are pruned.

    Args:
        texts: of the blocks.
        mark: see `Reading`; a block of its own.
    """

    joiner = "\n\n"

    def __init__(self, texts: Sequence[str], mark: str) -> None:
        super().__init__(mark)
        self.units = [Passage(text) for text in texts]
        self.is_whole = [_is_json(text) for text in texts]

    def join(self, bodies: Sequence[tuple[int, str]]) -> str:
        """Return the blocks as one text, for the count."""
        return self.joiner.join([*self.kept(bodies).values(), self.mark])


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
