"""A joint model as teacher: what it says of some queries of a batch, for a model to agree with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

import numpy as np
import torch
from torch import Tensor

from ctxpack.train.losses import Scored, agreement
from ctxpack.train.step import Lesson, Logits, Swift

WEIGHT = 0.5
"""What disagreement on passages, and that on spans, counts."""

Lists = dict[int, tuple[Tensor, Tensor]]
"""Query of the batch → logits of relevance (n_segments,) and of all their spans (n_spans,)."""


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
        chosen = rng.permutation(len(lesson.queries))[:n].tolist()
        asking = [
            [chosen.index(query) for query in part if query in chosen] for part in self._asking
        ]
        units = [unit for unit, part in enumerate(asking) if part]
        asking = [asking[unit] for unit in units]
        with torch.no_grad():
            found = teacher.scored(
                [lesson.queries[query] for query in chosen],
                [lesson.segments[unit] for unit in units],
                asking,
            )
        lists = _by_query(found.logits, asking, range(len(chosen)))
        self._said = {chosen[row]: said for row, said in lists.items()}

    def losses(self, logits: Logits) -> dict[str, Tensor]:
        """Return how far a pupil's logits of the batch are from what was said, to be minimised."""
        own = _by_query(logits, self._asking, self._said)
        named = {}
        for place, name in enumerate(("taught_passages", "taught_spans")):
            rows = [
                Scored(
                    torch.full_like(said[place], row, dtype=torch.int64), own[q][place], said[place]
                )
                for row, (q, said) in enumerate(self._said.items())
            ]
            whole = Scored(*(torch.cat(column) for column in zip(*rows, strict=True)))
            named[name] = WEIGHT * agreement(whole, len(rows))
        return named


def _by_query(logits: Logits, asking: Sequence[Sequence[int]], chosen: Collection[int]) -> Lists:
    """Return the logits of the chosen queries.

    Args:
        logits: see `Scores`.
        asking: for each segment, the queries that are scored against it.
        chosen: some of them.
    """
    relevance: defaultdict[int, list[Tensor]] = defaultdict(list)
    spans: defaultdict[int, list[Tensor]] = defaultdict(list)
    for (of_segment, of_spans), part in zip(logits, filter(len, asking), strict=True):
        for row, query in enumerate(part):
            if query in chosen:
                relevance[query].append(of_segment[row])
                spans[query].append(of_spans[row])
    return {query: (torch.stack(relevance[query]), torch.cat(spans[query])) for query in relevance}
