"""The model in training: losses that rank, a head that ignores padding, graphs that agree."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("onnxscript")

import onnx  # noqa: E402
import onnxruntime as ort  # noqa: E402
from transformers import BertConfig, BertModel  # noqa: E402

from ctxpack.errors import ModelError  # noqa: E402
from ctxpack.train.export_encoder import lower_graph, upper_graph  # noqa: E402
from ctxpack.train.export_head import INPUTS, MIN_HALVED, head_graph, head_weights  # noqa: E402
from ctxpack.train.joint import JointEncoder  # noqa: E402
from ctxpack.train.losses import Scored, agreement, ranking  # noqa: E402
from ctxpack.train.model import PRIOR, WIDTH, Encoder, Head, QuerySide, SegmentSide  # noqa: E402
from ctxpack.train.rebuild import EncoderWeights, encoder_weights  # noqa: E402


@pytest.fixture(scope="module")
def head() -> Head:
    """Return an untrained head of the kind that knows cosines."""
    torch.manual_seed(0)
    return Head(PRIOR).eval()


def sides(n_query: int = 5, n_tokens: int = 12) -> tuple[QuerySide, SegmentSide]:
    """Return a query, the last tokens of which are found evidence, and a segment of three nodes."""
    torch.manual_seed(1)
    unit = torch.nn.functional.normalize
    words = torch.arange(n_query)[None]
    query = QuerySide(
        unit(torch.randn(1, n_query, WIDTH), dim=-1),
        words,
        (words != 0) * 0.5,
        (words > 2).float(),
        torch.ones(1, n_query),
    )
    members = (torch.arange(n_tokens) // 4 == torch.arange(3)[:, None]).float()
    vectors = unit(torch.randn(n_tokens, WIDTH), dim=-1)
    return query, SegmentSide(vectors, torch.arange(n_tokens), torch.rand(n_tokens), members)


def scored(logits: list[float], labels: list[float]) -> Scored:
    """Return items of one query."""
    question = torch.zeros(len(logits), dtype=torch.int64)
    return Scored(question, torch.tensor(logits), torch.tensor(labels).float())


def test_agreement_is_of_rankings() -> None:
    """A teacher's logits may be shifted, a query at a time; what is turned round costs."""
    question = torch.tensor([1, 0, 1, 0])
    own = Scored(question, torch.tensor([1.0, 5, 3, 7]), torch.tensor([11.0, -5, 13, -3]))
    assert float(agreement(own, 3)) == pytest.approx(0, abs=1e-6)
    turned = own._replace(labels=torch.tensor([13.0, -5, 11, -3]))
    share = 1 / (1 + np.exp(-2))
    wanted = (2 * share - 1) * 2 / 2  # of two queries
    assert float(agreement(turned, 3)) == pytest.approx(wanted, abs=1e-5)


def test_nothing_taught_is_agreed() -> None:
    """A batch without such items has no such loss."""
    none = Scored(torch.zeros(0, dtype=torch.int64), torch.zeros(0), torch.zeros(0))
    assert float(agreement(none, 2)) == 0


def test_ranking_loss_is_small_when_the_positive_leads() -> None:
    """A lead of 20 logits leaves nothing to learn."""
    loss = ranking(scored([20.0, 0.0, 0.0], [1, 0, 0]), torch.tensor([True]))
    assert float(loss) == pytest.approx(0, abs=1e-6)


def test_one_positive_is_enough_where_any_will_do() -> None:
    """A second positive at the bottom costs only where all are needed."""
    case = scored([20.0, 0.0, -20.0], [1, 0, 1])
    assert float(ranking(case, torch.tensor([True]))) == pytest.approx(0, abs=1e-6)
    assert float(ranking(case, torch.tensor([False]))) == pytest.approx(10, abs=1e-3)


def test_query_without_a_positive_is_not_ranked() -> None:
    """It has a probability loss, but there is nothing to put first."""
    assert float(ranking(scored([1.0, 2.0], [0, 0]), torch.tensor([True]))) == 0


