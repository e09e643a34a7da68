"""``ctxpack cache``: fill a cache ahead of time, look into it, carry it elsewhere."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ctxpack.cache import upkeep
from ctxpack.cli import errors, options
from ctxpack.cli.progress import WarmingProgress
from ctxpack.errors import RecipeError
from ctxpack.overrides import Overrides
from ctxpack.pipeline import Pipeline
from ctxpack.reading import STDIN, InputFormat, Keys, stretches
from ctxpack.recipes import read_scorer
from ctxpack.scoring.caching import SECRET
from ctxpack.warming.warmer import lasting, warmer_of

if TYPE_CHECKING:
    from ctxpack.cache.parquet import Origin

app = typer.Typer(
    help="Fill a cache ahead of time; look into it, check it, carry it elsewhere. Its secret, if it"
    f" has one, is in the environment variable {SECRET}.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_URL = "sqlite:///FILE, redis://HOST:PORT/0, rediss:, valkey: or valkeys:"
_Cache = Annotated[str, typer.Option("--cache", help=f"{_URL}.", show_default=False)]
_Namespace = Annotated[str, typer.Option(help="What the cache calls the entries that are meant.")]
_INTERRUPTED = 130
_Json = Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")]


class Engine(StrEnum):
    """What warms: this process, or a Ray cluster."""

    LOCAL = "local"
    RAY = "ray"


_RecipesCache = Annotated[
    str | None, typer.Option("--cache", help=f"{_URL}; default: the recipe's.", show_default=False)
]
_RecipesNamespace = Annotated[
    str | None,
    typer.Option("--namespace", help="Of the cache; default: the recipe's.", show_default=False),
]
_Folder = Annotated[
    Path | None,
    typer.Option("--to", help="A folder of Parquet files instead of a cache, for `cache load`."),
]
_Engine = Annotated[
    Engine,
    typer.Option("--engine", help="This process, or a Ray cluster: RAY_ADDRESS's, or a local one."),
]
_Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="Most workers of a Ray cluster; default: its CPUs."),
]


@app.command()
def warm(
    files: options.Files,
    recipe: options.Recipe = "balanced",
    scorer: options.Scorer = None,
    cache: _RecipesCache = None,
    namespace: _RecipesNamespace = None,
    to: _Folder = None,
    engine: _Engine = Engine.LOCAL,
    workers: _Workers = None,
    input_format: options.Input = InputFormat.AUTO,
    text_field: options.Field = "text",
    title_field: options.TitleField = "title",
    as_json: _Json = False,
) -> None:
    """Encode the passages of FILES into a cache, ahead of the first query.

    What is there is skipped: after an interruption, run the same command again.

    For example: ctxpack cache warm --cache sqlite:///segments.db handbook.jsonl
    """
    overrides = Overrides() if scorer is None else Overrides(scorer=scorer)
    loaded = Pipeline.from_recipe(recipe, **overrides).recipe
    keys = Keys(text_field, title_field)
    warmer = warmer_of(loaded, keys, url=cache, namespace=namespace, folder=to)
    parts = (part for file in files for part in stretches(file, input_format))
    progress = WarmingProgress(_total_bytes(files))
    with warmer.pipeline:
        if engine is Engine.RAY:
            from ctxpack.warming.cluster import warm_on_ray

            progress.follow(warm_on_ray(warmer, list(parts), workers=workers))
        else:
            progress.follow(warmer.run(parts))
    _print(progress.summary(), progress.data(), as_json)
    evictions = warmer.cache.stats().evictions
    if evictions:
        errors.show(f"{evictions} older entries went: the cache needs a larger `max_bytes`")
    if progress.interrupted:
        errors.show("interrupted: the same command goes on from here")
        raise typer.Exit(_INTERRUPTED)
    if progress.done.errors:
        errors.show("some of it could not be written: run the same command again")
        raise typer.Exit(errors.UNEXPECTED)


@app.command()
def load(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILES", help="Parquet files, or folders of them.")
    ],
    cache: _Cache,
    as_json: _Json = False,
) -> None:
    """Bring what `cache warm --to` and `cache export` wrote into a cache.

    Damaged values are left out; exit code 1 when there were any.
    """
    from ctxpack.cache import parquet

    counts: Counter[upkeep.Kind] = Counter()
    for path in (path for file in files for path in parquet.files_in(file)):
        origin = parquet.origin_of(path)
        with closing(lasting(cache, origin.namespace)) as store:
            for some in upkeep.load(parquet.read(path), store, secret=_secret()):
                counts += some
        note = _mismatch(origin)
        if note:
            errors.show(f"{path}: {note}")
    _print(_summary(counts, "left out"), _data(counts), as_json)
    if counts["damaged"]:
        raise typer.Exit(errors.UNEXPECTED)


@app.command()
def export(
    cache: _Cache,
    to: Annotated[Path, typer.Option("--to", help="A Parquet file.", show_default=False)],
    namespace: _Namespace = "default",
) -> None:
    """Write all entries of a cache to a Parquet file, for `cache load`."""
    from ctxpack.cache import parquet

    with closing(lasting(cache, namespace)) as store:
        count = parquet.write(to, store.items(), parquet.Origin(namespace))
    typer.echo(f"{count:,} entries in {to}")


@app.command()
def stats(cache: _Cache, namespace: _Namespace = "default", as_json: _Json = False) -> None:
    """Print how many entries a cache holds, and their bytes, where the store can tell."""
    with closing(lasting(cache, namespace)) as store:
        found = store.stats()
        kind = store.name
    entries, n_bytes = found.entries, found.bytes
    text = f"{kind}, namespace {namespace}: "
    if entries is None or n_bytes is None:
        text += "not counted by the store; `cache verify` reads it through"
    else:
        text += f"{entries:,} entries, {n_bytes / 1e6:,.1f} MB"
    _print(text, {"store": kind, "namespace": namespace, **asdict(found)}, as_json)
    if found.errors:
        errors.show("the cache cannot be read")
        raise typer.Exit(errors.UNEXPECTED)


@app.command()
def clear(
    cache: _Cache,
    namespace: _Namespace = "default",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove every entry of a namespace."""
    with closing(lasting(cache, namespace)) as store:
        if not yes:
            typer.confirm(f"Remove all of namespace {namespace!r} from {store!r}?", abort=True)
        store.clear()
    typer.echo("cleared")


