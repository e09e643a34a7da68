"""A joint model as teacher: what it says of some queries of a batch, for a model to agree with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ctxpack.train.losses import Scored, agreement
from ctxpack.train.step import Lesson, Logits, Swift

LOSSES = ("taught_passages", "taught_spans")


class _Said(NamedTuple):
    """Logits of passages, or of spans, of some queries.

    Args:
        rows: (n,) int64, which query.
        logits: (n,).
    """

    rows: Tensor
    logits: Tensor


class Taught:
    """What a teacher says of a batch.

    Args:
        teacher: a joint model.
        lesson: what the pupil learns from.
        n: queries that the teacher scores; it reads every pair of theirs, which is slow.
        rng: chooses them.
    """

    def __init__(self, teacher: Swift, lesson: Lesson, n: int, rng: np.random.Generator) -> None:
        self._asking = lesson.asking
        asked = sorted({query for part in self._asking for query in part})
        chosen = rng.permutation(asked)[:n].tolist()
        self._row = {query: row for row, query in enumerate(chosen)}
        asking = [
            [self._row[query] for query in part if query in self._row] for part in self._asking
        ]
        units = [unit for unit, part in enumerate(asking) if part]
        queries = [lesson.queries[query] for query in chosen]
        asking = [asking[unit] for unit in units]
        with torch.no_grad():
            found = teacher.scored(queries, [lesson.segments[unit] for unit in units], asking)
        self._said = _gathered(found.logits, asking, {row: row for row in range(len(chosen))})

    def losses(self, logits: Logits) -> dict[str, Tensor]:
        """Return how far a pupil's logits of the batch are from what was said."""
        own = _gathered(logits, self._asking, self._row)
        return {
            name: agreement(Scored(mine.rows, mine.logits, said.logits), len(self._row))
            for name, mine, said in zip(LOSSES, own, self._said, strict=True)
        }


def _gathered(
    logits: Logits, asking: Sequence[Sequence[int]], row: Mapping[int, int]
) -> tuple[_Said, _Said]:
    """Return what is said of passages and of spans, segment by segment.

    Args:
        logits: see `Logits`.
        asking: for each segment, the queries that are scored against it.
        row: of the queries that matter.
    """
    passages, spans = [], []
    for (of_segment, of_spans), part in zip(logits, filter(len, asking), strict=True):
        for place, query in enumerate(part):
            if query in row:
                passages.append(_Said(torch.tensor([row[query]]), of_segment[place : place + 1]))
                rows = torch.full((of_spans.shape[1],), row[query])
                spans.append(_Said(rows, of_spans[place]))
    whole = [_Said(*map(torch.cat, zip(*parts, strict=True))) for parts in (passages, spans)]
    return whole[0], whole[1]
