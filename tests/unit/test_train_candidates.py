"""Candidates: what each form does not see, and a comparison that goes on where it stopped."""

from __future__ import annotations

import gzip
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from ctxpack.train import candidates  # noqa: E402
from ctxpack.train.candidates import JUDGED, LEARNT, LINES, main  # noqa: E402
from ctxpack.train.forms import CANDIDATES, NoCross, NoWords, SpanVectors, TwoCross  # noqa: E402
from ctxpack.train.mixture import SHIPPED, Mixture  # noqa: E402
from ctxpack.train.model import WIDTH, Head, QuerySide, SegmentSide  # noqa: E402

unit = partial(torch.nn.functional.normalize, dim=-1)


def sides(*, words: int = 0, turned: bool = False) -> tuple[QuerySide, SegmentSide]:
    """Return a query and a segment of three nodes that share five words.

    Args:
        words: is added to the segment's words.
        turned: whether the vectors within a node change places.
    """
    torch.manual_seed(1)
    query = QuerySide(
        unit(torch.randn(1, 5, WIDTH)),
        torch.arange(1, 6)[None],
        torch.full((1, 5), 0.5),
        torch.zeros(1, 5),
        torch.ones(1, 5),
    )
    vectors = unit(torch.randn(3, 4, WIDTH))
    vectors = vectors.flip(1) if turned else vectors
    members = torch.eye(3).repeat_interleave(4, dim=1)
    rarity = torch.full((12,), 0.5)
    return query, SegmentSide(vectors.flatten(0, 1), torch.arange(1, 13) + words, rarity, members)


def scores(kind: type[Head], *, keys: float = 0, **changed: Any) -> Any:
    """Return the span scores of an untrained head; `keys` is added to its keys of the query."""
    torch.manual_seed(0)
    head = kind()
    head.key.weight.data += keys
    with torch.no_grad():
        return head(*sides(**changed))[1]


@pytest.mark.parametrize(
    ("kind", "change"),
    [(NoCross, {"keys": 1.0}), (NoWords, {"words": 99}), (SpanVectors, {"turned": True})],
)
def test_form_is_blind_to_what_it_leaves_out(kind: type[Head], change: dict[str, Any]) -> None:
    """The shipped head sees the change, the form does not."""
    torch.testing.assert_close(scores(kind, **change), scores(kind))
    assert not torch.allclose(scores(Head, **change), scores(Head), atol=1e-4)


def test_second_cross_layer_ignores_padding() -> None:
    """A query scores the same beside a longer one."""
    torch.manual_seed(0)
    head = TwoCross()
    query, segment = sides()
    pad = torch.nn.functional.pad
    beside = QuerySide(pad(query[0], (0, 0, 0, 3)), *(pad(part, (0, 3)) for part in query[1:]))
    with torch.no_grad():
        torch.testing.assert_close(head(query, segment), head(beside, segment))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with twenty records of every data set."""
    directory = tmp_path_factory.mktemp("data")
    sources = Mixture.load(SHIPPED).sources
    for name in {**LEARNT, **JUDGED}:
        with gzip.open(directory / sources[name].file, "wt") as file:
            for number in range(20):
                gold = {"text": f"Ann built {name} {number}. It sank.", "evidence": [[0, 5]]}
                other = {"text": f"Rain fell on {name} {number}."}
                record = {
                    "query": f"Who built {name} {number}?",
                    "split": "dev" if number % 2 and name != "qed" else "train",
                    "span_kind": "sentence",
                    "passages": [{**gold, "gold": True, "rel": 1}, {**other, "gold": False}],
                }
                file.write(json.dumps(record) + "\n")
    return directory


def test_comparison_goes_on_where_it_stopped(
    tmp_path: Path, base: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every candidate has one line, however often the command runs."""
    monkeypatch.setattr(candidates, "N_TIMED", 1)
    command = [str(data), "--base", str(base), "--out", str(tmp_path), "--steps", "2"]
    command += ["--limit", "1"]
    main([*command, "--only", "no-cross", "joint"])
    main(command)
    lines = [json.loads(line) for line in (tmp_path / LINES).read_text().splitlines()]
    assert [line["candidate"] for line in lines[:2]] == ["no-cross", "joint"]
    assert sorted(line["candidate"] for line in lines) == sorted(CANDIDATES)
    assert all(0 <= line["trecdl21 nDCG@10"] <= 100 for line in lines)
