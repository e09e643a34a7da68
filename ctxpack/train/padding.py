"""Texts in padded batches, those of like length together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

STEP = 16
"""Texts are padded to a multiple of this, so that few kernels are compiled for the encoder."""
CHUNK_TOKENS = 1280
"""Padded tokens in a batch."""


def padded(texts: Sequence[NDArray[np.int64]]) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """Yield (text numbers, ids, mask) until every text has been in one batch, longest first.

    ``ids`` and ``mask`` are (n, n_tokens) int64, both 0 where padded.
    """
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    while order:
        n_tokens = -(-len(texts[order[-1]]) // STEP) * STEP
        rows = order[-max(1, CHUNK_TOKENS // n_tokens) :]
        del order[-len(rows) :]
        ids = np.zeros((len(rows), n_tokens), np.int64)
        mask = np.zeros((len(rows), n_tokens), np.int64)
        for place, row in enumerate(rows):
            ids[place, : len(texts[row])] = texts[row]
            mask[place, : len(texts[row])] = 1
        yield rows, torch.as_tensor(ids), torch.as_tensor(mask)
