"""The measurement of scorers: its record, on the smallest workload."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ctxpack import registry
from ctxpack.bench import speed
from ctxpack.bench.rounds import sampled_passages
from ctxpack.bench.tables import speed_table
from ctxpack.errors import InputError
from ctxpack.scoring.bundled import Swift


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    """Return the record of one call over two passages."""
    found: dict[str, Any] = json.loads(json.dumps(speed.measure(speed.Study(passages=2, calls=1))))
    return found


def test_every_scorer_stands_beside_its_bare_passes(measured: dict[str, Any]) -> None:
    """A scorer with a model has them, cold and warm; the pipeline has a row without scoring."""
    rows = {"lexical", "ctxpack-swift cold", "ctxpack-swift warm", "pipeline around"}
    assert rows <= set(measured["ms"])
    assert {f"ctxpack-swift {state}, passes" for state in ("cold", "warm")} <= set(measured["ms"])
    assert "lexical, passes" not in measured["ms"]
    assert all(name in " ".join(measured["ms"]) for name in registry.SCORERS)


def test_passes_are_those_of_a_call_with_a_new_query() -> None:
    """Cold or warm, a query goes through two graphs, then each passage through the head."""
    Swift().close()  # and with it what it remembers of queries
    contenders = speed._contenders(list(sampled_passages(2)))
    counts = {
        state: len(contenders[f"ctxpack-swift {state}, passes"].args[0])
        for state in ("cold", "warm")
    }
    assert counts == {"cold": 2 + 2 * 3, "warm": 2 + 2}


def test_ratios_are_paired(measured: dict[str, Any]) -> None:
    """A contender is as fast as itself; of one round a ratio is that of processor times."""
    ms, ratio = measured["ms"], measured["ratio"]
    one, other = "ctxpack-swift warm", "ctxpack-swift cold"
    assert ratio[one][one] == 1
    assert ratio[one][other] == pytest.approx(
        ms[one]["cpu_median"] / ms[other]["cpu_median"], abs=0.01
    )


def test_the_table_has_a_row_for_each(measured: dict[str, Any]) -> None:
    """Where there are passes, the ratio to them is beside the milliseconds."""
    rows = {row[0]: row[1:] for row in speed_table(measured).rows}
    assert list(rows) == list(measured["ms"])
    assert float(rows["ctxpack-swift cold"][3]) > 0
    assert rows["lexical"][3] == ""


def test_numbers_are_at_least_one() -> None:
    """A workload of nothing is refused."""
    with pytest.raises(InputError, match="`calls` must be at least 1"):
        speed.Study(calls=0)
