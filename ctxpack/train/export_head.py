"""The head as an ONNX graph for one query and one segment; it computes in float32."""

from __future__ import annotations

import io
import json
import warnings

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from ctxpack.errors import ModelError
from ctxpack.train.model import WIDTH, Head, QuerySide, SegmentSide

INPUTS = (
    "query", "query_words", "query_rarity", "told", "codes", "scales", "words", "rarity", "members"
)  # fmt: skip
PARAMETERS = "parameters"
"""Metadata of the graph: weight of the head → [constant that holds it, whether transposed]."""
HALF = ".half"
"""Behind the name of a constant that is kept in float16."""
MIN_HALVED = 1024
"""Numbers of a constant that is worth keeping in float16."""


class _OnePair(nn.Module):  # type: ignore[misc]  # torch is Any to mypy
    """The head between stored vectors and logits, without the queries' batch axis."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head

    def forward(
        self,
        query: Tensor,
        query_words: Tensor,
        query_rarity: Tensor,
        told: Tensor,
        codes: Tensor,
        scales: Tensor,
        words: Tensor,
        rarity: Tensor,
        members: Tensor,
    ) -> tuple[Tensor, Tensor]:
        mask = torch.ones_like(query_rarity)
        asked = QuerySide(
            query[None], query_words[None], query_rarity[None], told[None], mask[None]
        )
        segment = SegmentSide(codes.float() * scales[:, None], words, rarity, members)
        relevance, spans = self.head(asked, segment)
        return relevance, spans[0]


def head_graph(head: Head, *, halved: bool) -> onnx.ModelProto:
    """Return the graph: `INPUTS` → ``relevance`` (1,) and ``spans`` (n_spans,), both logits.

    Inputs are ``query`` (n_query_tokens, WIDTH) float32, ``query_words``, ``query_rarity`` and
    ``told`` (n_query_tokens,), ``codes`` (n_tokens, WIDTH) int8 times ``scales`` (n_tokens,),
    ``words`` and ``rarity`` (n_tokens,) and ``members`` (n_nodes, n_tokens) float32.

    Args:
        head: what is written.
        halved: whether its large weights are kept in float16, for a file half as large.
    """
    example = (
        torch.randn(9, WIDTH),
        torch.arange(9),
        torch.rand(9),
        (torch.arange(9) > 5).float(),
        torch.randint(-127, 128, (30, WIDTH), dtype=torch.int8),
        torch.rand(30) / 127,
        torch.arange(30),
        torch.rand(30),
        (torch.arange(30) % 5 == torch.arange(5)[:, None]).float(),
    )
    asked, tokens, nodes = (
        torch.export.Dim(name, min=2, max=4096)
        for name in ("n_query_tokens", "n_tokens", "n_nodes")
    )
    shapes = (*[{0: asked}] * 4, *[{0: tokens}] * 4, {0: nodes, 1: tokens})
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        program = torch.onnx.export(
            _OnePair(head).eval(),
            example,
            input_names=INPUTS,
            output_names=("relevance", "spans"),
            dynamic_shapes=shapes,
            dynamo=True,
            opset_version=20,
            verbose=False,
        )
    program.save(file)
    graph = onnx.load_from_string(file.getvalue())
    for node in graph.graph.node:
        # The exporter leaves its stack trace on every node: 0.2 MB, with paths of this machine.
        del node.metadata_props[:]
        node.doc_string = ""
    _note_parameters(graph, head)
    if halved:
        _halve(graph)
    return graph


def _note_parameters(graph: onnx.ModelProto, head: Head) -> None:
    """Write down which constant of the graph holds which weight of the head.

    The exporter renames, transposes and shares constants, so they are found by their values;
    `head_weights` reads the note.
    """
    constants = {
        constant.name: numpy_helper.to_array(constant) for constant in graph.graph.initializer
    }
    note = {}
    for name, weight in head.named_parameters():
        value = weight.detach().numpy()
        places = [
            (constant, transposed)
            for transposed, wanted in ((False, value.ravel()), (True, value.T.ravel()))
            for constant, found in constants.items()
            if np.array_equal(found.ravel(), wanted)
        ]
        assert places, f"the exporter folded {name} into something else"
        note[name] = places[0]
    graph.metadata_props.add(key=PARAMETERS, value=json.dumps(note))


def _halve(graph: onnx.ModelProto) -> None:
    """Keep the large constants of a graph in float16, cast when it is loaded."""
    casts = []
    for constant in graph.graph.initializer:
        value = numpy_helper.to_array(constant)
        if value.dtype == np.float32 and value.size >= MIN_HALVED:
            name = constant.name
            half = value.astype(np.float16)
            assert np.isfinite(half).all(), f"{name} holds numbers that float16 cannot"
            constant.CopyFrom(numpy_helper.from_array(half, f"{name}{HALF}"))
            casts.append(helper.make_node("Cast", [f"{name}{HALF}"], [name], to=TensorProto.FLOAT))
    nodes = list(graph.graph.node)
    del graph.graph.node[:]
    graph.graph.node.extend(casts + nodes)


def head_weights(model: bytes) -> dict[str, Tensor]:
    """Return the weights of the head that `head_graph` wrote, by name.

    Raises:
        ModelError: the graph is not one of `head_graph`, or of another head than this version's.
    """
    graph = onnx.load_from_string(model)
    note = {entry.key: entry.value for entry in graph.metadata_props}.get(PARAMETERS)
    if note is None:
        raise ModelError("head.onnx: says nothing of its weights; it is of an older version")
    places = json.loads(note)
    constants = {
        constant.name.removesuffix(HALF): numpy_helper.to_array(constant)
        for constant in graph.graph.initializer
    }
    weights = {}
    for name, wanted in Head().named_parameters():
        constant, transposed = places.get(name, (None, False))
        shape = tuple(wanted.shape)
        value = constants.get(constant, np.zeros(0, np.float32))
        if value.size != wanted.numel():
            raise ModelError(f"head.onnx: `{name}` must have the shape {shape}; of another version")
        value = value.reshape(shape[::-1]).T if transposed else value.reshape(shape)
        weights[name] = torch.tensor(value, dtype=torch.float32)
    return weights
