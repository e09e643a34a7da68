"""The encoder as two ONNX graphs for one text, or one pair, at a time.

Its lower layers read a text by itself; nothing that is trained changes them, so the models of a
directory share their file. The upper layers are a model's own.

Activations are quantised per token row inside the graph (largest magnitude → 127, zero point 128)
and weights per output channel to 7 bits, because 8 bits saturate the 16-bit accumulators of
processors without VNNI. A text is never padded or batched, so its vectors depend on it alone.
Float32 graphs have the same inputs and outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from transformers import BertModel

from ctxpack.scoring.segments import WINDOW
from ctxpack.train.joint import N_APART, JointEncoder
from ctxpack.train.model import WIDTH, Encoder

OPSET = 20
WEIGHT_MAX = 63
"""Largest weight code: the range of 7 bits."""

Array = NDArray[np.generic]


class _Rows(NamedTuple):
    """A matrix as `_Graph.linear` reads it.

    Args:
        values: name of its uint8 codes, or of itself where nothing is quantised.
        scale: name of the scale of each row; None where nothing is quantised.
    """

    values: str
    scale: str | None


class _Graph:
    """An ONNX graph under construction; methods return the name of their result.

    Args:
        quantise: whether weights and what they are multiplied with are rounded to integers.
    """

    def __init__(self, *, quantise: bool) -> None:
        self.quantise = quantise
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

    def rows(self, matrix: str) -> _Rows:
        """Return a matrix as `linear` reads it: each row quantised by itself."""
        if not self.quantise:
            return _Rows(matrix, None)
        peak = self.op("ReduceMax", self.op("Abs", matrix), self.axes(-1))
        scale = self.op("Div", self.op("Max", peak, self.number(1e-6)), self.number(127.0))
        codes = self.op("Round", self.op("Div", matrix, scale))
        shifted = self.op("Add", codes, self.number(128.0))
        return _Rows(self.op("Cast", shifted, to=TensorProto.UINT8), scale)

    def linear(self, rows: _Rows, name: str, weight: Array, bias: Array | None) -> str:
        """Return rows times ``weight.T`` (n_in, n_out) plus the bias."""
        if rows.scale is None:
            product = self.op("MatMul", rows.values, self.constant(f"{name}.weight", weight.T))
        else:
            codes, scale = _weight_codes(weight.T, axis=0)
            product = self.op(
                "MatMulInteger",
                rows.values,
                self.constant(f"{name}.codes", codes),
                self.constant("zero_point", np.array(128, np.uint8)),
            )
            product = self.op("Cast", product, to=TensorProto.FLOAT)
            product = self.op("Mul", product, rows.scale)
            product = self.op("Mul", product, self.constant(f"{name}.scale", scale))
        if bias is None:
            return product
        return self.op("Add", product, self.constant(f"{name}.bias", bias))

    def norm(self, rows: str, name: str, state: dict[str, Array], epsilon: float) -> str:
        weight = self.constant(f"{name}.weight", state[f"{name}.weight"])
        bias = self.constant(f"{name}.bias", state[f"{name}.bias"])
        return self.op("LayerNormalization", rows, weight, bias, axis=-1, epsilon=epsilon)

    def named(self, kind: str, *inputs: str, name: str) -> None:
        """Compute an output of the graph."""
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name))

    def model(
        self, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]
    ) -> onnx.ModelProto:
        """Return what was built."""
        built = helper.make_graph(
            self.nodes, "ctxpack-encoder", inputs, outputs, list(self.constants.values())
        )
        model = helper.make_model(built, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = 10
        onnx.checker.check_model(model)
        return model


def lower_graph(encoder: Encoder, *, quantise: bool = True) -> onnx.ModelProto:
    """Return the graph: ``ids`` (n_tokens,) int64 → ``states`` (n_tokens, hidden size)."""
    graph, state = _Graph(quantise=quantise), _state(encoder)
    epsilon = encoder.base.config.layer_norm_eps
    rows = graph.norm(_embedded(graph, state), "embeddings.LayerNorm", state, epsilon)
    for number in range(_n_lower(encoder)):
        rows = _layer(graph, rows, f"encoder.layer.{number}", state, encoder.base)
    graph.named("Identity", rows, name="states")
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["n_tokens"])
    return graph.model([ids], [_floats("states", "n_tokens", encoder.base.config.hidden_size)])


def upper_graph(encoder: Encoder, *, quantise: bool = True) -> onnx.ModelProto:
    """Return the graph: states → ``segment`` and ``query`` (n_tokens, WIDTH), rows of length 1.

    Its input is ``states`` (n_tokens, hidden size), and a caller asks for the output that it needs;
    that of a joint encoder has ``query_states`` (n_query_tokens, hidden size) and
    ``segment_states``, with an output for each.
    """
    graph, state = _Graph(quantise=quantise), _state(encoder)
    hidden = encoder.base.config.hidden_size
    joint = isinstance(encoder, JointEncoder)
    rows = _joined(graph, encoder) if joint else "states"
    for number in range(_n_lower(encoder), encoder.base.config.num_hidden_layers):
        rows = _layer(graph, rows, f"encoder.layer.{number}", state, encoder.base)
    query, segment = _parted(graph, rows) if joint else (rows, rows)
    for name, side, projection in (
        ("segment", segment, encoder.segment),
        ("query", query, encoder.query),
    ):
        vectors = graph.linear(graph.rows(side), name, projection.weight.detach().numpy(), None)
        graph.named("Div", vectors, graph.op("ReduceL2", vectors, graph.axes(-1)), name=name)
    n_query = "n_query_tokens" if joint else "n_tokens"
    inputs = [("query_states", n_query), ("segment_states", "n_tokens")]
    outputs = [_floats("segment", "n_tokens", WIDTH), _floats("query", n_query, WIDTH)]
    return graph.model(
        [_floats(name, n, hidden) for name, n in (inputs if joint else [("states", "n_tokens")])],
        outputs,
    )


def _n_lower(encoder: Encoder) -> int:
    return min(N_APART, int(encoder.base.config.num_hidden_layers))


def _state(encoder: Encoder) -> dict[str, Array]:
    return {name: weight.float().numpy() for name, weight in encoder.base.state_dict().items()}


def _floats(name: str, n_rows: str, width: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [n_rows, width])


def _joined(graph: _Graph, encoder: JointEncoder) -> str:
    """Return the states of both sides, those of the query first and marked as such."""
    asking = graph.constant("asking", encoder.asking.detach().numpy())
    return graph.op("Concat", graph.op("Add", "query_states", asking), "segment_states", axis=0)


def _parted(graph: _Graph, rows: str) -> tuple[str, str]:
    """Return the query's rows and the segment's."""
    n_query = graph.op("Shape", "query_states", start=0, end=1)
    last = graph.constant("last", np.array([np.iinfo(np.int64).max]))
    query = graph.op("Slice", rows, graph.axes(0), n_query, graph.axes(0))
    return query, graph.op("Slice", rows, n_query, last, graph.axes(0))


def _embedded(graph: _Graph, state: dict[str, Array]) -> str:
    """Return the sum of word and position embeddings; the token type is always 0."""
    words = state["embeddings.word_embeddings.weight"]
    if graph.quantise:
        codes, scale = _weight_codes(words, axis=1, peak=127)
        rows = graph.op("Gather", graph.constant("words.codes", codes), "ids")
        scales = graph.op("Gather", graph.constant("words.scale", scale), "ids")
        found = graph.op("Mul", graph.op("Cast", rows, to=TensorProto.FLOAT), scales)
    else:
        found = graph.op("Gather", graph.constant("words.weight", words), "ids")
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
    return graph.op("Add", found, place)


def _layer(graph: _Graph, rows: str, name: str, state: dict[str, Array], base: BertModel) -> str:
    """Return the states after one transformer layer."""
    epsilon = base.config.layer_norm_eps

    def dense(inputs: str | _Rows, part: str) -> str:
        read = graph.rows(inputs) if isinstance(inputs, str) else inputs
        weight, bias = state[f"{name}.{part}.weight"], state[f"{name}.{part}.bias"]
        return graph.linear(read, f"{name}.{part}", weight, bias)

    read = graph.rows(rows)
    parts = [dense(read, f"attention.self.{part}") for part in ("query", "key", "value")]
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
