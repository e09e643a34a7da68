"""Forms that ctxpack-swift could have, trained alike and judged alike.

Run as ``python -m ctxpack.train.candidates DATA --base DIR --out DIR``; a JSON line a candidate.
All learn from the same batches, in the same order, at the same rates. Only ``joint``, which reads
a segment anew for every query, has batches of one query and its second hop: it takes as many steps,
and about as many tokens pass through the layers that learn (2,000 a step, the others 2,200), in 11
pairs a step where the others score 56. What is in the directory is not done again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ctxpack.scoring.rarity import RarityTable
from ctxpack.scoring.segments import Query, Segment, WordPieces
from ctxpack.train.collection import rarity_table
from ctxpack.train.evaluate import TASKS, evaluate
from ctxpack.train.fit import Lessons
from ctxpack.train.forms import CANDIDATES, Trial
from ctxpack.train.joint import Mini
from ctxpack.train.mixture import SHIPPED, FitSettings, Mixture
from ctxpack.train.pieces import word_pieces
from ctxpack.train.prepare import Prepared
from ctxpack.train.scorer import SwiftLogits
from ctxpack.train.step import Swift
from ctxpack.train.teacher import Teacher, base_embeddings

LEARNT = {"qed": 1.0, "hotpotqa": 1.0, "2wikimultihopqa": 1.0, "selqa": 0.6, "squad_dev": 0.3}
"""Data set → passes over it in an epoch."""
N_LEARNT = 250
"""Most records of a set that are learnt from, which 150 steps do not use up."""
JUDGED = {"nq_litm": 40, "hotpotqa": 60, "qed": 200, "trecqa": 40, "trecdl21": 12}
"""Data set → most records; all together take a minute on one core."""
SEGMENT_TOKENS = 150
"""Of the segment that the light half is timed with."""
N_TIMED = 50
LINES, VALUES = "candidates.jsonl", "values.npz"


class Ground(NamedTuple):
    """What all candidates share.

    Args:
        base: directory of the base model.
        lessons: what is learnt from.
        rarity: word keys to rarity.
        raws: data set → raw records to judge by.
    """

    base: Path
    lessons: Lessons
    rarity: RarityTable
    raws: dict[str, list[dict[str, Any]]]

    @classmethod
    def read(cls, data: Path, base: Path, out: Path) -> Ground:
        """Return what is read from the directories of the data and of the base model."""
        sources = Mixture.load(SHIPPED).sources
        chosen = {name: sources[name] for name in {**LEARNT, **JUDGED}}
        prepared = Prepared(Mixture(fit=FitSettings(steps=0), sources=chosen), data)
        prepared.train = {
            name: raws[:: max(1, len(raws) // N_LEARNT)][:N_LEARNT]
            for name, raws in prepared.train.items()
        }
        collection = prepared.collection(word_pieces())
        collection.mine()
        teacher = Teacher(out / "teacher.npy", collection, partial(base_embeddings, base))
        rarity = rarity_table([unit.segment for unit in collection.units])
        return cls(base, Lessons(collection, teacher, LEARNT), rarity, prepared.evaluation)


def measured(
    name: str, ground: Ground, directory: Path, *, steps: int, limit: int | None
) -> dict[str, Any]:
    """Train and judge a candidate; return its line, in per cent, bytes, seconds and milliseconds.

    Args:
        name: of the candidate.
        ground: what all share.
        directory: of the training's checkpoint and log, and of the values of every record.
        steps: of training.
        limit: most records of a data set to judge by; None for `JUDGED`.
    """
    candidate, collection = CANDIDATES[name], ground.lessons.collection
    directory.mkdir(parents=True, exist_ok=True)
    trial = Trial(candidate, steps, directory, ground.base, ground.rarity)
    trial.train(ground.lessons, lambda swift: {})
    values = judged(trial.swift, ground.raws, collection.pieces, limit)
    np.savez(directory / VALUES, **values)  # type: ignore[arg-type]
    segments = [unit.segment for unit in collection.units]
    hidden_size = trial.swift.encoder.base.config.hidden_size
    near = min(segments, key=lambda segment: abs(len(segment.ids) - SEGMENT_TOKENS))
    return {
        "candidate": name,
        "steps": steps,
        "limit": limit,
        "train_s": round(trial.progress.seconds),
        "token_bytes": candidate.token_bytes(segments, hidden_size),
        "light_ms": light_ms(trial.swift, collection.questions[0].tokens, near),
        **{measure: round(100 * float(of.mean()), 1) for measure, of in values.items()},
    }


def light_ms(swift: Swift, query: Query, segment: Segment) -> float:
    """Return the median milliseconds from stored vectors of a segment to its scores, in float32.

    Of the joint form, from stored states of the lower layers. The query is encoded before.
    """
    ids = np.concatenate((query.ids, segment.ids))
    is_query = torch.arange(len(ids))[None] < len(query.ids)
    mask = torch.ones_like(is_query, dtype=torch.int64)
    times = []
    with torch.inference_mode():
        asked, (side,) = swift.queries([query]), swift.segments([segment])
        if isinstance(swift, Mini):
            states = swift.encoder.apart(torch.as_tensor(ids)[None], mask)
        for _ in range(N_TIMED):
            began = time.perf_counter()
            if isinstance(swift, Mini):
                swift.encoder.together(states, mask, is_query)
            swift.head(asked, side)
            times.append(time.perf_counter() - began)
    return round(1000 * median(times), 2)


def judged(
    swift: Swift, raws: dict[str, list[dict[str, Any]]], pieces: WordPieces, limit: int | None
) -> dict[str, NDArray[np.float64]]:
    """Return ``{"nq_litm kept@10%": values, …}``, (n_records,) in [0, 1] each."""
    scorer = SwiftLogits(swift, pieces)
    return {
        f"{result.task} {result.measure}": result.values
        for task in TASKS
        if task.name in JUDGED
        for result in evaluate(
            scorer,
            raws,
            pieces,
            tasks=[task],
            limit=JUDGED[task.name] if limit is None else limit,
        )
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare what the command line says, write a JSON line a candidate, and return 0."""
    parser = argparse.ArgumentParser(prog="python -m ctxpack.train.candidates", description=__doc__)
    parser.add_argument("data", type=Path, help="directory of the data sets")
    parser.add_argument("--base", type=Path, required=True, help="directory of the base model")
    parser.add_argument("--out", type=Path, required=True, help="directory of what is made")
    parser.add_argument("--steps", type=int, default=140)
    parser.add_argument("--limit", type=int, help="most records of a data set to judge by")
    parser.add_argument("--only", nargs="+", choices=CANDIDATES, default=list(CANDIDATES))
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / LINES
    lines = map(json.loads, path.read_text().splitlines()) if path.exists() else ()
    done = {(line["candidate"], line["steps"], line["limit"]) for line in lines}
    names = [name for name in given.only if (name, given.steps, given.limit) not in done]
    if not names:
        return 0
    ground = Ground.read(given.data, given.base, given.out)
    for name in names:
        directory = given.out / f"{name}-{given.steps}"
        line = measured(name, ground, directory, steps=given.steps, limit=given.limit)
        text = json.dumps(line) + "\n"
        with open(path, "a", encoding="utf-8") as file:
            file.write(text)
        sys.stdout.write(text)
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
