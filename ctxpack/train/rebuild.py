"""Float weights from the graphs of a model, so that training can go on from what is installed.

A quantised weight is its int8 codes times the scales of its columns; quantised again it has the
same codes, so what is not trained leaves as it came.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor
from transformers import BertConfig

from ctxpack.errors import ModelError
from ctxpack.train.model import WIDTH

PROJECTIONS = ("segment", "query")
_NORMS = ("attention.output.LayerNorm", "output.LayerNorm")
_LINEAR = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
)


class EncoderWeights(NamedTuple):
    """What an encoder graph holds.

    Args:
        config: of the base.
        base: weights of the base, by the names of `transformers.BertModel`.
        own: ``segment.weight`` and ``query.weight``, (WIDTH, hidden size), and ``asking`` of a
            joint encoder.
    """

    config: BertConfig
    base: dict[str, Tensor]
    own: dict[str, Tensor]


def encoder_weights(lower: bytes, upper: bytes) -> EncoderWeights:
    """Return the weights of an encoder, from its graphs by `export_encoder`.

    Raises:
        ModelError: they are not such graphs.
    """
    graphs = [onnx.load_from_string(model).graph for model in (lower, upper)]
    constants = {
        constant.name: numpy_helper.to_array(constant)
        for graph in graphs
        for constant in graph.initializer
    }
    try:
        config = _config(graphs[0], constants)
        base = _embeddings(constants)
        for number in range(config.num_hidden_layers):
            layer = f"encoder.layer.{number}"
            for part in _LINEAR:
                base[f"{layer}.{part}.weight"] = _weight(constants, f"{layer}.{part}").T
                base[f"{layer}.{part}.bias"] = constants[f"{layer}.{part}.bias"]
            for part in _NORMS:
                base |= _norm(constants, f"{layer}.{part}")
        own = {f"{name}.weight": _weight(constants, name).T for name in PROJECTIONS}
    except KeyError as error:
        raise ModelError(f"encoder: no constant {error}; it is of another version") from error
    if any(weight.shape[0] != WIDTH for weight in own.values()):
        raise ModelError(f"encoder: vectors must have {WIDTH} dimensions")
    if "asking" in constants:
        own["asking"] = constants["asking"]
    return EncoderWeights(config, _tensors(base), _tensors(own))


def _config(graph: onnx.GraphProto, constants: dict[str, NDArray[Any]]) -> BertConfig:
    vocabulary, hidden = _weight(constants, "words").shape
    norm = next(node for node in graph.node if node.op_type == "LayerNormalization")
    epsilon = next(part.f for part in norm.attribute if part.name == "epsilon")
    layers = {name.split(".")[2] for name in constants if name.startswith("encoder.layer.")}
    return BertConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        num_hidden_layers=len(layers),
        num_attention_heads=int(constants["split"][1]),
        intermediate_size=len(constants["encoder.layer.0.intermediate.dense.bias"]),
        max_position_embeddings=len(constants["positions"]),
        type_vocab_size=1,
        layer_norm_eps=epsilon,
    )


def _embeddings(constants: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    positions = constants["positions"]
    return {
        "embeddings.word_embeddings.weight": _weight(constants, "words"),
        # The only token type is added to them already.
        "embeddings.position_embeddings.weight": positions,
        "embeddings.token_type_embeddings.weight": np.zeros_like(positions[:1]),
        **_norm(constants, "embeddings.LayerNorm"),
    }


def _norm(constants: dict[str, NDArray[Any]], name: str) -> dict[str, NDArray[Any]]:
    return {f"{name}.{part}": constants[f"{name}.{part}"] for part in ("weight", "bias")}


def _weight(constants: dict[str, NDArray[Any]], name: str) -> NDArray[Any]:
    if f"{name}.weight" in constants:  # of a float32 graph
        return constants[f"{name}.weight"]
    codes = constants[f"{name}.codes"].astype(np.float32)
    return np.asarray(codes * constants[f"{name}.scale"])


def _tensors(weights: dict[str, NDArray[Any]]) -> dict[str, Tensor]:
    return {name: torch.tensor(np.ascontiguousarray(value)) for name, value in weights.items()}
