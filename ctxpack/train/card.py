"""The model card: what the manifest and the evaluation say, for a reader."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from ctxpack.scoring.manifest import Manifest
from ctxpack.train.mixture import Mixture

Tables = Mapping[str, Sequence[Mapping[str, Any]]]
BASE_DATA = """\
`sentence-transformers/all-MiniLM-L6-v2` (Apache-2.0), 6 layers, 384 wide. By its own card it was
trained on more than a billion pairs from: Reddit comments, S2ORC, WikiAnswers, PAQ, Stack Exchange,
MS MARCO, GOOAQ, Yahoo Answers, CodeSearchNet, COCO, SPECTER, SearchQA, ELI5, Flickr 30k, AllNLI,
Sentence Compression, wikiHow, AltLex, Quora, Simple Wikipedia, Natural Questions, SQuAD 2.0 and
TriviaQA; some of these have terms of their own. So the base has met texts of `nq_litm`, `qed`,
`squad_dev` and `trecdl21`, and so has the baseline of sentence embeddings."""
TABLE_NOTE = """\
Retention is the share of evidence kept when the best spans fill 10 or 20 % of the tokens, best
first by the score of the span alone; intervals are 95 % bootstrap over records. Where `n` is below
the size of a set, every k-th record was taken. `oracle` chooses by the labels; `retrieval order` is
the order in which the passages of `trecdl21` came from a BM25 index of the whole collection, which
`BM25` over the passages of a call does not see."""
DIAGRAM_NOTE = """\
A point is a fifteenth of the spans with a probability of at least 0.05, its bar a 95 % interval; on
the dashed line a probability holds."""
LIMITS = """\
- The table is of the first hop, from spans alone. Evidence that a query does not name is often
  missed there; the recipes' second hop and blend are for that: see [benchmarks](benchmarks.md).
- Passage relevance on web queries (`trecdl21`) is below that of the base's sentence embeddings.
- One calibration serves calls of one passage and calls of twenty, first hops and second; the error
  of each set is below.
"""
AGAIN = """\
This is the second stage. It started from the first: 750 steps, 18,676 segments, 65 minutes, with a
head that knew no second hop and whose new features began near zero. `ctxpack train` with the
mixture file of the package repeats the second stage from the base model, not from that start."""
INTENDED = """\
# ctxpack-swift

`ctxpack-swift` scores passages and their sentences against a query, to choose what a language
model reads. It reads a passage without the query, so that the expensive half can be stored:
`Swift.encode` gives about 140 bytes a token, `Swift.score_encoded` scores stored passages.
It was trained on English and is not meant for other languages."""


class Story(NamedTuple):
    """What a card says that its numbers do not.

    Args:
        intended: title and use.
        base: what the training started from.
        trained_on: Markdown.
        never_trained_on: Markdown.
        again: how the training is repeated.
        table_note: what the table of the evaluation means.
        limits: Markdown.
    """

    intended: str
    base: str
    trained_on: str
    never_trained_on: str
    again: str
    table_note: str
    limits: str


def shipped(mixture: Mixture) -> Story:
    """Return the story of the model in the package.

    Args:
        mixture: what it was trained on.
    """
    return Story(
        intended=INTENDED,
        base=BASE_DATA,
        trained_on="\n".join(_sources(mixture, "train")),
        never_trained_on="\n".join(_sources(mixture, "evaluate")),
        again=AGAIN,
        table_note=TABLE_NOTE,
        limits=LIMITS,
    )


def card(manifest: Manifest, story: Story, tables: Tables, plot: str) -> str:
    """Return the model card in Markdown.

    Args:
        manifest: of the exported model.
        story: what is known beside it.
        tables: scorer → lines of the evaluation, as `Result.summary` gives them.
        plot: file name of the reliability diagrams.
    """
    training = manifest.training
    sections = (
        (story.intended, f"Version of the weights: `{manifest.version}`."),
        ("## Base", story.base),
        ("## Trained on", story.trained_on),
        ("## Never trained on", story.never_trained_on),
        (
            "## Training",
            f"{training['steps']} steps, {timedelta(seconds=training['seconds'])} hours on"
            f" {training['hardware']}; {training['passages']} segments read, {training['pairs']}"
            f" pairs scored. {story.again}",
        ),
        ("## Evaluation", "\n".join((story.table_note, "", *_table(tables)))),
        ("## Limits", story.limits.rstrip()),
        ("## Calibration", "\n".join(_calibration(manifest, plot))),
    )
    return "\n\n".join(f"{title}\n\n{text}" for title, text in sections) + "\n"


def _sources(mixture: Mixture, role: str) -> Iterable[str]:
    yield "| data set | licence |"
    yield "|---|---|"
    for name, source in mixture.sources.items():
        if source.role == role:
            yield f"| `{name}` | {source.licence} |"


def _table(tables: Tables) -> Iterable[str]:
    """Yield one row a measure, one column a scorer, each mean with its 95 % interval."""
    cells = {
        (line["task"], line["measure"]): line["n"] for lines in tables.values() for line in lines
    }
    found = {
        (scorer, line["task"], line["measure"]): line
        for scorer, lines in tables.items()
        for line in lines
    }
    yield "| task | measure | " + " | ".join(tables) + " |"
    yield "|---|---|" + "---|" * len(tables)
    for task, measure in cells:
        row = []
        for scorer in tables:
            line = found.get((scorer, task, measure))
            row.append(
                "–"
                if line is None
                else f"{line['mean']:.3f} [{line['low']:.3f}, {line['high']:.3f}] n={line['n']}"
            )
        yield f"| `{task}` | {measure} | " + " | ".join(row) + " |"


def _calibration(manifest: Manifest, plot: str) -> Iterable[str]:
    points = ", ".join(f"`{name}` {value}" for name, value in manifest.operating_points.items())
    yield f"Operating points (thresholds on the probability of evidence): {points}."
    yield "Fitted to half of the development records, measured here on the other half."
    yield ""
    yield f"![Reliability diagrams: probability of evidence against its share]({plot})"
    yield ""
    yield DIAGRAM_NOTE
    yield ""
    names = list(manifest.operating_points)
    head = "".join(f" evidence recall, kept spans at `{name}` |" for name in names)
    yield f"| data set | ECE | Brier skill |{head}"
    yield "|---|---|---|" + "---|" * len(names)
    for dataset, quality in manifest.training["calibration_on_other_half"].items():
        cells = "".join(
            f" {quality['recall'][name]:.3f}, {quality['kept'][name]:.3f} |" for name in names
        )
        yield f"| `{dataset}` | {quality['ece']:.3f} | {quality['brier_skill']:.3f} |{cells}"
