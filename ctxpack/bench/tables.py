"""Tables of what was measured, to read on a terminal or to put into a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple


class Table(NamedTuple):
    """A table; the first `n_words` columns are words, the others numbers."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    n_words: int = 1


_JOINT = "ctxpack-mini"
_TITLES = {
    "plain": "Kept texts alone, budgets as shares of the plain passages",
    "default": "Rendered as by default, titles and gap marks paid from the budget",
}


def passes_of(name: str) -> str:
    """Return what the bare passes of a scorer are called."""
    return f"{name}, passes"


def speed_table(record: Mapping[str, Any]) -> Table:
    """Return milliseconds, and ratios to the bare passes of a call and to ctxpack-mini."""
    rows = []
    for name, ms in record["ms"].items():
        ratios = [record["ratio"][name].get(other) for other in (passes_of(name), _JOINT)]
        shown = ["" if ratio is None else f"{ratio:.3f}" for ratio in ratios]
        rows.append([name, *(f"{ms[key]:.1f}" for key in ("median", "p95", "cpu_median")), *shown])
    columns = ["scoring", "median ms", "p95 ms", "processor ms", "of its passes", f"of {_JOINT}"]
    return Table(columns, rows)


def gate_table(record: Mapping[str, Any]) -> Table:
    """Return the share of calls that the gate sends away, and what each scorer is worth."""
    names = list(next(iter(record["sets"].values()), {"scorers": ()})["scorers"])
    rows = []
    for key, found in record["sets"].items():
        worth = [found["scorers"][name].values() for name in names]
        cells = (" ".join(map(_number, values)) for values in worth)
        rows.append([key, str(found["n"]), _number(found["sent_away"]), *cells])
    columns = ["data", "n", "sent away", *(f"{name}: AP, recall, kept" for name in names)]
    return Table(columns, rows)


def sufficiency_tables(record: Mapping[str, Any]) -> Iterator[Table]:
    """Yield how often a call with an answer is above one without, then shares below limits."""
    sets = record["sets"]
    kinds = list(sets["all"]["auroc"])
    rows = [
        [
            name,
            str(found["n"]["answer"]),
            *(_number(found["auroc"][kind]) for kind in kinds),
            _number(found["ece"]),
        ]
        for name, found in sets.items()
    ]
    yield Table(["data", "n with answer", *kinds, "ECE"], rows, "AUROC against calls with")
    below = sets["all"]["below"]
    rows = [[limit, *map(_number, shares.values())] for limit, shares in below.items()]
    yield Table(["limit", *sets["all"]["n"]], rows, "Share of calls below a limit")


def quality_tables(record: Mapping[str, Any]) -> Iterator[Table]:
    """Yield a table for each rendering, then what every two recipes differ by.

    A cell is the retention of a method *of* that of a perfect choice, then by how much it is more
    than that of the first method with its interval, in percent: ``39 of 53  -5 (-9, -1)``.
    """
    groups = {f"{name}, n = {found['n']}": found for name, found in record["sets"].items()}
    if len(groups) > 1:
        groups[f"mean of {len(groups)} sets"] = record["mean_of_sets"]
    for rendering, title in _TITLES.items():
        if groups:
            yield _by_method({name: found[rendering] for name, found in groups.items()}, title)
    if len(record["sets"]) > 1:
        for pair in record["pairs"]:
            yield _by_pair(**pair)


def _by_method(groups: Mapping[str, Mapping[str, Any]], title: str) -> Table:
    shares = list(next(iter(groups.values())))
    rows: list[list[str]] = []
    for name, by_share in groups.items():
        rows.append([name, *("" for _ in shares)])
        first, *others, _ = by_share[shares[0]]
        for method in (first, *others):
            cells = [by_share[share][method] for share in shares]
            rows.append([f"  {method}", *(_kept(cell, compared=method != first) for cell in cells)])
    columns = ["% kept", *map(_percent, shares)]
    return Table(columns, rows, title, n_words=len(columns))


def _kept(cell: Mapping[str, Any], *, compared: bool) -> str:
    text = f"{100 * cell['retention']:2.0f} of {100 * cell['perfect']:.0f}"
    if not compared:
        return text
    difference, low, high = (
        f"{round(100 * value):+d}" for value in (cell["difference"], *cell["difference_interval"])
    )
    return f"{text}  {difference} ({low}, {high})"


def _by_pair(pair: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Table:
    found = []
    for row in rows:
        low, high = (100 * bound for bound in row["interval"])
        mean = f"{100 * row['mean']:+.1f} ({low:+.1f}, {high:+.1f})"
        extremes = [f"{100 * by:+.1f} {name}" for name, by in (row["worst"], row["best"])]
        found.append([f"{row['rendering']}, {_percent(row['share'])}", mean, *extremes])
    columns = ["points", "mean of sets", "worst set", "best set"]
    return Table(columns, found, f"Retention of `{pair[0]}` minus that of `{pair[1]}`")


def _percent(share: str | float) -> str:
    return f"{100 * float(share):g} %"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