def test_padding_of_a_query_changes_nothing(head: Head) -> None:
    """A query scores the same beside a longer one."""
    query, segment = sides()
    padded = QuerySide(
        *(torch.nn.functional.pad(part, (0, 0, 0, 3)) for part in query[:1]),
        *(torch.nn.functional.pad(part, (0, 3)) for part in query[1:]),
    )
    with torch.no_grad():
        for alone, beside in zip(head(query, segment), head(padded, segment), strict=True):
            torch.testing.assert_close(alone, beside, atol=1e-4, rtol=1e-4)


def test_prior_is_of_the_question_and_the_segment_alone(head: Head) -> None:
    """Relevance has it on top of all else; spans, and what evidence was found, do not matter."""
    query, segment = sides()
    plain = Head()
    plain.load_state_dict(head.state_dict())
    question = (query.vectors * (1 - query.told)[..., None]).sum(1)[0]
    cosine = torch.cosine_similarity(question, segment.vectors.sum(0), dim=0)
    with torch.no_grad():
        relevance, spans = head(query, segment)
        without = plain.eval()(query, segment)
    torch.testing.assert_close(relevance[0], without[0][0] + PRIOR * cosine)
    torch.testing.assert_close(spans, without[1])


@pytest.fixture(scope="module")
def graph(head: Head) -> bytes:
    """Return the head's graph with its weights as they are."""
    return bytes(head_graph(head, halved=False).SerializeToString())


@pytest.fixture(scope="module")
def halved(head: Head) -> bytes:
    """Return the head's graph with its weights in float16."""
    return bytes(head_graph(head, halved=True).SerializeToString())


def logits(graph: bytes, *inputs: torch.Tensor) -> list[NDArray[np.float32]]:
    """Return what a head's graph gives."""
    session = ort.InferenceSession(graph)
    named = {name: value.numpy() for name, value in zip(INPUTS, inputs, strict=True)}
    return list(session.run(None, named))


def test_head_graph_equals_the_head(head: Head, graph: bytes, halved: bytes) -> None:
    """The exported graph gives the logits of the trained head; in float16, nearly."""
    query, segment = sides()
    codes = torch.round(segment.vectors * 500).clamp(-127, 127).to(torch.int8)
    scales = torch.full((len(codes),), 1 / 500)
    inputs = [*(part[0] for part in query[:4]), codes, scales, *segment[1:]]
    with torch.no_grad():
        wanted = head(query, segment._replace(vectors=codes * scales[:, None]))
    for written, near in ((graph, 1e-4), (halved, 1e-2)):
        relevance, spans = logits(written, *inputs)
        np.testing.assert_allclose(relevance, wanted[0].numpy(), atol=near)
        np.testing.assert_allclose(spans, wanted[1][0].numpy(), atol=near)
    assert len(halved) < 0.6 * len(graph)


def test_head_graph_holds_the_weights(head: Head, graph: bytes, halved: bytes) -> None:
    """They come back to the bit, or as float16 has them."""
    found, rounded = head_weights(graph), head_weights(halved)
    assert found.keys() == rounded.keys() == dict(head.named_parameters()).keys()
    for name, weight in head.named_parameters():
        assert torch.equal(found[name], weight), name
        assert rounded[name].dtype == torch.float32
        large = weight.numel() >= MIN_HALVED
        assert torch.equal(rounded[name], weight.half().float() if large else weight), name


def test_head_without_a_note_is_refused(graph: bytes) -> None:
    """A head of an older version, or of somebody else's, cannot be trained on."""
    model = onnx.load_from_string(graph)
    del model.metadata_props[:]
    with pytest.raises(ModelError, match=r"head\.onnx: .* older version"):
        head_weights(model.SerializeToString())


def test_head_of_another_shape_is_refused(graph: bytes) -> None:
    """The message names the weight and the shape that it must have."""
    model = onnx.load_from_string(graph)
    (entry,) = model.metadata_props
    entry.value = entry.value.replace('"told": ["head.told"', '"told": ["head.ask.weight"')
    with pytest.raises(ModelError, match=r"`told` must have the shape \(128,\)"):
        head_weights(model.SerializeToString())


