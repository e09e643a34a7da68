"""Sealed values in Parquet files, which carry them from one cache to another.

columns   key: 32 bytes, value: bytes
metadata  ctxpack.format, ctxpack.namespace, ctxpack.scorer, ctxpack.fingerprint
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

from ctxpack.cache.base import StoreStats
from ctxpack.cache.keys import KEY_BYTES
from ctxpack.errors import InputError, MissingExtraError

try:
    import pyarrow as arrow
    from pyarrow import parquet
except ImportError as error:
    raise MissingExtraError("a cache in Parquet files", "parquet") from error

FORMAT = "1"
"""Of columns and metadata."""

ROWS = 128
"""Of a row group: with values of 20 kB, 3 MB that a reader holds at a time."""

_COLUMNS = (
    arrow.field("key", arrow.binary(KEY_BYTES), nullable=False),
    arrow.field("value", arrow.binary(), nullable=False),
)
_PREFIX = "ctxpack."


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the values of a file come from.

    Args:
        namespace: that their keys were made with.
        scorer: that made them, as a recipe spells it, in JSON; '' where several may have.
        fingerprint: of that scorer, in hexadecimal; '' as above.
    """

    namespace: str
    scorer: str = ""
    fingerprint: str = ""


def write(path: Path, entries: Iterable[tuple[bytes, bytes]], origin: Origin) -> int:
    """Write a file, readable by its owner alone, and return how many values it has.

    The file is there when it is complete, and not before.

    Raises:
        OSError: it cannot be written.
    """
    about = {"format": FORMAT, "namespace": origin.namespace, "scorer": origin.scorer}
    about["fingerprint"] = origin.fingerprint
    metadata = {_PREFIX + name: text for name, text in about.items()}
    schema = arrow.schema(_COLUMNS, metadata=metadata)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    count = 0
    try:
        with (
            open(unfinished, "wb", opener=partial(os.open, mode=0o600)) as file,
            parquet.ParquetWriter(file, schema, use_dictionary=False) as writer,
        ):
            left = iter(entries)
            while some := list(islice(left, ROWS)):
                keys, values = zip(*some, strict=True)
                writer.write_batch(
                    arrow.record_batch([arrow.array(keys, _COLUMNS[0].type), values], schema=schema)
                )
                count += len(some)
        os.replace(unfinished, path)
    finally:
        with suppress(FileNotFoundError):
            os.remove(unfinished)
    return count


def origin_of(path: Path) -> Origin:
    """Return where the values of a file come from.

    Raises:
        InputError: it is not a file of `write`, or of another format.
    """
    with _opened(path) as file:
        found = file.schema_arrow.metadata or {}
    names = ("format", "namespace", "scorer", "fingerprint")
    version, *about = (found.get((_PREFIX + name).encode(), b"").decode() for name in names)
    if version != FORMAT:
        raise InputError(f"{path}: must hold values of a cache, in format {FORMAT}")
    return Origin(*about)


def read(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield the entries of a file of `write`.

    Raises:
        InputError: the file is damaged.
    """
    with _opened(path) as file:
        try:
            for batch in file.iter_batches(ROWS, columns=["key", "value"]):
                yield from zip(batch["key"].to_pylist(), batch["value"].to_pylist(), strict=True)
        except (arrow.ArrowException, OSError) as error:
            raise InputError(f"{path}: damaged: {error}") from None


def files_in(path: Path) -> list[Path]:
    """Return a file itself, and of a folder its Parquet files."""
    return sorted(path.glob("*.parquet")) if path.is_dir() else [path]


class ParquetFolder:
    """A segment cache that is filled and carried elsewhere: every `close` adds a file.

    Unlike other caches it raises what goes wrong, because nothing else keeps what it is given; and
    it is for one thread. Files with the same keys have the same name, so that work that is done
    twice is stored once.

    Args:
        folder: made when needed.
        origin: of the values.

    Raises:
        OSError, of every method: a file cannot be read or written.
        InputError, of every method: a file is damaged, or is not one of ours.
    """

    name = "parquet"

    def __init__(self, folder: str | os.PathLike[str], origin: Origin) -> None:
        self._folder = Path(os.path.abspath(folder))
        self._origin = origin
        self._new: dict[bytes, bytes] = {}
        self._file_of: dict[bytes, Path] | None = None
        self._last: tuple[Path | None, dict[bytes, bytes]] = (None, {})

    def __repr__(self) -> str:
        return f"ParquetFolder({str(self._folder)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (ParquetFolder, (self._folder, self._origin))

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of every key, in order; None where there is none."""
        return [self._new.get(key) or self._written(key) for key in keys]

    def put_many(self, entries: Mapping[bytes, bytes]) -> None:
        """Hold values until `close` writes them."""
        self._new.update(entries)

    def delete_many(self, keys: Sequence[bytes]) -> None:
        """Forget values that are not written yet; files stay as they are."""
        for key in keys:
            self._new.pop(key, None)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield every (key, value), written or not."""
        for path in self._files():
            yield from read(path)
        yield from self._new.items()

    def clear(self) -> None:
        """Remove the files, and what is not written yet."""
        self._new = {}
        for path in self._files():
            path.unlink()
        self._file_of = None

    def stats(self) -> StoreStats:
        """Return what is held and not written yet."""
        n_bytes = sum(len(key) + len(value) for key, value in self._new.items())
        return StoreStats(len(self._new), n_bytes, 0, 0, True)

    def close(self) -> None:
        """Write a file of what is held."""
        if self._new:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            content = blake2b(b"".join(sorted(self._new)), digest_size=16)
            path = self._folder / f"{content.hexdigest()}.parquet"
            write(path, self._new.items(), self._origin)
            self._index().update(dict.fromkeys(self._new, path))
            self._new = {}

    def _files(self) -> list[Path]:
        return files_in(self._folder) if self._folder.exists() else []

    def _written(self, key: bytes) -> bytes | None:
        path = self._index().get(key)
        if path is None:
            return None
        if self._last[0] != path:  # what was written together is asked for together
            self._last = (path, dict(read(path)))
        return self._last[1].get(key)

    def _index(self) -> dict[bytes, Path]:
        """Return the file of every key that was written, read once."""
        if self._file_of is None:
            self._file_of = {}
            for path in self._files():
                if origin_of(path) != self._origin:
                    raise InputError(f"{path}: of another scorer or namespace; use an empty folder")
                with _opened(path) as file:
                    keys = file.read(columns=["key"])["key"].to_pylist()
                self._file_of.update(dict.fromkeys(keys, path))
        return self._file_of


def _opened(path: Path) -> Any:
    try:
        return parquet.ParquetFile(path)
    except arrow.ArrowException as error:
        raise InputError(f"{path}: must be Parquet: {error}") from None
