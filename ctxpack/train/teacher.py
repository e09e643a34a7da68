"""What the base model itself knows: sentence embeddings, whose cosines the trained model keeps."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from transformers import BertModel

from ctxpack.errors import ModelError
from ctxpack.train.batches import Batch
from ctxpack.train.collection import Collection
from ctxpack.train.device import fast_bfloat16
from ctxpack.train.padding import padded


def embeddings(base: Path, texts: Sequence[NDArray[np.int64]]) -> NDArray[np.float16]:
    """Return (n_texts, hidden size) unit vectors, the mean of the base's last hidden states.

    That is how the base was trained to be used (Reimers & Gurevych, "Sentence-BERT", 2019).

    Args:
        base: directory of the base model.
        texts: token ids of each text, with special tokens.
    """
    device = torch.get_default_device()
    bert = BertModel.from_pretrained(base, add_pooling_layer=False).eval().to(device)
    bfloat16 = partial(torch.autocast, device.type, dtype=torch.bfloat16)
    autocast = bfloat16 if fast_bfloat16(device) else nullcontext
    found = np.zeros((len(texts), bert.config.hidden_size), np.float16)
    with torch.inference_mode():
        for rows, ids, mask in padded(texts):
            with autocast():
                states = bert(input_ids=ids, attention_mask=mask).last_hidden_state.float()
            pooled = functional.normalize((states * mask[..., None]).sum(1), dim=-1)
            found[rows] = pooled.cpu().numpy()
    return found


class Teacher:
    """The base's cosines of a collection's questions with its units.

    Args:
        path: of the file that keeps the embeddings; made on first use, which takes minutes.
        base: directory of the base model.
        collection: what is learnt from.
    """

    def __init__(self, path: Path, base: Path, collection: Collection) -> None:
        self._n_units = len(collection.units)
        if not path.exists():
            texts = [unit.segment.ids for unit in collection.units]
            texts += [question.tokens.ids for question in collection.questions]
            np.save(path, embeddings(base, texts))
        self._vectors: NDArray[np.float16] = np.load(path, allow_pickle=False)
        if len(self._vectors) != self._n_units + len(collection.questions):
            raise ModelError(f"{path.name}: of another collection; delete it to make it again")

    def cosines(self, batch: Batch) -> Tensor:
        """Return (n_questions, n_units) float32."""
        units = self._vectors[batch.units].astype(np.float32)
        numbers = [self._n_units + question.number for question in batch.questions]
        return torch.as_tensor(self._vectors[numbers].astype(np.float32) @ units.T)