@app.command()
def verify(
    cache: _Cache,
    namespace: _Namespace = "default",
    repair: Annotated[bool, typer.Option("--repair", help="Remove damaged values.")] = False,
    as_json: _Json = False,
) -> None:
    """Read a cache through, and count the values that are damaged.

    A value that was sealed with another secret counts as damaged too. Exit code 1 when there are
    such values and they stay.
    """
    counts: Counter[upkeep.Kind] = Counter()
    with closing(lasting(cache, namespace)) as store:
        for some in upkeep.verify(store, secret=_secret(), repair=repair):
            counts += some
    _print(_summary(counts, "removed" if repair else "found"), _data(counts), as_json)
    if counts["damaged"] and not repair:
        raise typer.Exit(errors.UNEXPECTED)


def _summary(counts: Counter[upkeep.Kind], fate: str) -> str:
    encodings, scores, damaged = _data(counts).values()
    return f"{encodings:,} encodings, {scores:,} scores; {damaged:,} damaged values {fate}"


def _data(counts: Counter[upkeep.Kind]) -> dict[str, int]:
    return {
        "encodings": counts["encoding"],
        "scores": counts["scores"],
        "damaged": counts["damaged"],
    }


def _secret() -> bytes | None:
    secret = os.environ.get(SECRET)
    return secret.encode() if secret else None


def _total_bytes(files: Iterable[str]) -> int | None:
    """Return the bytes of all files; None when one is standard input, or not there."""
    try:
        return sum(Path(file).stat().st_size for file in files if file != STDIN)
    except OSError:
        return None


def _print(text: str, data: dict[str, Any], as_json: bool) -> None:
    typer.echo(json.dumps(data, indent=2) if as_json else text)


def _mismatch(origin: Origin) -> str | None:
    """Return why no scorer of this installation would ask for values of that origin, if so."""
    if not origin.scorer:
        return None
    try:
        scorer = read_scorer(json.loads(origin.scorer), where="scorer")
    except (RecipeError, json.JSONDecodeError) as error:
        return f"loaded, but never asked for here: {error}"
    if scorer.fingerprint.hex() == origin.fingerprint:
        return None
    return f"loaded, but never asked for here: {scorer.name!r} or a library has another version"
