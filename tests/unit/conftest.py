"""A scorer whose scores a test can predict, and a base model to train from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from ctxpack.scoring.base import ConfiguredScorer, PassageScores
from ctxpack.selection import SplitPassage


class WordScorer(ConfiguredScorer):
    """Scores 0.9 where a word of the query occurs, else 0.1; a passage by its best span."""

    name = "words"
    pointwise = True
    operating_points = MappingProxyType({"faithful": 0.05, "balanced": 0.5, "aggressive": 0.8})

    def score(self, query: str, passages: Sequence[SplitPassage]) -> list[PassageScores]:
        """Return scores of 0.9 and 0.1."""
        wanted = set(re.findall(r"\w+", query.lower()))
        results = []
        for passage, spans in passages:
            texts = [passage.text[span.start : span.end].lower() for span in spans]
            scores = [0.9 if wanted & set(re.findall(r"\w+", text)) else 0.1 for text in texts]
            found = np.array(scores, dtype=np.float32)
            results.append(PassageScores(float(max(scores, default=0.0)), found))
        return results


@pytest.fixture
def scorer() -> WordScorer:
    """Return the scorer."""
    return WordScorer()


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a tiny base model with random weights."""
    import torch
    from transformers import BertConfig, BertModel

    from ctxpack.train.joint import N_APART

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=30522,
        hidden_size=128,
        num_hidden_layers=N_APART + 1,
        num_attention_heads=4,
        intermediate_size=64,
    )
    directory = tmp_path_factory.mktemp("models") / "tiny-base"
    BertModel(config, add_pooling_layer=False).save_pretrained(directory)
    return directory
