"""What the language gate does, and how well scorers rank in a language, by data set and language.

Where the ids of records in several languages end in the same number, as in XQuAD, English queries
are also asked of passages in every other language, the reverse, and English queries of passages in
both languages, with the evidence in one of them.
"""

from __future__ import annotations

import shlex
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctxpack import registry
from ctxpack.bench import machine
from ctxpack.cache.opening import open_cache
from ctxpack.scoring.base import Scorer
from ctxpack.scoring.cached import CachedScorer
from ctxpack.scoring.language_gate import is_english, reads_as_english
from ctxpack.scoring.mixed import Mixed
from ctxpack.train.metrics import average_precision
from ctxpack.train.records import Record, parse, read

SCORERS = ("ctxpack-swift", "lexical")


def measure(
    files: Sequence[Path], *, limit: int, scorers: Sequence[str] = SCORERS
) -> dict[str, Any]:
    """Return the record of a measurement, for JSON.

    Args:
        files: JSONL, gzip or plain, one record a line.
        limit: most records of a data set and language, the same queries in every language.
        scorers: names; without any, only the gate is measured.
    """
    made = {name: _remembering(registry.scorer(name)()) for name in scorers}
    if len(made) > 1:
        made["mixed"] = Mixed(*made.values(), knows=reads_as_english)
    groups = {
        key: sorted(raws, key=lambda raw: zlib.crc32(_number(raw).encode()))[:limit]
        for key, raws in _by_language(files).items()
    }
    return {
        "benchmark": "languages",
        "command": _command(files, limit, scorers),
        "commit": machine.commit(),
        "versions": machine.versions(),
        "sets": {key: _row(raws, made) for key, raws in _crossed(groups)},
    }


def _command(files: Sequence[Path], limit: int, scorers: Sequence[str]) -> str:
    words = ["ctxpack", "bench", "languages", *map(str, files), f"--limit={limit}"]
    return shlex.join(words if scorers else [*words, "--gate-only"])


def _remembering(scorer: Scorer) -> Scorer:
    """Return the scorer with a cache: passages are asked several queries here."""
    cache = open_cache("memory:?max_bytes=512MB")
    return CachedScorer(scorer, cache) if scorer.pointwise else scorer


def _by_language(files: Sequence[Path]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Return the raw records to judge on: those of split ``dev``, or all of a set without any."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for raw in (raw for path in files for raw in read(path)):
        groups.setdefault((raw["dataset"], raw.get("lang", "en")), []).append(raw)
    return {
        key: [raw for raw in raws if raw.get("split") == "dev"] or raws
        for key, raws in groups.items()
    }


def _crossed(
    groups: dict[tuple[str, str], list[dict[str, Any]]],
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield every group, and those with queries and passages in two languages."""
    for (dataset, language), raws in groups.items():
        yield f"{dataset}: {language}", raws
        english = {_number(raw): raw for raw in groups.get((dataset, "en"), ())}
        pairs = [(raw, english[_number(raw)]) for raw in raws if _number(raw) in english]
        if language != "en" and pairs:
            asked = [{**raw, "query": other["query"]} for raw, other in pairs]
            yield f"{dataset}: en query, {language} passages", asked
            both = [_both(raw, other, asked=other["query"]) for raw, other in pairs]
            yield f"{dataset}: en query, passages in both, evidence in {language}", both
            asked = [{**other, "query": raw["query"]} for raw, other in pairs]
            yield f"{dataset}: {language} query, en passages", asked
            both = [_both(other, raw, asked=other["query"]) for raw, other in pairs]
            yield f"{dataset}: en query, passages in both with {language}, evidence in en", both


def _both(raw: dict[str, Any], other: dict[str, Any], *, asked: str) -> dict[str, Any]:
    """Return `raw` with another query, and half of its passages without evidence from `other`."""
    gold = [part for part in raw["passages"] if part["gold"]]
    rest = [part for part in raw["passages"] if not part["gold"]]
    half = len(rest) // 2
    others = [part for part in other["passages"] if not part["gold"]]
    return {**raw, "query": asked, "passages": [*gold, *rest[:half], *others[half:]]}


def _number(raw: dict[str, Any]) -> str:
    return str(raw["id"]).rpartition("-")[2]


def _row(raws: Sequence[dict[str, Any]], scorers: Mapping[str, Scorer]) -> dict[str, Any]:
    """Return the shares that do not read as English, and what each scorer is worth."""
    queries = [not is_english([raw["query"]]) for raw in raws]
    passages = [not is_english([part["text"] for part in raw["passages"]]) for raw in raws]
    records = list(map(parse, raws)) if scorers else []
    return {
        "n": len(raws),
        "queries_not_english": _mean(queries),
        "passages_not_english": _mean(passages),
        "sent_away": _mean(np.logical_or(queries, passages)),
        "scorers": {name: _worth(scorer, records) for name, scorer in scorers.items()},
    }


def _worth(scorer: Scorer, records: Sequence[Record]) -> dict[str, float | None]:
    """Return average precision of spans, and what the threshold `balanced` keeps of them.

    ``recall`` is the share of records with an evidence span kept, ``kept`` the share of spans.
    """
    rows = []
    for record in records:
        relevant = np.array([flag for part in record.candidates for flag in part.is_evidence])
        if not relevant.any():
            continue
        scores = scorer.score(record.query, [part.split for part in record.candidates])
        spans = np.concatenate([part.spans for part in scores])
        kept = spans >= scorer.operating_points["balanced"]
        rows.append(
            (average_precision(relevant.tolist(), spans), kept[relevant].any(), kept.mean())
        )
    columns = zip(*rows, strict=True) if rows else ((), (), ())
    return dict(zip(("span_ap", "recall", "kept"), map(_mean, columns), strict=True))


def _mean(values: Sequence[float] | NDArray[np.bool_]) -> float | None:
    return round(float(np.mean(values)), 4) if len(values) else None
