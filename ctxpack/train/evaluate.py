"""The table: every scorer on every task, with one value a record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ctxpack.errors import InputError
from ctxpack.scoring.base import PassageScores
from ctxpack.scoring.bundled import BUNDLED
from ctxpack.scoring.manifest import names_in
from ctxpack.scoring.segments import WordPieces
from ctxpack.selection import SplitPassage
from ctxpack.train.baselines import Bm25Scorer, EmbeddingScorer
from ctxpack.train.metrics import average_precision, ndcg, retention
from ctxpack.train.mixture import Mixture, partition
from ctxpack.train.records import Record, parse, read

SHARES = (0.1, 0.2)


class Judged(Protocol):
    """What the evaluation asks of a scorer: any scale, higher is better."""

    def score(self, query: str, passages: Sequence[SplitPassage]) -> list[PassageScores]:
        """Return scores for every passage, in the order given."""
        ...


@dataclass(frozen=True, slots=True)
class Task:
    """One data set with the way it is judged.

    Args:
        name: of the data set in the mixture.
        kind: ``retention`` of evidence at `SHARES` of the tokens; ``span_ap`` and ``passage_ap``,
            average precision of spans or of passages by their best span; ``ndcg`` of passages.
        span_kind: only records with this kind of evidence, None for all.
    """

    name: str
    kind: str
    span_kind: str | None = None


TASKS = (
    Task("nq_litm", "retention"),
    Task("hotpotqa", "retention", "sentence"),
    Task("2wikimultihopqa", "retention"),
    Task("musique", "retention"),
    Task("trecqa", "passage_ap"),
    Task("squad_dev", "span_ap"),
    Task("selqa", "span_ap"),
    Task("qed", "span_ap"),
    Task("trecdl21", "ndcg"),
)


class Result(NamedTuple):
    """Values of one measure on one task, record by record.

    Args:
        task: name of the data set.
        measure: ``kept@10%``, ``AP``, ``nDCG@10``.
        values: (n_records,) in [0, 1].
        oracle: (n_records,) what a choice by the labels keeps, for retention.
    """

    task: str
    measure: str
    values: NDArray[np.float64]
    oracle: NDArray[np.float64] | None = None

    @property
    def interval(self) -> tuple[float, float]:
        """95 % bootstrap interval of the mean, over records."""
        rng = np.random.default_rng(0)
        draws = rng.integers(len(self.values), size=(1000, len(self.values)))
        low, high = np.quantile(self.values[draws].mean(1), (0.025, 0.975))
        return float(low), float(high)

    def summary(self) -> dict[str, Any]:
        """Return the mean with its interval, as a JSON-serialisable line of the table.

        For retention, ``oracle`` is the mean that a choice by the labels has, and ``of_oracle`` the
        share of that.
        """
        low, high = (round(value, 4) for value in self.interval)
        mean = float(self.values.mean())
        line = {"task": self.task, "measure": self.measure, "n": len(self.values)}
        line |= {"mean": round(mean, 4), "low": low, "high": high}
        if self.oracle is not None:
            best = float(self.oracle.mean())
            line |= {"oracle": round(best, 4), "of_oracle": round(mean / best, 4) if best else None}
        return line


def evaluation_records(mixture: Mixture, data: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the raw records that the mixture keeps for evaluation, by data set."""
    return {
        name: partition(source, list(read(data / source.file)))[1]
        for name, source in mixture.sources.items()
    }


def named_scorer(name: str) -> Judged:
    """Return a scorer: a bundled one, ``bm25`` or ``embeddings:DIR`` by name, or by directory.

    Raises:
        InputError: the name is none of these, and no directory that holds one model.
    """
    if name == "bm25":
        return Bm25Scorer()
    if name.startswith("embeddings:"):
        return EmbeddingScorer(Path(name.removeprefix("embeddings:")))
    if name in BUNDLED:
        return BUNDLED[name]()
    found = names_in(Path(name))
    if len(found) == 1:
        return BUNDLED[found[0]](path=name)
    raise InputError(
        f"--scorer {name}: must be {', '.join(BUNDLED)}, bm25, embeddings:DIR or a directory that"
        " `ctxpack train` wrote"
    )


def evaluate(
    scorer: Judged,
    raws: dict[str, list[dict[str, Any]]],
    pieces: WordPieces,
    *,
    tasks: Sequence[Task] = TASKS,
    limit: int | None = None,
) -> Iterator[Result]:
    """Yield the results of a scorer, task by task.

    Args:
        scorer: what is judged.
        raws: data set → raw records for evaluation.
        pieces: counts the tokens of the budget.
        tasks: which to run; those without records are skipped. If all are, every set that has
            records is judged by the average precision of its spans.
        limit: most records of a task, spread evenly over it; None for all.
    """
    present = [task for task in tasks if raws.get(task.name)]
    for task in present or [Task(name, "span_ap") for name, part in raws.items() if part]:
        chosen = [raw for raw in raws[task.name] if task.span_kind in (None, raw.get("span_kind"))]
        step = 1 if limit is None else max(1, len(chosen) // limit)
        found: list[dict[str, float | None]] = []
        best: list[dict[str, float | None]] = []
        for record in map(parse, chosen[::step][:limit]):
            scores = scorer.score(record.query, [part.split for part in record.candidates])
            found.append(_measured(task, record, scores, pieces))
            if task.kind == "retention":
                best.append(_measured(task, record, _by_labels(record, pieces), pieces))
        oracle = _columns(best)
        for measure, values in _columns(found).items():
            yield Result(task.name, measure, values, oracle.get(measure))


def _columns(rows: Sequence[dict[str, float | None]]) -> dict[str, NDArray[np.float64]]:
    """Return the values of each measure: ``[{"AP": 1.0}, {"AP": None}]`` → ``{"AP": [1.0]}``."""
    columns: dict[str, list[float]] = {}
    for row in rows:
        for measure, value in row.items():
            if value is not None:
                columns.setdefault(measure, []).append(value)
    return {measure: np.array(values) for measure, values in columns.items()}


def _by_labels(record: Record, pieces: WordPieces) -> list[PassageScores]:
    """Return scores that put evidence first, the shortest first, so that most of it fits."""
    found = []
    for part in record.candidates:
        first = np.where(part.is_evidence, 1 / (1 + token_counts(part.split, pieces)), 0)
        found.append(PassageScores(float(part.gold), first.astype(np.float32)))
    return found


def _measured(
    task: Task, record: Record, scores: list[PassageScores], pieces: WordPieces
) -> dict[str, float | None]:
    if task.kind == "retention":
        counts = [token_counts(part.split, pieces) for part in record.candidates]
        return {f"kept@{share:.0%}": retention(record, scores, counts, share) for share in SHARES}
    if task.kind == "ndcg":
        grades = [part.grade for part in record.candidates]
        return {"nDCG@10": ndcg(grades, [part.relevance for part in scores])}
    if task.kind == "passage_ap":
        gold = [part.gold for part in record.candidates]
        best = [float(part.spans.max(initial=-np.inf)) for part in scores]
        return {"AP": average_precision(gold, best)}
    relevant = [flag for part in record.candidates for flag in part.is_evidence]
    return {"AP": average_precision(relevant, np.concatenate([part.spans for part in scores]))}


def token_counts(part: SplitPassage, pieces: WordPieces) -> NDArray[np.float64]:
    """Return (n_spans,) numbers of word pieces that start in each span."""
    starts = pieces.tokens(part.passage.text).starts
    place = np.searchsorted([span.end for span in part.spans], starts, side="right")
    return np.bincount(place, minlength=len(part.spans)).astype(np.float64)
