"""The model in training: losses that rank, a head that ignores padding, graphs that agree."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("onnxscript")

import onnxruntime as ort  # noqa: E402
from transformers import BertConfig, BertModel  # noqa: E402

from ctxpack.train.export_encoder import encoder_graph  # noqa: E402
from ctxpack.train.export_head import INPUTS, head_graph  # noqa: E402
from ctxpack.train.losses import Scored, ranking  # noqa: E402
from ctxpack.train.model import WIDTH, Encoder, Head, QuerySide, SegmentSide  # noqa: E402


@pytest.fixture(scope="module")
def head() -> Head:
    """Return an untrained head."""
    torch.manual_seed(0)
    return Head().eval()


def sides(n_query: int = 5, n_tokens: int = 12) -> tuple[QuerySide, SegmentSide]:
    """Return a query and a segment of three nodes."""
    torch.manual_seed(1)
    unit = torch.nn.functional.normalize
    words = torch.arange(n_query)[None]
    query = QuerySide(
        unit(torch.randn(1, n_query, WIDTH), dim=-1),
        words,
        (words != 0) * 0.5,
        torch.ones(1, n_query),
    )
    members = (torch.arange(n_tokens) // 4 == torch.arange(3)[:, None]).float()
    return query, SegmentSide(
        unit(torch.randn(n_tokens, WIDTH), dim=-1), torch.arange(n_tokens), members
    )


def scored(logits: list[float], labels: list[float]) -> Scored:
    """Return items of one query."""
    question = torch.zeros(len(logits), dtype=torch.int64)
    return Scored(question, torch.tensor(logits), torch.tensor(labels).float())


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


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")  # of the exporter
def test_head_graph_equals_the_head(head: Head) -> None:
    """The exported graph gives the logits of the trained head."""
    query, segment = sides()
    codes = torch.round(segment.vectors * 500).clamp(-127, 127).to(torch.int8)
    scales = torch.full((len(codes),), 1 / 500)
    session = ort.InferenceSession(head_graph(head).SerializeToString())
    inputs = [part[0] for part in query[:3]] + [codes, scales, segment.words, segment.members]
    found = session.run(None, {n: v.numpy() for n, v in zip(INPUTS, inputs, strict=True)})
    with torch.no_grad():
        wanted = head(query, segment._replace(vectors=codes * scales[:, None]))
    np.testing.assert_allclose(found[0], wanted[0].numpy(), atol=1e-4)
    np.testing.assert_allclose(found[1], wanted[1][0].numpy(), atol=1e-4)


def test_encoder_graph_is_close_to_the_encoder() -> None:
    """Row-wise int8 activations and 7-bit weights turn a vector by little."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50,
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=96,
        max_position_embeddings=256,
    )
    encoder = Encoder(BertModel(config, add_pooling_layer=False)).eval()
    session = ort.InferenceSession(encoder_graph(encoder).SerializeToString())
    ids = np.arange(20)
    found = session.run(["segment"], {"ids": ids})[0]
    with torch.no_grad():
        tokens = torch.from_numpy(ids)[None]
        wanted = encoder(tokens, torch.ones_like(tokens), is_query=False)[0].numpy()
    assert (found * wanted).sum(1).min() > 0.99
