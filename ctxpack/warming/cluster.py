"""Filling a cache on many machines, with Ray Data.

stretches ──► actors, each of which loads the model once ──► a shared cache, or Parquet files
          ◄── counts
"""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ctxpack import errors
from ctxpack.errors import CtxpackError, InputError, MissingExtraError
from ctxpack.pipeline import Pipeline
from ctxpack.reading import InputFormat, Stretch
from ctxpack.scoring.batching import Limits, batching
from ctxpack.warming.warmer import Warmed, Warmer

try:
    import ray
    import ray.data
except ImportError as error:
    raise MissingExtraError("--engine ray", "ray") from error

_BLOCKS = 1000  # most tasks; each has a stretch or more


class Worker:
    """What runs in an actor: reads its stretches itself, and sends back counts only."""

    def __init__(self, warmer: Warmer) -> None:
        # An actor has one processor, whatever the machine has.
        scorer = batching(warmer.pipeline.scorer, limits=Limits(workers=1))
        pipeline = Pipeline.from_recipe(warmer.pipeline, scorer=scorer)
        self._warmer = replace(warmer, pipeline=pipeline)
        scorer.warm_up()

    def __call__(self, batch: dict[str, Any]) -> Iterator[dict[str, list[Any]]]:
        """Yield what was done with the stretches of a batch, and last what went wrong."""
        rows = zip(*batch.values(), strict=True)
        try:
            for warmed in self._warmer.run(map(_stretch, rows)):
                yield _columns(warmed)
        # As data: Ray would wrap it in its own kinds of errors, and print it first.
        except (CtxpackError, OSError) as error:
            yield _columns(Warmed(), type(error).__name__, str(error))


def warm_on_ray(
    warmer: Warmer, stretches: Sequence[Stretch], *, workers: int | None
) -> Generator[Warmed, None, None]:
    """Yield what was done, batch by batch, in no order.

    The cluster is the one that ``RAY_ADDRESS`` names, or one of this machine, started for this.
    Every machine has ctxpack, and reads the files and writes to the cache by the same paths.

    Args:
        warmer: what fills the cache.
        stretches: of files.
        workers: most actors, each with a processor; None for one for every processor there is.

    Raises:
        CtxpackError: what went wrong on a worker.
        InputError: a stretch is of standard input.
    """
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    is_ours = not ray.is_initialized()
    if is_ours:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # or a new cluster reports its use
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # or it warns of its own actors
        ray.init(log_to_driver=False, logging_level=logging.ERROR)
    try:
        found = _mapped(warmer, stretches, workers or int(ray.cluster_resources().get("CPU", 1)))
        for row in found.iter_rows():
            if row["error"]:
                raise getattr(errors, row["error"], CtxpackError)(row["message"])
            yield Warmed._make(row[name] for name in Warmed._fields)
    finally:
        if is_ours:
            ray.shutdown()


def _mapped(warmer: Warmer, stretches: Sequence[Stretch], workers: int) -> Any:
    rows = [row_of(stretch) for stretch in stretches]
    items = ray.data.from_items(rows, override_num_blocks=min(len(rows), _BLOCKS))
    items.context.enable_progress_bars = False
    items.context.target_max_block_size = 1  # so that counts come when they are there
    actors = ray.data.ActorPoolStrategy(min_size=1, max_size=workers)
    return items.map_batches(
        Worker, fn_constructor_args=(warmer,), compute=actors, batch_size=1, num_cpus=1
    )


def row_of(stretch: Stretch) -> dict[str, Any]:
    """Return a stretch as a row of a data set, good for every working directory.

    Raises:
        InputError: it is of standard input.
    """
    if stretch.content is not None:
        raise InputError("-: standard input cannot be read by other machines")
    path = str(Path(stretch.source).absolute())
    row = stretch._replace(source=path)._asdict() | {"input_format": stretch.input_format.value}
    del row["content"]
    return row


def _stretch(row: tuple[Any, ...]) -> Stretch:
    source, kind, n_bytes, start, first = row
    return Stretch(str(source), InputFormat(kind), int(n_bytes), int(start), int(first))


def _columns(warmed: Warmed, error: str = "", message: str = "") -> dict[str, list[Any]]:
    row = warmed._asdict() | {"error": error, "message": message}
    return {name: [value] for name, value in row.items()}