def untrained(kind: type[Encoder]) -> Encoder:
    """Return an encoder of four layers with random weights."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=100,
        hidden_size=48,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=96,
        max_position_embeddings=256,
    )
    encoder = kind(BertModel(config, add_pooling_layer=False)).eval()
    for parameter in encoder.parameters():
        parameter.data += 0.02 * torch.randn(parameter.shape)
    return encoder


KINDS = pytest.mark.parametrize("kind", [Encoder, JointEncoder])
IDS, ASKED = np.arange(20), np.arange(50, 57)


class Graphs:
    """Both graphs of an encoder, running."""

    def __init__(self, encoder: Encoder, *, quantise: bool) -> None:
        self.files = tuple(
            graph(encoder, quantise=quantise).SerializeToString()
            for graph in (lower_graph, upper_graph)
        )
        self._lower, self._upper = map(ort.InferenceSession, self.files)

    def segment(self) -> np.ndarray:
        """Return the vectors of a segment."""
        (states,) = self._lower.run(None, {"ids": IDS})
        return np.asarray(self._upper.run(["segment"], {"states": states})[0])

    def pair(self) -> np.ndarray:
        """Return the vectors of a query and a segment that are read together."""
        query, segment = (self._lower.run(None, {"ids": ids})[0] for ids in (ASKED, IDS))
        inputs = {"query_states": query, "segment_states": segment}
        return np.concatenate(self._upper.run(["query", "segment"], inputs))


@torch.no_grad()
def wanted(encoder: Encoder) -> np.ndarray:
    """Return what `Graphs.segment` or `Graphs.pair` should find."""
    if isinstance(encoder, JointEncoder):
        states = [encoder.apart(one, torch.ones_like(one)) for one in tokens(ASKED, IDS)]
        joined = torch.cat(states, dim=1)
        is_query = torch.arange(joined.shape[1])[None] < len(ASKED)
        return encoder.together(joined, torch.ones_like(is_query).long(), is_query)[0].numpy()
    (ids,) = tokens(IDS)
    return encoder(ids, torch.ones_like(ids), is_query=False)[0].numpy()


def tokens(*texts: np.ndarray) -> list[torch.Tensor]:
    """Return (1, n_tokens) ids of each text."""
    return [torch.from_numpy(ids)[None] for ids in texts]


def found(encoder: Encoder, *, quantise: bool) -> np.ndarray:
    """Return the vectors of an encoder's graphs."""
    graphs = Graphs(encoder, quantise=quantise)
    return graphs.pair() if isinstance(encoder, JointEncoder) else graphs.segment()


@KINDS
def test_quantised_graphs_are_close_to_the_encoder(kind: type[Encoder]) -> None:
    """Row-wise int8 activations and 7-bit weights turn a vector by little."""
    encoder = untrained(kind)
    assert (found(encoder, quantise=True) * wanted(encoder)).sum(1).min() > 0.99


@KINDS
def test_float32_graphs_equal_the_encoder(kind: type[Encoder]) -> None:
    """Without rounding nothing is lost; inputs and outputs are the same."""
    encoder = untrained(kind)
    np.testing.assert_allclose(found(encoder, quantise=False), wanted(encoder), atol=1e-5)


@KINDS
@pytest.mark.parametrize("quantise", [True, False])
def test_rebuilt_encoder_has_the_same_graphs(kind: type[Encoder], quantise: bool) -> None:
    """Weights that come out of the graphs go into the same graphs again."""
    graphs = Graphs(untrained(kind), quantise=quantise)
    again = rebuilt(kind, encoder_weights(*graphs.files))
    assert Graphs(again, quantise=quantise).files == graphs.files


def rebuilt(kind: type[Encoder], weights: EncoderWeights) -> Encoder:
    """Return an encoder with weights that were found in graphs."""
    encoder = kind(BertModel(weights.config, add_pooling_layer=False)).eval()
    encoder.base.load_state_dict(weights.base)
    missing, unexpected = encoder.load_state_dict(weights.own, strict=False)
    assert unexpected == []
    assert all(name.startswith("base.") for name in missing)
    return encoder
