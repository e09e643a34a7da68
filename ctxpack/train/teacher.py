"""What is known before training: embeddings whose cosines the trained model keeps."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from transformers import BertModel

from ctxpack.errors import ModelError
from ctxpack.train.batches import Batch
from ctxpack.train.collection import Collection, Question
from ctxpack.train.device import fast_bfloat16
from ctxpack.train.model import WIDTH
from ctxpack.train.padding import padded
from ctxpack.train.step import Swift


class Texts(NamedTuple):
    """Token ids of a collection's texts, with special tokens.

    Args:
        segments: of its units.
        queries: of its questions.
    """

    segments: list[NDArray[np.int64]]
    queries: list[NDArray[np.int64]]


def base_embeddings(base: Path, texts: Texts) -> NDArray[np.float16]:
    """Return (n_texts, hidden size) unit vectors, the mean of the base's last hidden states.

    That is how the base was trained to be used (Reimers & Gurevych, "Sentence-BERT", 2019).

    Args:
        base: directory of the base model.
        texts: what is embedded.
    """
    ids_of = [*texts.segments, *texts.queries]
    device = torch.get_default_device()
    bert = BertModel.from_pretrained(base, add_pooling_layer=False).eval().to(device)
    bfloat16 = partial(torch.autocast, device.type, dtype=torch.bfloat16)
    autocast = bfloat16 if fast_bfloat16(device) else nullcontext
    found = np.zeros((len(ids_of), bert.config.hidden_size), np.float16)
    with torch.inference_mode():
        for rows, ids, mask in padded(ids_of):
            with autocast():
                states = bert(input_ids=ids, attention_mask=mask).last_hidden_state.float()
            pooled = functional.normalize((states * mask[..., None]).sum(1), dim=-1)
            found[rows] = pooled.cpu().numpy()
    return found


def own_embeddings(swift: Swift, texts: Texts) -> NDArray[np.float16]:
    """Return (n_texts, WIDTH) unit vectors, the mean of the vectors that a model gives the tokens.

    Args:
        swift: the model, before training.
        texts: what is embedded.
    """
    found = []
    with torch.inference_mode():
        for ids, is_query in ((texts.segments, False), (texts.queries, True)):
            part = np.zeros((len(ids), WIDTH), np.float16)
            for rows, vectors in swift.encoded(ids, is_query=is_query):
                lengths = torch.tensor([len(ids[row]) for row in rows])
                inside = torch.arange(vectors.shape[1]) < lengths[:, None]
                mean = functional.normalize((vectors * inside[..., None]).sum(1), dim=-1)
                part[rows] = mean.cpu().numpy()
            found.append(part)
    return np.concatenate(found)


class Teacher:
    """Cosines of a collection's questions with its units.

    Args:
        path: of the file that keeps the embeddings; made on first use, which takes minutes.
        collection: what is learnt from.
        embed: gives (n, width) unit vectors of the segments, then of the queries.
    """

    def __init__(
        self, path: Path, collection: Collection, embed: Callable[[Texts], NDArray[np.float16]]
    ) -> None:
        self._n_units = len(collection.units)
        if not path.exists():
            texts = Texts(
                [unit.segment.ids for unit in collection.units],
                [question.tokens.ids for question in collection.questions],
            )
            part = path.with_suffix(".part.npy")
            np.save(part, embed(texts))
            os.replace(part, path)  # a kill while writing leaves no half of it
        self._vectors: NDArray[np.float16] = np.load(path, allow_pickle=False)
        if len(self._vectors) != self._n_units + len(collection.questions):
            raise ModelError(f"{path.name}: of another collection; delete it to make it again")

    def cosines(self, batch: Batch) -> Tensor:
        """Return (n_questions, n_units) float32."""
        units = self._vectors[batch.units].astype(np.float32)
        numbers = [self._n_units + question.number for question in batch.questions]
        return torch.as_tensor(self._vectors[numbers].astype(np.float32) @ units.T)

    def nearness(self, question: Question, numbers: Sequence[int]) -> NDArray[np.float32]:
        """Return (n_numbers,) cosines of units with a question, as shares of its best relevant one.

        All are 0 where nothing is relevant.
        """
        asked = self._vectors[self._n_units + question.number].astype(np.float32)
        relevant = self._vectors[list(question.labels)].astype(np.float32) @ asked
        if not len(relevant):
            return np.zeros(len(numbers), np.float32)
        found = self._vectors[list(numbers)].astype(np.float32) @ asked
        return np.asarray(found / max(float(relevant.max()), 1e-3))
