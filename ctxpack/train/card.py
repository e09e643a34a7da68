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
the size of a set, every k-th record was taken. The oracle chooses by the labels, the shortest
evidence first; `retrieval order` is the order in which the passages of `trecdl21` came from a BM25
index of the whole collection, which `BM25` over the passages of a call does not see."""
CALIBRATION_NOTE = """\
Fitted to half of the development records, measured here on the other half. Operating points are
thresholds on the probability of evidence. In a diagram, a point is a fifteenth of the spans with a
probability of at least 0.05, its bar a 95 % interval; on the dashed line a probability holds."""
LIMITS = """\
- The table is of the first hop, from spans alone. Evidence that a query does not name is often
  missed there; the recipes' second hop and blend are for that: see [benchmarks](benchmarks.md).
- Passage relevance on web queries (`trecdl21`) is below that of the base's sentence embeddings, and
  what a cosine adds to it in `ctxpack-swift` was chosen with this set in view.
- One calibration serves calls of one passage and calls of twenty, first hops and second; the error
  of each set is below.
"""
AGAIN = {
    "ctxpack-swift": """\
This is the fourth stage. The first was 750 steps with a head that knew no second hop, the second
1,700 from there, with new features that began near zero, the third 1,900 with rearranged segments:
99,000 segments together. `ctxpack train` with `swift.yaml` of the package and `--teacher
ctxpack-mini` repeats the fourth stage from any start.""",
    "ctxpack-mini": """\
It started from the second stage of `ctxpack-swift`, so the lower layers of the two are the same.
`ctxpack train` with `mini.yaml` of the package repeats it from any start.""",
}
INTENDED = """\
# Model card

Two models score passages and their sentences against a query, to choose what a language model
reads. They share tokenizer, rarity table and lower layers.

- `ctxpack-swift` reads a passage without the query, so that the expensive half can be stored:
  `Swift.encode` gives about 140 bytes a token, `Swift.score_encoded` scores stored passages.
- `ctxpack-mini` reads query and passage together in its upper layers, every pair by itself.

They were trained on English and are not meant for other languages."""


class Story(NamedTuple):
    """What a card says that its numbers do not.

    Args:
        intended: title and use.
        base: what the training started from.
        trained_on: Markdown.
        never_trained_on: Markdown.
        again: model → how its training is repeated.
        table_note: what the table of the evaluation means.
        limits: Markdown.
    """

    intended: str
    base: str
    trained_on: str
    never_trained_on: str
    again: Mapping[str, str]
    table_note: str
    limits: str


def shipped(manifests: Sequence[Manifest], mixture: Mixture) -> Story:
    """Return the story of the models in the package.

    Args:
        manifests: of the models.
        mixture: has the data sets of all of them.
    """
    learnt = {
        name: ", ".join(f"`{one.name}`" for one in manifests if name in one.training["trained_on"])
        for name in mixture.sources
    }
    licences = {name: source.licence for name, source in mixture.sources.items()}
    trained = [f"| `{name}` | {licences[name]} | {by} |" for name, by in learnt.items() if by]
    never = [f"| `{name}` | {licences[name]} |" for name, by in learnt.items() if not by]
    return Story(
        intended=INTENDED,
        base=BASE_DATA,
        trained_on="\n".join(("| data set | licence | by |", "|---|---|---|", *trained)),
        never_trained_on="\n".join(("| data set | licence |", "|---|---|", *never)),
        again=AGAIN,
        table_note=TABLE_NOTE,
        limits=LIMITS,
    )


def card(
    manifests: Sequence[Manifest], story: Story, tables: Tables, plots: Mapping[str, str]
) -> str:
    """Return the model card in Markdown.

    Args:
        manifests: of the models that it describes.
        story: what is known beside them.
        tables: scorer → lines of the evaluation, as `Result.summary` gives them.
        plots: model → file name of its reliability diagrams.
    """
    versions = ", ".join(f"`{one.name}` `{one.version}`" for one in manifests)
    sections = (
        (story.intended, f"Version of the weights: {versions}."),
        ("## Base", story.base),
        ("## Trained on", story.trained_on),
        ("## Never trained on", story.never_trained_on),
        ("## Training", "\n\n".join(_training(one, story) for one in manifests)),
        ("## Evaluation", "\n".join((story.table_note, "", *_table(tables)))),
        ("## Limits", story.limits.rstrip()),
        ("## Calibration", CALIBRATION_NOTE),
        *((f"### {one.name}", "\n".join(_calibration(one, plots[one.name]))) for one in manifests),
    )
    return "\n\n".join(f"{title}\n\n{text}" for title, text in sections) + "\n"


def _training(manifest: Manifest, story: Story) -> str:
    training = manifest.training
    return (
        f"`{manifest.name}`: {training['steps']} steps, {timedelta(seconds=training['seconds'])}"
        f" hours on {training['hardware']}; {training['passages']} segments read,"
        f" {training['pairs']} pairs scored. {story.again[manifest.name]}"
    )


def _table(tables: Tables) -> Iterable[str]:
    """Yield one row a measure, one column a scorer, each mean with its 95 % interval."""
    rows: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for scorer, lines in tables.items():
        for line in lines:
            rows.setdefault((line["task"], line["measure"]), {})[scorer] = line
    yield "| task | measure | " + " | ".join(tables) + " |"
    yield "|---|---|" + "---|" * len(tables)
    for (task, measure), found in rows.items():
        best = [line["oracle"] for line in found.values() if "oracle" in line]
        shown = f"{measure}, oracle {best[0]:.3f}" if best else measure
        cells = " | ".join(_cell(found.get(scorer)) for scorer in tables)
        yield f"| `{task}` | {shown} | {cells} |"


def _cell(line: Mapping[str, Any] | None) -> str:
    """Return ``0.872 [0.830, 0.911] n=150``, or a dash where nothing was measured."""
    if line is None:
        return "–"
    return f"{line['mean']:.3f} [{line['low']:.3f}, {line['high']:.3f}] n={line['n']}"


def _calibration(manifest: Manifest, plot: str) -> Iterable[str]:
    points = ", ".join(f"`{name}` {value}" for name, value in manifest.operating_points.items())
    yield f"Operating points: {points}."
    yield ""
    yield f"![Reliability diagrams: probability of evidence against its share]({plot})"
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
