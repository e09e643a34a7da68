from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from ctxpack.cache import open_cache
from ctxpack.cli import app
from ctxpack.pipeline import Pipeline
from ctxpack.scoring.caching import SECRET

PASSAGES = [
    f"Lamp {number} stands on pier {number}. It was lit in {1800 + number}." for number in range(80)
]
SCORER = ("--scorer", "ctxpack-swift")
KILLED = """
import os, signal
from ctxpack.cli import main
from ctxpack.scoring.bundled import Swift
encode, calls = Swift.encode, []

def killed(self, segments):
    calls.extend(segments)
    if len(calls) > 64:
        os.kill(os.getpid(), signal.SIGKILL)
    return encode(self, segments)

Swift.encode = killed
main()
"""


def run(*arguments: object, stdin: str | None = None) -> Result:
    """Run ``ctxpack cache`` in this process."""
    env = {"COLUMNS": "100", "NO_COLOR": "1"}
    return CliRunner().invoke(app, ["cache", *map(str, arguments)], input=stdin, env=env)


def data(*arguments: object) -> Any:
    """Return the JSON that a command prints."""
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A cache in a file that is not there yet."""
    return f"sqlite:///{tmp_path}/segments.db"


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """Three passages as JSON Lines, with keys of their own."""
    path = tmp_path / "few.jsonl"
    lines = [json.dumps({"body": text, "head": "Piers"}) for text in PASSAGES[:3]]
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """All passages as JSON Lines."""
    path = tmp_path / "many.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in PASSAGES))
    return path


@pytest.fixture
def warmed(few: Path, url: str) -> str:
    """A cache that holds the segments of `few`."""
    assert warm(few, "--cache", url)["misses"] == 3
    return url


def warm(few: Path, *arguments: object) -> Any:
    """Return what warming with `few` did."""
    return data("warm", *SCORER, "--text-field", "body", "--title-field", "head", few, *arguments)


class TestWarm:
    """``ctxpack cache warm``."""

    def test_a_query_finds_all_that_was_warmed(self, warmed: str, few: Path) -> None:
        """After warming, ``ctxpack pack`` computes no encoding of these passages."""
        recipe = few.with_name("mine.yaml")
        steps = {"version": 1, "scorer": "ctxpack-swift", "cache": warmed, "steps": ["score"]}
        recipe.write_text(yaml.safe_dump(steps))
        fields = ("--text-field", "body", "--title-field", "head", "-r", str(recipe))
        done = CliRunner().invoke(app, ["pack", "-q", "Who?", "-f", "json", *fields, str(few)])
        tier = json.loads(done.stdout)["report"]["cache"]["tiers"]["encoding"]
        assert (tier["hits"], tier["misses"]) == (3, 0)

    def test_what_is_there_is_skipped(self, warmed: str, few: Path) -> None:
        """A second run encodes nothing, and says so."""
        done = warm(few, "--cache", warmed)
        assert (done["hits"], done["misses"], done["bytes_written"]) == (3, 0, 0)

    def test_a_killed_run_goes_on(self, many: Path, url: str) -> None:
        """What was encoded before a SIGKILL stays, and the next run encodes the rest only."""
        command = ["cache", "warm", *SCORER, "--cache", url, str(many)]
        killed = subprocess.run([sys.executable, "-c", KILLED, *command], capture_output=True)
        assert killed.returncode == -signal.SIGKILL
        done = data(*command[1:])
        assert (done["hits"], done["misses"]) == (64, 16)

    def test_ctrl_c_ends_with_the_sums(
        self, many: Path, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An interruption has exit code 130, says what is done, and that it can go on."""
        fill, calls = Pipeline.cache_passages, []

        def interrupted(pipeline: Pipeline, passages: list[Any]) -> Any:
            calls.append(passages)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return fill(pipeline, passages)

        monkeypatch.setattr(Pipeline, "cache_passages", interrupted)
        done = run("warm", *SCORER, "--cache", url, many)
        assert (done.exit_code, done.stdout[:13]) == (130, "32 passages, ")
        assert "the same command goes on" in done.stderr

    def test_standard_input_is_read(self, url: str) -> None:
        """``-`` with ``--input jsonl`` reads lines as they come."""
        lines = "\n".join(json.dumps(text) for text in PASSAGES[:2])
        done = run("warm", *SCORER, "--cache", url, "--input", "jsonl", "-", stdin=lines)
        assert done.stdout.startswith("2 passages, 2 segments: 0 were there, 2 encoded")

    def test_a_wrong_line_is_named(self, many: Path, url: str) -> None:
        """An error has file and line, exit code 2, and what came before is stored."""
        many.write_text('"A lamp."\n{"text": 3}\n')
        done = run("warm", *SCORER, "--cache", url, many)
        assert done.exit_code == 2
        assert f"{many}:2: `text` must be a string; got 3" in done.stderr

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((), "--cache: give the URL of a cache"),
            (("--cache", "memory:"), "a cache in memory ends with this command"),
            (("--cache", "sqlite:///x.db", "--scorer", "lexical"), "needs a pointwise scorer"),
        ],
    )
    def test_what_cannot_be_warmed(
        self, many: Path, arguments: tuple[str, ...], message: str
    ) -> None:
        """Without a cache that lasts and a scorer that encodes, exit code 2 and the reason."""
        done = run("warm", *SCORER, *arguments, many)
        assert (done.exit_code, message in done.stderr) == (2, True), done.stderr

    def test_a_store_that_fails_ends_it(self, many: Path, tmp_path: Path) -> None:
        """Warming stops when nothing can be stored, instead of encoding for nobody."""
        done = run("warm", *SCORER, "--cache", f"sqlite:///{tmp_path}", many)
        assert (done.exit_code, "nothing is stored" in done.stderr) == (1, True), done.stderr

    def test_namespaces_are_apart(self, warmed: str, few: Path) -> None:
        """Another namespace has nothing of this one."""
        assert warm(few, "--cache", warmed, "--namespace", "other")["hits"] == 0


