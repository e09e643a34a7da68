"""Commands: ``python -m ctxpack.train fit | export | evaluate | card``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from tokenizers import Tokenizer

from ctxpack.scoring.manifest import MODELS, Manifest
from ctxpack.scoring.segments import WordPieces
from ctxpack.scoring.swift import NAME, TOKENIZER
from ctxpack.train.card import card
from ctxpack.train.collection import rarity_table
from ctxpack.train.evaluate import Judged, evaluate, evaluation_records
from ctxpack.train.export import calibrated, load_run, save, save_rarity, write_graphs
from ctxpack.train.fit import LOG, REPORT_STEPS, Lessons, Run
from ctxpack.train.mixture import Mixture
from ctxpack.train.prepare import Prepared
from ctxpack.train.report import DevReport
from ctxpack.train.teacher import Teacher

app = typer.Typer(add_completion=False, help="Train, judge and export ctxpack-swift.")
MixtureFile = Annotated[Path, typer.Option(help="Mixture file: data sets, roles, settings.")]
Data = Annotated[Path, typer.Option(help="Directory of the JSONL files.")]
Base = Annotated[Path, typer.Option(help="Directory of the base model.")]
RunDirectory = Annotated[Path, typer.Option(help="Checkpoint, rarity table and log go here.")]
Start = Annotated[Path | None, typer.Option(help="Weights of an earlier stage; none: the base's.")]
Scorer = Annotated[str, typer.Option(help="bm25, embeddings or ctxpack-swift.")]
Limit = Annotated[int | None, typer.Option(help="Most records a task.")]
Threads = Annotated[int, typer.Option(help="Threads for torch.")]

SWIFT = Path(__file__).parent / "mixtures" / "swift.yaml"


def word_pieces() -> WordPieces:
    """Return the bundled tokenizer; the base model's is the same."""
    return WordPieces(Tokenizer.from_file(str(MODELS / TOKENIZER)))


@app.command()
def fit(
    data: Data,
    base: Base,
    run: RunDirectory,
    mixture: MixtureFile = SWIFT,
    threads: Threads = 1,
    start: Start = None,
) -> None:
    """Train, or go on training after a kill: the state is in the run directory."""
    torch.set_num_threads(threads)
    torch.set_default_device("cuda" if torch.cuda.is_available() else "cpu")
    settings = Mixture.load(mixture)
    prepared = Prepared(settings, data)
    pieces = word_pieces()
    collection = prepared.collection(pieces)
    rarity = rarity_table([unit.segment for unit in collection.units])
    run.mkdir(parents=True, exist_ok=True)
    save_rarity(run, rarity)
    report = DevReport(prepared, pieces)
    lessons = Lessons(collection, Teacher(run / "teacher.npy", base, collection))
    Run(run, base, settings.fit, rarity, start=start).train(lessons, prepared.weights, report)


@app.command(name="evaluate")
def judge(
    data: Data, scorer: Scorer, base: Base, mixture: MixtureFile = SWIFT, limit: Limit = None
) -> None:
    """Print the table of a scorer as JSON lines."""
    torch.set_num_threads(1)
    records = evaluation_records(Mixture.load(mixture), data)
    for result in evaluate(named_scorer(scorer, base), records, word_pieces(), limit=limit):
        typer.echo(json.dumps(result.summary()))


def named_scorer(name: str, base: Path) -> Judged:
    """Return a scorer of the evaluation by name."""
    if name == NAME:
        from ctxpack.scoring.bundled import Swift

        return Swift()
    from ctxpack.train.baselines import Bm25Scorer, EmbeddingScorer

    return EmbeddingScorer(base) if name == "embeddings" else Bm25Scorer()


@app.command()
def export(
    data: Data,
    base: Base,
    run: RunDirectory,
    mixture: MixtureFile = SWIFT,
    out: Path = MODELS,
) -> None:
    """Write the quantised model with its calibration and manifest into the models directory."""
    torch.set_num_threads(1)
    settings = Mixture.load(mixture)
    manifest = write_graphs(*load_run(run, base, settings.fit), out)
    manifest, quality = calibrated(manifest, out, evaluation_records(settings, data))
    save(manifest, out, _summary(run, settings, quality))


@app.command(name="card")
def write_card(tables: list[Path], out: Path, mixture: MixtureFile = SWIFT) -> None:
    """Write the model card from the manifest and from tables that ``evaluate`` printed.

    A table's file name is the name of its column.
    """
    lines = {
        table.stem: [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines()]
        for table in tables
    }
    text = card(Manifest.load(NAME), Mixture.load(mixture), lines)
    out.write_text(text, encoding="utf-8")


def _summary(run: Path, settings: Mixture, quality: dict[str, Any]) -> dict[str, Any]:
    lines = [json.loads(line) for line in (run / LOG).read_text(encoding="utf-8").splitlines()]
    return {
        "base": "sentence-transformers/all-MiniLM-L6-v2",
        "steps": lines[-1]["step"],
        "seconds": lines[-1]["seconds"],
        "passages": round(REPORT_STEPS * sum(line.get("passages", 0) for line in lines)),
        "pairs": round(REPORT_STEPS * sum(line.get("pairs", 0) for line in lines)),
        "fit": settings.fit.model_dump(),
        "calibration_on_other_half": quality,
        "trained_on": {
            name: source.licence
            for name, source in settings.sources.items()
            if source.role == "train"
        },
    }


if __name__ == "__main__":
    app()
