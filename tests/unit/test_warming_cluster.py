"""Warming on a real Ray cluster of this machine; the only tests that start one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from typer.testing import CliRunner

from ctxpack.cli import app
from ctxpack.pipeline import Pipeline
from ctxpack.reading import InputFormat, Keys, stretches
from ctxpack.warming.cluster import Worker, row_of
from ctxpack.warming.warmer import warmer_of

pytestmark = pytest.mark.filterwarnings("ignore")  # of Ray and what it brings

LINES = [f"Lamp {number} stands on pier {number}." for number in range(6)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster of one processor, which takes connections of this machine only."""
    ray.init(
        num_cpus=1,
        include_dashboard=False,
        object_store_memory=80_000_000,
        log_to_driver=False,
        logging_level="error",
        _node_ip_address="127.0.0.1",
    )
    yield
    ray.shutdown()


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Passages in two files."""
    paths = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    for path, lines in zip(paths, (LINES[:4], LINES[3:]), strict=True):
        path.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    return [str(path) for path in paths]


def run(*arguments: str) -> Any:
    """Run ``ctxpack cache``, and return the JSON that it prints."""
    done = CliRunner().invoke(app, ["cache", *arguments, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def warm(*arguments: str) -> Any:
    """Return what warming did."""
    return run("warm", "--scorer", "ctxpack-swift", *arguments)


@pytest.mark.usefixtures("cluster")
def test_workers_fill_a_shared_cache(files: list[str], tmp_path: Path) -> None:
    """What the workers of a cluster stored is what this process asks for."""
    cache = ("--cache", f"sqlite:///{tmp_path}/segments.db")
    done = warm("--engine", "ray", *cache, *files)
    assert (done["passages"], done["hits"] + done["misses"]) == (7, 7)
    assert warm(*cache, *files)["misses"] == 0


@pytest.mark.usefixtures("cluster")
def test_workers_fill_parquet_files(files: list[str], tmp_path: Path) -> None:
    """What they wrote into a folder is found in the cache that it is loaded into."""
    cache = ("--cache", f"sqlite:///{tmp_path}/segments.db")
    warm("--engine", "ray", "--to", str(tmp_path / "parts"), *files)
    assert run("load", str(tmp_path / "parts"), *cache)["damaged"] == 0
    assert warm(*cache, *files)["misses"] == 0


def test_a_worker_names_what_goes_wrong(files: list[str], tmp_path: Path) -> None:
    """The last row that a worker sends back has the error that this process would have raised."""
    Path(files[1]).write_text('"A lamp."\n{"text": 3}\n')
    recipe = Pipeline.from_recipe("lexical", scorer="ctxpack-swift").recipe
    warmer = warmer_of(recipe, Keys(), url=f"sqlite:///{tmp_path}/segments.db")
    (stretch,) = stretches(files[1], InputFormat.AUTO)
    *_, last = Worker(warmer)({name: [value] for name, value in row_of(stretch).items()})
    assert last["error"] == ["InputError"]
    assert last["message"] == [f"{files[1]}:2: `text` must be a string; got 3 (see --text-field)"]
