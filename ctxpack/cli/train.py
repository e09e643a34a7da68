"""``ctxpack train``: a model of one's own, and the parts of a training one by one."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ctxpack.bench.machine import usable_cpus
from ctxpack.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from ctxpack.train.mixture import Mixture
    from ctxpack.train.whole import Telling

NAME, JOINT = "ctxpack-swift", "ctxpack-mini"

app = typer.Typer(
    rich_markup_mode=None,
)

_Data = Annotated[
    list[Path] | None,
    typer.Option(
        "--data",
        help="Records as JSON lines, gzip or plain; may be given several times. With --mixture: the"
        " directory of its files.",
    ),
]
_Directory = Annotated[Path, typer.Option("--data", help="Directory of the mixture's files.")]
_Mixture = Annotated[
    Path | None,
    typer.Option(help="Mixture file: data sets and roles. Default: that of the bundled models."),
]
_From = Annotated[
    str,
    typer.Option(
        "--from",
        metavar="NAME|DIR",
        help=f"Start: {NAME} or {JOINT} as installed, an earlier --out, or a directory with"
        " config.json and model.safetensors of a BERT-style sentence-embedding model.",
    ),
]
_Teacher = Annotated[
    str | None, typer.Option(metavar="NAME|DIR", help=f"Joint model to distil, too, as {JOINT}.")
]
_Float32 = Annotated[
    bool,
    typer.Option("--float32", help="Write float32 graphs: four times as large as those in int8."),
]
_Threads = Annotated[int | None, typer.Option(min=1, help="Threads; default: all processors.")]


@app.callback(invoke_without_command=True)
def train(
    invocation: typer.Context,
    data: _Data = None,
    start: _From = NAME,
    out: Annotated[
        Path | None, typer.Option(help="Directory of the result; holds the run, too.")
    ] = None,
    mixture: Annotated[
        Path | None, typer.Option(help="Mixture file: data sets, roles, settings.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps; default: three passes over the records.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of batches and augmentation.")] = None,
    licence: Annotated[str, typer.Option(help="Of your data, for the card.")] = "not stated",
    teacher: _Teacher = None,
    float32: _Float32 = False,
    threads: _Threads = None,
) -> None:
    """Train a scorer: records in; a calibrated model with its card out.

    For example: ctxpack train --data mine.jsonl --out my-model

    Run the same command again after a kill: it goes on from its last checkpoint.
    """
    if invocation.invoked_subcommand is not None:
        return
    if not data or out is None:
        raise InputError("needs --data and --out; see ctxpack train --help")
    _ready(threads)
    from ctxpack.train import whole

    chosen, directory = _asked(data, mixture, licence)
    chosen = chosen if seed is None else chosen.seeded(seed)
    plan = whole.Plan(
        chosen,
        directory,
        start,
        out,
        steps,
        is_own=mixture is None,
        quantise=not float32,
        teacher=teacher,
    )
    with _telling() as telling:
        whole.train(plan, telling)


@app.command()
def export(
    run: Annotated[Path, typer.Option(help="Directory of the run: `run` in its --out.")],
    out: Annotated[Path, typer.Option(help="Models directory to write into.")],
    data: Annotated[
        Path, typer.Option(help="Directory of the files of the run's mixture, if it had one.")
    ] = Path(),
    float32: _Float32 = False,
    hardware: Annotated[str, typer.Option(help="What it was trained on, for the card.")] = "a CPU",
) -> None:
    """Write the model of a run again, calibrated, with its manifest."""
    _ready(1)
    from ctxpack.train.evaluate import evaluation_records
    from ctxpack.train.whole import Trained

    trained = Trained.load(run, hardware)
    records = evaluation_records(trained.mixture, data)
    trained.export(out, records, quantise=not float32)


@app.command()
def evaluate(
    data: _Directory,
    scorer: Annotated[
        str,
        typer.Option(
            metavar="NAME|DIR",
            help=f"{NAME}, {JOINT}, bm25, embeddings:DIR, or a DIR of train.",
        ),
    ] = NAME,
    mixture: _Mixture = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Most records of a task.")] = None,
) -> None:
    """Print how good a scorer is on the mixture's evaluation records, as JSON lines.

    Where evidence must fit a budget, with what a choice by the labels keeps, and the share of that.
    """
    _ready(1)
    from ctxpack.train.evaluate import evaluate as judged
    from ctxpack.train.evaluate import evaluation_records, named_scorer
    from ctxpack.train.pieces import word_pieces

    records = evaluation_records(_mixture(mixture), data)
    for result in judged(named_scorer(scorer), records, word_pieces(), limit=limit):
        typer.echo(json.dumps(result.summary()))


@app.command()
def card(
    tables: Annotated[
        list[Path],
        typer.Argument(help="What `evaluate` printed; a file's name is the name of its column."),
    ],
    out: Annotated[Path, typer.Option(help="Markdown file; the diagrams go beside it.")],
    mixture: _Mixture = None,
) -> None:
    """Write the card of the installed models, from manifests and tables of their evaluation."""
    _ready(1)
    from ctxpack.scoring.manifest import Manifest
    from ctxpack.train.card import card as written
    from ctxpack.train.card import shipped
    from ctxpack.train.plot import reliability_diagrams

    lines = {
        table.stem: [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines()]
        for table in tables
    }
    manifests = [Manifest.load(name) for name in (NAME, JOINT)]
    plots = {one.name: f"calibration-{one.name}.svg" for one in manifests}
    for one in manifests:
        quality = one.training["calibration_on_other_half"]
        reliability_diagrams(quality, out.with_name(plots[one.name]))
    story = shipped(manifests, _mixture(mixture))
    out.write_text(written(manifests, story, lines, plots), encoding="utf-8")


def _ready(threads: int | None) -> None:
    """Set the threads of torch.

    Raises:
        MissingExtraError: torch, or what else training needs, is not installed.
    """
    try:
        import matplotlib  # noqa: F401
        import onnxscript  # noqa: F401
        import torch
        import transformers
    except ImportError:
        raise MissingExtraError("ctxpack train", "train") from None
    # What they say is for those who write models.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(threads or usable_cpus())


def _asked(data: list[Path], mixture: Path | None, licence: str) -> tuple[Mixture, Path]:
    """Return the mixture of a run, and the directory of its files."""
    from ctxpack.train import own
    from ctxpack.train.mixture import Mixture

    if mixture is None:
        return own.mixture(data, licence), Path()
    if len(data) > 1:
        raise InputError("with --mixture, --data must be given once: the directory of its files")
    return Mixture.load(mixture), data[0]


def _mixture(path: Path | None) -> Mixture:
    from ctxpack.train.mixture import SHIPPED, Mixture

    return Mixture.load(path or SHIPPED)


@contextmanager
def _telling() -> Iterator[Telling]:
    """Yield what shows notes as lines and steps as a bar, on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    from ctxpack.train.whole import Telling

    columns = (
        TextColumn("{task.completed}/{task.total}"),
        BarColumn(),
        TextColumn("{task.fields[left]}"),
    )
    console = Console(stderr=True, highlight=False, markup=False)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=1, left="", visible=False)

        def watch(line: dict[str, Any]) -> None:
            eta_s = line["eta_s"]
            left = "" if eta_s is None else f"{timedelta(seconds=eta_s)} left"
            bar.update(task, completed=line["step"], total=line["of"], left=left, visible=True)
            shown = _shown(line)
            if shown:
                console.print(f"step {line['step']} of {line['of']}{left and ', '}{left}: {shown}")

        yield Telling(console.print, watch)


def _shown(line: dict[str, Any]) -> str:
    """Return the figures of an evaluation, train beside dev: ``mine AP 0.81 (train 0.86)``."""
    shown = []
    for name, value in line.items():
        side, _, measure = name.partition(" ")
        if side == "dev":
            shown.append(f"{measure} {value} (train {line.get(f'train {measure}', '–')})")
    return ", ".join(shown)
