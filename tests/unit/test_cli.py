from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from ctxpack import recipes, samples
from ctxpack.cli import app
from ctxpack.cli.doctor import EXTRAS

QUERY = "When was the lighthouse automated?"
LIGHT = "A lighthouse marks the entrance. The lighthouse was automated in 1987."
OTHER = "The museum opens at ten. Entry is free on Sundays."
PROGRAM = [sys.executable, "-c", "from ctxpack.cli import main; main()"]


def run(*arguments: object, stdin: str | bytes | None = None, columns: int = 100) -> Result:
    """Run the command line in this process."""
    env = {"COLUMNS": str(columns), "NO_COLOR": "1"}
    return CliRunner().invoke(app, [str(a) for a in arguments], input=stdin, env=env)


def packed(*arguments: object, stdin: str | None = None) -> Any:
    """Return the JSON that ``ctxpack pack`` prints for QUERY."""
    done = run("pack", "-q", QUERY, "-f", "json", *arguments, stdin=stdin)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture
def light(tmp_path: Path) -> Path:
    """A text file that answers QUERY."""
    path = tmp_path / "light.md"
    path.write_text(LIGHT)
    return path


class TestPack:
    """``ctxpack pack``."""

    def test_a_text_is_one_passage(self, light: Path) -> None:
        """A text file is a passage: its path is the id, its name the title."""
        (passage,) = packed(light)["passages"]
        assert (passage["id"], passage["title"]) == (str(light), "light.md")

    def test_prints_the_text_alone(self, light: Path) -> None:
        """The default output is the packed text and nothing else."""
        assert run("pack", "-q", QUERY, light).stdout == packed(light)["text"] + "\n"

    def test_several_files_are_several_passages(self, light: Path, tmp_path: Path) -> None:
        """Every file counts, in the order given."""
        other = tmp_path / "other.txt"
        other.write_text(OTHER)
        assert packed(other, light)["passages"][0]["passage_index"] == 1

    def test_evidence_is_verbatim(self, tmp_path: Path) -> None:
        """Offsets count the characters of the file, line ends as they are."""
        path, text = tmp_path / "light.txt", LIGHT.replace(". ", ".\r\n")
        path.write_bytes(text.encode())
        spans = packed(path)["evidence"]
        assert spans
        assert all(text[span["start"] : span["end"]] == span["text"] for span in spans)

    def test_the_budget_holds(self, light: Path) -> None:
        """`--budget` bounds the token count."""
        result = packed("--budget", 20, light)
        assert 0 < result["token_count"] <= 20
        assert result["report"]["budget"] == 20

    @pytest.mark.parametrize(
        "data", [[OTHER, LIGHT], [{"text": OTHER}, {"text": LIGHT}], {"passages": [OTHER, LIGHT]}]
    )
    def test_json(self, data: object, tmp_path: Path) -> None:
        """JSON is a list of strings or objects, or an object that holds one as `passages`."""
        path = tmp_path / "data.json"
        path.write_text(json.dumps(data))
        assert packed(path)["passages"][0]["passage_index"] == 1

    def test_jsonl_with_chosen_fields(self, tmp_path: Path) -> None:
        """Options name the keys of text, title, id and score; other keys are metadata."""
        path = tmp_path / "data.jsonl"
        path.write_text(json.dumps({"body": LIGHT, "head": "Light", "n": 7, "bm": 2.5, "x": 1}))
        fields = ("--field", "body", "--title-field", "head", "--id-field", "n")
        (passage,) = packed(*fields, "--score-field", "bm", path)["passages"]
        assert (passage["id"], passage["title"]) == ("7", "Light")
        assert (passage["retrieval_score"], passage["metadata"]) == (2.5, {"x": 1})

    def test_nan_is_no_score(self, tmp_path: Path) -> None:
        """NaN, which JSON does not have, is read as null."""
        path = tmp_path / "data.jsonl"
        path.write_text(json.dumps({"text": LIGHT, "score": float("nan")}))
        assert packed(path)["passages"][0]["retrieval_score"] is None

    @pytest.mark.parametrize(
        "stdin",
        [
            LIGHT,
            json.dumps([LIGHT]),
            json.dumps({"passages": [LIGHT]}, indent=1),
            json.dumps({"text": LIGHT}),
            json.dumps({"text": OTHER}) + "\n" + json.dumps({"text": LIGHT}),
        ],
        ids=["text", "list", "object", "line", "lines"],
    )
    def test_reads_standard_input(self, stdin: str) -> None:
        """Standard input is JSON or JSON Lines when it starts so, and else a text."""
        assert "1987" in packed("-", stdin=stdin)["text"]

    def test_markdown_starting_with_a_link_is_text(self) -> None:
        """A text on standard input may start with a bracket."""
        assert "1987" in packed("-", stdin=f"[Home](/) {LIGHT}")["text"]

    def test_citations(self, light: Path) -> None:
        """`--citations` numbers the passages, whatever else the recipe renders."""
        assert packed("--citations", light)["text"].startswith("[1] light.md\n")

    def test_markdown_quotes_and_names_the_source(self, light: Path) -> None:
        """Markdown quotes the kept text and names its source."""
        page = run("pack", "-q", QUERY, "-f", "markdown", light).stdout
        assert page.startswith(f"# {QUERY}\n")
        assert re.search(r"^> .*1987", page, re.MULTILINE)
        assert f"Source: `{light}`, characters " in page

    def test_lone_surrogates_and_escapes_survive(self) -> None:
        """Half a surrogate pair is escaped in the output, terminal codes are left alone."""
        line = json.dumps(LIGHT.replace("marks", "\ud800 \x1b[1m"))
        done = run("pack", "-q", QUERY, "--input", "jsonl", "-", stdin=line)
        assert "lighthouse \\ud800 \x1b[1m the" in done.stdout

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("a.txt", b"fine\nnot \xff\n", "a.txt:2: must be UTF-8, got byte 0xff"),
            ("a.json", b'["a",\n  b]', "a.json:2: must be JSON: Expecting value (column 3)"),
            ("a.json", b"3", "a.json: must be a list, a passage, or an object with a list"),
            ("a.json", b'{"a": 1}', "a.json: passages[0]: `text` must be a string; its keys are a"),
            ("a.json", b"[1]", "a.json: passages[0]: must be a string or an object, got 1"),
            ("a.jsonl", b'"x"\n\n{"text" 1}\n', "a.jsonl:3: must be JSON: Expecting ':'"),
            ("a.jsonl", b'{"body": "x"}', "a.jsonl:1: `text` must be a string; its keys are body"),
            (
                "a.jsonl",
                b'{"text": 3}',
                "a.jsonl:1: `text` must be a string; got 3 (see --text-field)",
            ),
            ("a.jsonl", b'{"text": "", "title": 3}', "a.jsonl:1: Passage: `title` must be a str"),
            ("a.json", b"[" * 100_000, "a.json:1: must be JSON of fewer levels"),
        ],
    )
    def test_bad_files(self, name: str, content: bytes, message: str, tmp_path: Path) -> None:
        """A file that cannot be read is named in one line, with the place; exit code 2."""
        (tmp_path / name).write_bytes(content)
        done = run("pack", "-q", QUERY, tmp_path / name)
        assert (done.exit_code, done.stdout) == (2, "")
        assert done.stderr.startswith(f"ctxpack: {tmp_path}/{message}")
        assert done.stderr.count("\n") == 1

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["nowhere.txt"], "nowhere.txt: cannot be read: No such file or directory"),
            (["-r", "balancd", "-"], "unknown recipe 'balancd'; did you mean 'balanced'?"),
            (["--scorer", "lexicl", "-"], "balanced: scorer: unknown scorer 'lexicl'; did you"),
            (["-q", " ", "-"], "`query` must hold more than white space, got ' '"),
        ],
    )
    def test_bad_arguments(self, arguments: list[str], message: str) -> None:
        """What breaks a rule is one line on standard error; exit code 2."""
        done = run("pack", "-q", QUERY, *arguments, stdin=LIGHT)
        assert (done.exit_code, done.stdout) == (2, "")
        assert done.stderr.startswith(f"ctxpack: {message}")
        assert done.stderr.count("\n") == 1

    @pytest.mark.parametrize("arguments", [["-b", "-1", "-"], ["-f", "yaml", "-"], []])
    def test_wrong_usage(self, arguments: list[str]) -> None:
        """Wrong usage has exit code 2."""
        assert run("pack", "-q", QUERY, *arguments, stdin=LIGHT).exit_code == 2

    def test_nothing_kept(self) -> None:
        """An empty result has exit code 3, and its reason on standard error."""
        done = run("pack", "-q", QUERY, "-b", 0, "-", stdin=LIGHT)
        assert (done.exit_code, done.stdout) == (3, "")
        assert done.stderr == "ctxpack: nothing kept: budget_too_small\n"


