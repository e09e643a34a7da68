"""A connection to the file of a SQLite cache: opened when needed, and mended after a fault."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from ctxpack.cache.breaker import CircuitBreaker
from ctxpack.cache.forks import ForkGuard
from ctxpack.cache.recording import in_use
from ctxpack.errors import CacheError

T = TypeVar("T")

VERSION = 1
"""Of the schema; a file of another version is made anew."""

_APPLICATION = 0x63747870  # "ctxp"
_SCHEMA = (
    """CREATE TABLE entries (
        namespace BLOB NOT NULL,
        key BLOB NOT NULL,
        size INTEGER NOT NULL,     -- bytes of key and value
        written INTEGER NOT NULL,  -- seconds since 1970, as is `used`
        used INTEGER NOT NULL,
        value BLOB NOT NULL,
        UNIQUE (namespace, key)
    )""",
    "CREATE INDEX by_use ON entries (used)",
    """CREATE TABLE totals (
        namespace BLOB PRIMARY KEY, entries INTEGER NOT NULL, bytes INTEGER NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TRIGGER added AFTER INSERT ON entries BEGIN
        INSERT INTO totals VALUES (new.namespace, 1, new.size)
        ON CONFLICT DO UPDATE SET entries = entries + 1, bytes = bytes + new.size;
    END""",
    """CREATE TRIGGER removed AFTER DELETE ON entries BEGIN
        UPDATE totals SET entries = entries - 1, bytes = bytes - old.size
        WHERE namespace = old.namespace;
    END""",
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {VERSION}",
)
_SETTINGS = (
    "PRAGMA journal_mode = WAL",
    # Nobody waits for the disk: a process that dies loses nothing by that, and after a power cut a
    # damaged file is made anew and a damaged value is a miss, as its seal says.
    "PRAGMA synchronous = OFF",
    "PRAGMA secure_delete = FAST",  # some builds overwrite all that is removed: twice the writes
    "PRAGMA journal_size_limit = 16000000",
)
_BESIDE = ("-wal", "-shm", "-journal")
# SQLITE_ERROR, "no such table", is what a file gives that was cut to nothing while it was open. No
# statement of ours breaks a constraint of a whole file.
_DAMAGE = {
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_CONSTRAINT,
}
_ERRORS = (sqlite3.Error, UnicodeDecodeError)  # the latter for a message that quotes damage
_log = logging.getLogger(__name__)


class Database:
    """Runs work on one connection, a thread at a time, and answers for it when that fails.

    A file that is gone, damaged or of another schema version is made anew; one that is no database
    at all is renamed to ``<path>.aside`` first; another program's database is left as it is. After
    three faults in a row nothing is tried for a while. A fork closes the connection first: SQLite's
    locks do not hold in a child, not even for connections that it opens itself
    (https://www.sqlite.org/howtocorrupt.html, section 2.6).

    Args:
        path: absolute; the file is made with mode 0600, missing folders with 0700.
        busy_s: how long to wait for others that write.
    """

    def __init__(self, path: str, *, busy_s: float) -> None:
        self._path = path
        self._busy_s = busy_s
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._guard = ForkGuard(self.close)
        self.breaker = CircuitBreaker()
        self.errors = 0

    def __del__(self) -> None:
        # A connection is part of a reference cycle (its cache of statements), so that it would stay
        # open until the next collection, and cross a fork that comes first. Without the lock, which
        # a thread that forks may hold while it waits for one that this thread holds.
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()

    def run(self, work: Callable[[sqlite3.Connection], T], *, otherwise: T) -> T:
        """Return what `work` gives for the connection, or `otherwise` when it cannot be done.

        Args:
            work: done a second time if the file had to be made anew.
            otherwise: returned for a fault, and while nothing is tried.
        """
        with self._guard:
            if not self.breaker.allow():
                in_use().available = False
                return otherwise
            try:
                result = self._mended(work)
            except (*_ERRORS, OSError, CacheError) as error:
                self.errors += 1
                in_use().errors += 1
                if self.breaker.failed():
                    _log.warning("cache: %s is left alone for a while: %s", self._path, error)
                return otherwise
            self.breaker.succeeded()
            return result

    def insist(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return what `work` gives for the connection, tried whatever happened before.

        Raises:
            CacheError: it cannot be done.
        """
        with self._guard:
            try:
                return self._mended(work)
            except (*_ERRORS, OSError) as error:
                raise CacheError(f"cache: {self._path}: {error}") from error

    def close(self) -> None:
        """Close the connection; the next work opens another."""
        with self._guard:
            connection, self._connection = self._connection, None
            if connection is not None:
                with suppress(sqlite3.Error):
                    connection.close()

    def _mended(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return work(self._open())
        except _ERRORS as error:
            code = _code(error)
            if code == sqlite3.SQLITE_BUSY:
                raise
            self.close()
            if code not in _DAMAGE:
                raise
            self.errors += 1
            in_use().errors += 1
            self._remove(f"damaged ({error})", aside=code == sqlite3.SQLITE_NOTADB)
        except _OtherVersionError as error:
            self._remove(str(error), aside=False)
        return work(self._open())

    def _open(self) -> sqlite3.Connection:
        """Return a connection to the file that is at the path now."""
        if self._connection is not None and self._file == _identity(self._path):
            return self._connection
        self.close()
        _make_file(self._path)
        self._file = _identity(self._path)
        connection = sqlite3.connect(
            self._path, self._busy_s, isolation_level=None, check_same_thread=False
        )
        try:
            _prepare(connection, self._path)
            _keep_private(self._path)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _remove(self, reason: str, *, aside: bool) -> None:
        if self._file != _identity(self._path):
            return  # another process has made it anew
        _log.warning("cache: %s is %s: made anew", self._path, reason)
        for suffix in (*_BESIDE, ""):
            with suppress(FileNotFoundError):
                if aside:
                    os.replace(self._path + suffix, f"{self._path}.aside{suffix}")
                else:
                    os.remove(self._path + suffix)


class _OtherVersionError(CacheError):
    """The file was made by another version of this module."""


def _make_file(path: str) -> None:
    """Make the file if there is none."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    # Only when there is none: to close any descriptor of a file drops the process's locks on it.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    if not os.path.isfile(path):
        raise CacheError(f"cache: {path} is not a file")


def _keep_private(path: str) -> None:
    """Let nobody else read the file or what lies beside it."""
    for suffix in ("", *_BESIDE):
        with suppress(FileNotFoundError):
            os.chmod(path + suffix, 0o600)


def _prepare(connection: sqlite3.Connection, path: str) -> None:
    """Check the schema, or make it in an empty file, and set the connection up."""
    if _is_empty(connection):
        with connection:
            connection.execute("BEGIN EXCLUSIVE")
            if _is_empty(connection):  # still: another process may have been faster
                for statement in _SCHEMA:
                    connection.execute(statement)
    if _number(connection, "PRAGMA application_id") != _APPLICATION:
        raise CacheError(f"cache: {path} is the database of another program")
    version = _number(connection, "PRAGMA user_version")
    if version != VERSION:
        raise _OtherVersionError(f"of schema version {version}, not {VERSION}")
    for statement in _SETTINGS:
        connection.execute(statement)


def _is_empty(connection: sqlite3.Connection) -> bool:
    return _number(connection, "SELECT count(*) FROM sqlite_master") == 0


def _number(connection: sqlite3.Connection, query: str) -> int:
    (number,) = connection.execute(query).fetchone()
    return int(number)


def _code(error: sqlite3.Error | UnicodeDecodeError) -> int:
    """Return SQLite's primary code of an error; 0 for one of the module's own."""
    if isinstance(error, UnicodeDecodeError):
        return sqlite3.SQLITE_CORRUPT
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _identity(path: str) -> tuple[int, int] | None:
    """Return what tells the file at a path from another that takes its place."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