class TestParquet:
    """Passages in Parquet, and caches that go through Parquet."""

    def test_passages_in_parquet(self, tmp_path: Path, few: Path, warmed: str) -> None:
        """A row is a passage, by the columns that are named."""
        arrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        path = tmp_path / "few.parquet"
        rows = [json.loads(line) for line in few.read_text().splitlines()]
        parquet.write_table(arrow.Table.from_pylist(rows), path, row_group_size=2)
        assert warm(path, "--cache", warmed)["hits"] == 3

    def test_a_wrong_row_is_named(self, tmp_path: Path, url: str) -> None:
        """An error has file and row, counted from 1 over all row groups."""
        arrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        path = tmp_path / "few.parquet"
        table = arrow.table({"text": ["A.", "B.", None]})
        parquet.write_table(table, path, row_group_size=2)
        done = run("warm", *SCORER, "--cache", url, path)
        assert f"{path}:3: `text` must be a string; got None" in done.stderr

    def test_warmed_into_files_and_loaded(self, tmp_path: Path, few: Path, url: str) -> None:
        """What was warmed into a folder is found in the cache that it is loaded into."""
        assert warm(few, "--to", tmp_path / "parts")["misses"] == 3
        assert warm(few, "--to", tmp_path / "parts")["hits"] == 3
        assert data("load", tmp_path / "parts", "--cache", url)["encodings"] == 3
        assert warm(few, "--cache", url)["hits"] == 3

    def test_an_export_can_be_loaded(self, tmp_path: Path, few: Path, warmed: str) -> None:
        """An export holds all of a namespace, for any other cache."""
        file, other = tmp_path / "all.parquet", f"sqlite:///{tmp_path}/other.db"
        assert run("export", "--cache", warmed, "--to", file).stdout.startswith("3 entries")
        assert data("load", file, "--cache", other)["encodings"] == 3
        assert warm(few, "--cache", other)["hits"] == 3
        assert file.stat().st_mode & 0o777 == 0o600

    def test_values_of_another_version_are_reported(self, tmp_path: Path, url: str) -> None:
        """A file of another fingerprint is loaded, with the note that nobody will ask for it."""
        from ctxpack.cache.parquet import Origin, write

        file = tmp_path / "old.parquet"
        write(file, [], Origin("default", '{"ctxpack-swift": {}}', "00"))
        done = run("load", file, "--cache", url)
        assert "never asked for here: 'ctxpack-swift' or a library has another" in done.stderr

    def test_what_is_no_export_is_refused(self, few: Path, tmp_path: Path, url: str) -> None:
        """Another file is refused with its name, exit code 2."""
        done = run("load", few, "--cache", url)
        assert (done.exit_code, f"{few}: must be Parquet" in done.stderr) == (2, True)

    def test_damaged_values_are_left_out(
        self, tmp_path: Path, warmed: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Values of another secret are not loaded: exit code 1, and the count."""
        file, other = tmp_path / "all.parquet", f"sqlite:///{tmp_path}/other.db"
        run("export", "--cache", warmed, "--to", file)
        monkeypatch.setenv(SECRET, "another secret, of 16 bytes or more")
        done = run("load", file, "--cache", other)
        assert done.exit_code == 1
        assert done.stdout.strip() == "0 encodings, 0 scores; 3 damaged values left out"


class TestUpkeep:
    """``ctxpack cache stats``, ``clear`` and ``verify``."""

    def test_stats_count(self, warmed: str) -> None:
        """Entries and bytes are what the store holds."""
        found = data("stats", "--cache", warmed)
        assert (found["store"], found["entries"], found["errors"]) == ("sqlite", 3, 0)
        assert found["bytes"] > 1000

    def test_clear_asks(self, warmed: str) -> None:
        """Only a yes clears, or the option."""
        assert run("clear", "--cache", warmed, stdin="n\n").exit_code == 1
        assert data("stats", "--cache", warmed)["entries"] == 3
        assert run("clear", "--cache", warmed, "--yes").exit_code == 0
        assert data("stats", "--cache", warmed)["entries"] == 0

    def test_a_whole_cache_verifies(self, warmed: str) -> None:
        """What warming wrote is good."""
        assert data("verify", "--cache", warmed) == {"encodings": 3, "scores": 0, "damaged": 0}

    def test_damage_is_found_and_removed(self, warmed: str) -> None:
        """A damaged value has exit code 1; with ``--repair`` it goes, the others stay."""
        cache = open_cache(warmed)
        (key, value), *_ = cache.items()
        cache.put_many({key: value[:-1] + bytes([value[-1] ^ 1])})
        cache.close()
        assert run("verify", "--cache", warmed).exit_code == 1
        assert data("verify", "--cache", warmed, "--repair")["damaged"] == 1
        assert data("verify", "--cache", warmed) == {"encodings": 2, "scores": 0, "damaged": 0}
