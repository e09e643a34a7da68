"""The encoder as an int8 ONNX graph for one text at a time.

Activations are quantised per token row inside the graph (largest magnitude → 127, zero point 128)
and weights per output channel to 7 bits, because 8 bits saturate the 16-bit accumulators of
processors without VNNI. A text is never padded or batched, so its vectors depend on it alone.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from transformers import BertModel

from ctxpack.scoring.segments import WINDOW
from ctxpack.train.model import Encoder

OPSET = 20
WEIGHT_MAX = 63
"""Largest weight code: the range of 7 bits."""

Array = NDArray[np.generic]


class _Graph:
    """An ONNX graph under construction; every method returns the name of its result."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: Array) -> str:
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def number(self, value: float) -> str:
        return self.constant(f"number_{value}", np.array(value, np.float32))

    def axes(self, *axes: int) -> str:
        return self.constant("axes_" + "_".join(map(str, axes)), np.array(axes, np.int64))

    def op(self, kind: str, *inputs: str, **attributes: object) -> str:
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def quantised(self, rows: str) -> tuple[str, str]:
        """Quantise each row of a matrix; return the names of its uint8 codes and its scales."""
        peak = self.op("ReduceMax", self.op("Abs", rows), self.axes(-1))
        scale = self.op("Div", self.op("Max", peak, self.number(1e-6)), self.number(127.0))
        codes = self.op("Round", self.op("Div", rows, scale))
        shifted = self.op("Add", codes, self.number(128.0))
        return self.op("Cast", shifted, to=TensorProto.UINT8), scale

    def linear(self, rows: tuple[str, str], name: str, weight: Array, bias: Array | None) -> str:
        """Return quantised rows times ``weight.T`` (n_in, n_out) plus the bias."""
        codes, scale = rows
        weight_codes, weight_scale = _weight_codes(weight.T, axis=0)
        product = self.op(
            "MatMulInteger",
            codes,
            self.constant(f"{name}.codes", weight_codes),
            self.constant("zero_point", np.array(128, np.uint8)),
        )
        product = self.op("Cast", product, to=TensorProto.FLOAT)
        product = self.op("Mul", product, scale)
        product = self.op("Mul", product, self.constant(f"{name}.scale", weight_scale))
        if bias is None:
            return product
        return self.op("Add", product, self.constant(f"{name}.bias", bias))

    def norm(self, rows: str, name: str, state: dict[str, Array], epsilon: float) -> str:
        weight = self.constant(f"{name}.weight", state[f"{name}.weight"])
        bias = self.constant(f"{name}.bias", state[f"{name}.bias"])
        return self.op("LayerNormalization", rows, weight, bias, axis=-1, epsilon=epsilon)


def encoder_graph(encoder: Encoder) -> onnx.ModelProto:
    """Return the graph: ``ids`` (n_tokens,) int64 → ``segment``, ``query`` (n_tokens, WIDTH).

    Rows of both outputs have length 1; a caller asks for the one that it needs.
    """
    graph = _Graph()
    state = {name: weight.float().numpy() for name, weight in encoder.base.state_dict().items()}
    epsilon = encoder.base.config.layer_norm_eps
    rows = graph.norm(_embedded(graph, state), "embeddings.LayerNorm", state, epsilon)
    for number in range(encoder.base.config.num_hidden_layers):
        rows = _layer(graph, rows, f"encoder.layer.{number}", state, encoder.base)
    final = graph.quantised(rows)
    outputs = []
    for name, projection in (("segment", encoder.segment), ("query", encoder.query)):
        vectors = graph.linear(final, name, projection.weight.detach().numpy(), None)
        length = graph.op("ReduceL2", vectors, graph.axes(-1))
        graph.nodes.append(helper.make_node("Div", [vectors, length], [name]))
        outputs.append(
            helper.make_tensor_value_info(
                name, TensorProto.FLOAT, ["n_tokens", projection.out_features]
            )
        )
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["n_tokens"])
    built = helper.make_graph(
        graph.nodes, "ctxpack-encoder", [ids], outputs, list(graph.constants.values())
    )
    model = helper.make_model(built, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = 10
    onnx.checker.check_model(model)
    return model


def _embedded(graph: _Graph, state: dict[str, Array]) -> str:
    """Return the sum of word and position embeddings; the token type is always 0."""
    codes, scale = _weight_codes(state["embeddings.word_embeddings.weight"], axis=1, peak=127)
    rows = graph.op("Gather", graph.constant("words.codes", codes), "ids")
    scales = graph.op("Gather", graph.constant("words.scale", scale), "ids")
    words = graph.op("Mul", graph.op("Cast", rows, to=TensorProto.FLOAT), scales)
    positions = (
        state["embeddings.position_embeddings.weight"][:WINDOW]
        + state["embeddings.token_type_embeddings.weight"][0]
    )
    place = graph.op(
        "Slice",
        graph.constant("positions", positions),
        graph.axes(0),
        graph.op("Shape", "ids"),
    )
    return graph.op("Add", words, place)


def _layer(graph: _Graph, rows: str, name: str, state: dict[str, Array], base: BertModel) -> str:
    """Return the states after one transformer layer."""
    epsilon = base.config.layer_norm_eps

    def dense(inputs: str | tuple[str, str], part: str) -> str:
        codes = inputs if isinstance(inputs, tuple) else graph.quantised(inputs)
        weight, bias = state[f"{name}.{part}.weight"], state[f"{name}.{part}.bias"]
        return graph.linear(codes, f"{name}.{part}", weight, bias)

    codes = graph.quantised(rows)
    parts = [dense(codes, f"attention.self.{part}") for part in ("query", "key", "value")]
    attended = dense(_attention(graph, parts, base), "attention.output.dense")
    rows = graph.norm(
        graph.op("Add", rows, attended), f"{name}.attention.output.LayerNorm", state, epsilon
    )
    inner = graph.op("Gelu", dense(rows, "intermediate.dense"))
    outer = graph.op("Add", rows, dense(inner, "output.dense"))
    return graph.norm(outer, f"{name}.output.LayerNorm", state, epsilon)


def _attention(graph: _Graph, parts: list[str], base: BertModel) -> str:
    """Return multi-head attention of query, key and value, each (n_tokens, hidden_size)."""
    n_heads, hidden = base.config.num_attention_heads, base.config.hidden_size
    split = graph.constant("split", np.array([-1, n_heads, hidden // n_heads], np.int64))
    orders = ([1, 0, 2], [1, 2, 0], [1, 0, 2])
    query, key, value = (
        graph.op("Transpose", graph.op("Reshape", part, split), perm=order)
        for part, order in zip(parts, orders, strict=True)
    )
    scaled = graph.op("Mul", query, graph.number((hidden / n_heads) ** -0.5))
    weights = graph.op("Softmax", graph.op("MatMul", scaled, key), axis=-1)
    joined = graph.op("Transpose", graph.op("MatMul", weights, value), perm=[1, 0, 2])
    return graph.op("Reshape", joined, graph.constant("join", np.array([-1, hidden], np.int64)))


def _weight_codes(
    weight: Array, *, axis: int, peak: int = WEIGHT_MAX
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return int8 codes and float32 scales; a scale is shared along `axis`."""
    # The row of the padding token is zero: its scale must not be.
    scale = np.abs(weight).max(axis=axis, keepdims=True).clip(min=1e-6) / peak
    return np.round(weight / scale).astype(np.int8), scale.astype(np.float32)
