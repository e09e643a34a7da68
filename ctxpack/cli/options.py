"""Options that several commands share, or that would bury the command they belong to."""

from __future__ import annotations

from typing import Annotated

import typer

from ctxpack.cli.writing import OutputFormat
from ctxpack.reading import InputFormat

Recipe = Annotated[
    str, typer.Option("--recipe", "-r", help="Name of a recipe, or path of a YAML file.")
]
Budget = Annotated[int, typer.Option("--budget", "-b", min=0, help="Most tokens of the text.")]
OptionalBudget = Annotated[
    int | None,
    typer.Option("--budget", "-b", min=0, help="Most tokens of the text; default: the recipe's."),
]
Query = Annotated[
    str, typer.Option("--query", "-q", help="What the text must answer.", show_default=False)
]
Files = Annotated[
    list[str],
    typer.Argument(
        metavar="FILES|-",
        help="Text or Markdown (one passage each), .json (a list of passages, or an object with"
        " one as `passages`), .jsonl (one passage a line), .parquet (one a row); - for standard"
        " input.",
        show_default=False,
    ),
]
Scorer = Annotated[str | None, typer.Option(help="Name of a scorer, in place of the recipe's.")]
TokenCounter = Annotated[
    str | None,
    typer.Option(
        help="In place of the recipe's: approximate, tiktoken:ENCODING, tokenizers:FILE or"
        " transformers:NAME."
    ),
]
Format = Annotated[
    OutputFormat, typer.Option("--format", "-f", help="JSON holds offsets, drops and report.")
]
Citations = Annotated[
    bool | None,
    typer.Option("--citations/--no-citations", help="Number the passages: [1], [2], …"),
]
Input = Annotated[
    InputFormat, typer.Option("--input", help="What the files hold; auto goes by their names.")
]
Field = Annotated[
    str, typer.Option("--text-field", "--field", help="Key or column of a passage's text.")
]
TitleField = Annotated[str, typer.Option(help="Key or column of its title.")]
IdField = Annotated[str, typer.Option(help="Key or column of its id.")]
ScoreField = Annotated[str, typer.Option(help="Key or column of its retrieval score.")]