class TestPipes:
    """``ctxpack`` between other programs."""

    def test_in_a_pipe(self) -> None:
        """Text goes in and comes out as UTF-8, with nothing on standard error."""
        text = LIGHT.replace("entrance", "entrée 入口")
        command = [*PROGRAM, "pack", "-q", "lighthouse entrée", "-"]
        done = subprocess.run(command, input=text.encode(), capture_output=True, check=True)
        assert "entrée 入口" in done.stdout.decode()
        assert done.stderr == b""

    def test_a_reader_that_goes_away(self, tmp_path: Path) -> None:
        """When the reader closes the pipe, the command stops without a word."""
        path = tmp_path / "long.txt"
        path.write_text("The lighthouse was automated. " * 10_000)
        command = [*PROGRAM, "pack", "-q", QUERY, "-r", "rerank-only", str(path)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(command, **pipes) as process:  # type: ignore[call-overload]
            process.stdout.close()
            assert process.stderr.read() == b""


class TestDemo:
    """``ctxpack demo``."""

    @pytest.mark.parametrize("columns", [80, 120, 200])
    def test_fits_the_terminal(self, columns: int) -> None:
        """No line is wider than the terminal."""
        done = run("demo", columns=columns)
        assert done.exit_code == 0, done.output
        assert max(map(len, done.stdout.splitlines())) <= columns

    def test_is_deterministic(self) -> None:
        """Two runs differ in milliseconds alone."""
        first, second = (re.sub(r" *\d+(\.\d+)?", "", run("demo").stdout) for _ in range(2))
        assert first == second

    @pytest.mark.parametrize(
        ("number", "answer"),
        [
            (1, "raised the number of retries per message"),
            (2, "2,000 to 10,000 euros | head of support"),
            (3, "64 days at the default interval"),
            (4, "g4ctl reset --keep-data"),
        ],
    )
    def test_answers_its_queries(self, number: int, answer: str) -> None:
        """Every sample query's answer is in the text that the model reads."""
        text = run("demo", "-q", number, columns=140).stdout.partition("What the model reads")[2]
        assert answer in " ".join(text.split())

    @pytest.mark.parametrize("recipe", recipes.names())
    def test_runs_every_recipe(self, recipe: str) -> None:
        """Every shipped recipe shows something."""
        assert run("demo", "-r", recipe).exit_code == 0

    def test_takes_other_words(self) -> None:
        """A query that is no number is taken as it is."""
        assert (
            "how deep may spare cells be shipped"
            in run("demo", "-q", "how deep may spare cells be shipped").stdout
        )

    def test_numbers_have_a_range(self) -> None:
        """A number without a sample query breaks a rule."""
        done = run("demo", "-q", "9")
        assert done.exit_code == 2
        assert done.stderr == "ctxpack: --query: must be 1 to 4 or a text, got 9\n"


class TestRecipes:
    """``ctxpack recipes``."""

    def test_list_names_them_all(self) -> None:
        """The list has every shipped recipe, its scorers and steps, and when to choose it."""
        listed = " ".join(run("recipes", "list", columns=200).stdout.split())
        assert all(name in listed for name in recipes.names())
        assert "ctxpack-mini Choose it when a lost sentence" in listed
        assert "dedupe → score → rerank: 20" in listed
        assert "Choose it when passages must stay whole" in listed

    def test_show_prints_the_file(self) -> None:
        """A recipe is shown as it was written, comments included."""
        assert run("recipes", "show", "faithful").stdout == recipes.text_of("faithful")

    def test_check_passes_good_files(self, tmp_path: Path) -> None:
        """A valid recipe is called so."""
        path = tmp_path / "mine.yaml"
        path.write_text(recipes.text_of("balanced"))
        assert run("recipes", "check", path).stdout == f"{path}: ok\n"

    def test_check_names_what_is_wrong(self, tmp_path: Path) -> None:
        """Every broken recipe is one line with place, rule and value; exit code 2."""
        path = tmp_path / "mine.yaml"
        path.write_text("scorer: lexical\nsteps: [score, {prune: 1.5}]")
        done = run("recipes", "check", path, tmp_path / "none.yaml")
        assert done.exit_code == 2
        assert done.stderr.startswith("ctxpack: mine.yaml: steps[1].prune: `threshold`")
        assert done.stderr.count("\n") == 2

    def test_an_error_is_one_line(self, tmp_path: Path) -> None:
        """An error of several lines, as YAML has them, is shown as one."""
        path = tmp_path / "mine.yaml"
        path.write_text("steps: [score")
        assert run("recipes", "check", path).stderr.count("\n") == 1

    def test_schema_is_json(self) -> None:
        """The schema is printed as JSON."""
        assert json.loads(run("recipes", "schema").stdout)["title"] == "ctxpack recipe"


class TestDoctor:
    """``ctxpack doctor``."""

    def test_a_whole_installation(self) -> None:
        """A complete installation has exit code 0."""
        done = run("doctor")
        assert done.exit_code == 0, done.output

    def test_a_damaged_model(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A model file that is not the one on record, or is not there, has exit code 1."""
        package = tmp_path / "ctxpack"
        (package / "models/tiny").mkdir(parents=True)
        (package / "models/tiny/model.onnx").write_bytes(b"damaged")
        files = {"tiny/model.onnx": "0" * 64, "tiny/head.onnx": "0" * 64}
        (package / "models/tiny/manifest.json").write_text(json.dumps({"files": files}))
        monkeypatch.setattr("ctxpack.__file__", str(package / "__init__.py"))
        done = run("doctor")
        assert done.exit_code == 1
        assert "tiny/model.onnx, 0.0 MB, damaged" in done.stdout
        assert "tiny/head.onnx is missing" in done.stdout

    def test_shows_the_cache_of_a_recipe(self, tmp_path: Path) -> None:
        """Kind and place of the store are there, whether it answers too; no password is."""
        recipe = tmp_path / "mine.yaml"
        for cache, exit_code, text in (
            ("memory:", 0, "mine: MemoryCache(256000000), tiers encoding, scores, no secret"),
            ("redis://u:hunter2@127.0.0.1:1", 1, "cache: redis unavailable"),
            ("none", 0, "mine: none, by choice"),
        ):
            recipe.write_text(f"scorer: ctxpack-swift\ncache: '{cache}'\nsteps: [score]\n")
            done = run("doctor", "-r", str(recipe))
            assert (done.exit_code, text in " ".join(done.stdout.split())) == (exit_code, True)
            assert "hunter2" not in done.stdout

    def test_knows_every_extra(self) -> None:
        """The extras are those of the project, but for the ones that only combine others."""
        project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
        extras = set(project["project"]["optional-dependencies"])
        assert set(EXTRAS) == extras - {"all", "dev"}


class TestBench:
    """``ctxpack bench``."""

    def test_steps_prints_a_record(self) -> None:
        """The record is JSON on standard output, the table is on standard error."""
        done = run("bench", "steps", "-n", 2, "--passages", 3, "--characters", 200)
        record = json.loads(done.stdout)
        assert record["command"].startswith("ctxpack bench steps --recipe=balanced --passages=3")
        assert record["n"] == 2
        assert {"split", "score", "write", "total"} <= record["ms"].keys()
        assert "median ms" in done.stderr

    def test_steps_writes_a_file(self, tmp_path: Path) -> None:
        """`--output` takes the record instead of standard output; a bad path is exit code 2."""
        small = ("bench", "steps", "-n", 1, "--passages", 1, "-o")
        assert run(*small, tmp_path / "steps.json").stdout == ""
        assert json.loads((tmp_path / "steps.json").read_text())["n"] == 1
        assert run(*small, tmp_path).exit_code == 2

    def test_steps_refuses_more_than_the_samples_hold(self) -> None:
        """Passages are cut without overlap, so there is a most of them."""
        done = run("bench", "steps", "--passages", 10_000)
        assert done.exit_code == 2
        assert "`passages` times `characters` must be at most" in done.stderr

    def test_quality_prints_a_record(self, tmp_path: Path) -> None:
        """The record has the retention of every method at every budget."""
        passages = [
            {"text": OTHER, "gold": False},
            {"text": LIGHT, "gold": True, "evidence": [[33, len(LIGHT)]]},
        ]
        record = {"id": "1", "dataset": "tiny", "query": QUERY, "passages": passages}
        path = tmp_path / "tiny.jsonl"
        path.write_text(json.dumps(record))
        done = run("bench", "quality", path, "-r", "lexical", "--share", 0.5)
        methods = json.loads(done.stdout)["sets"]["tiny"]["plain"]["0.5"]
        assert methods["lexical"]["over_budget"] == 0
        assert "|   lexical " in done.stderr


def test_version() -> None:
    """`--version` names the program and its version."""
    assert re.fullmatch(r"ctxpack \d+\.\d+\.\d+\n", run("--version").stdout)


@pytest.mark.parametrize(
    "command",
    [[], ["demo"], ["pack"], ["recipes"], ["recipes", "check"], ["doctor"], ["bench", "speed"]],
)
def test_help(command: list[str]) -> None:
    """Every command explains itself."""
    done = run(*command, "--help")
    assert done.exit_code == 0
    assert "Usage:" in done.stdout


def test_samples_are_pages_with_titles() -> None:
    """The samples are some twenty titled passages, among them a table, a list and code."""
    pages = samples.passages()
    assert 16 <= len(pages) <= 24
    assert all(page.id and page.title and page.text for page in pages)
    joined = "\n".join(page.text for page in pages)
    assert all(mark in joined for mark in ("|---|", "\n- ", "```sh\n"))
