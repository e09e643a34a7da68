"""Caches from URLs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import ctxpack.cache
from ctxpack.cache import open_cache
from ctxpack.errors import CacheError, MissingExtraError


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("memory:", "MemoryCache(256000000)"),
        ("memory:?max_bytes=1000", "MemoryCache(1000)"),
        ("memory:?max_bytes=256MB", "MemoryCache(256000000)"),
        ("memory:?max_bytes=1.5kib", "MemoryCache(1536)"),
        ("Memory:?max_bytes=2GB", "MemoryCache(2000000000)"),
        ("sqlite:////var/a.db?max_bytes=2GB&ttl_s=60", "SQLiteCache('/var/a.db')"),
        ("sqlite:////var/a%20b%3F.db", "SQLiteCache('/var/a b?.db')"),
        ("sqlite:///~/a.db", "SQLiteCache('/me/a.db')"),
        ("sqlite:///b/a.db?timeout_ms=50", "SQLiteCache('/here/b/a.db')"),
    ],
)
def test_urls_name_caches(url: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each URL gives the cache that it names, and touches nothing."""
    monkeypatch.setattr("os.getcwd", lambda: "/here")
    monkeypatch.setenv("HOME", "/me")
    assert repr(open_cache(url)) == shown


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("memory:?size=1", "memory: unknown option 'size'; it has max_bytes"),
        ("memory:?max_bytes=", "`max_bytes` must be a number of bytes such as 256MB, got ''"),
        ("memory:?max_bytes=-1", "`max_bytes` must be a number of bytes such as 256MB, got '-1'"),
        ("memory:?max_bytes=2XB", "`max_bytes` must be a number of bytes such as 256MB, got '2XB'"),
        ("memory:?max_bytes=" + "9" * 400, "`max_bytes` must be a number of bytes such as 256MB"),
        ("memory:?max_bytes=0", "`max_bytes` must be >= 1, got 0"),
        ("memory:256MB", "a memory URL is memory:?max_bytes=256MB, got 'memory:256MB'"),
        ("sqlite:///a.db?ttl_s=day", "`ttl_s` must be a number, got 'day'"),
        ("sqlite:///a.db?ttl_s=0", "`ttl_s` must be above 0 and finite, got 0.0"),
        (
            "sqlite:///a.db?timeout_ms=nan",
            "`timeout_ms` must be above 0 and at most an hour, got nan",
        ),
        ("sqlite:///a.db?max_bytes=9", "`max_bytes` must be >= 100000, got 9"),
        ("sqlite:///a%00.db", "`path` must be a path of a file"),
        ("sqlite:///a\ud800.db", "`path` must be a path of a file"),
        ("sqlite:///a.db?ttl=9", "unknown option 'ttl'; it has max_bytes, ttl_s, timeout_ms"),
    ],
)
def test_wrong_options_are_refused(url: str, message: str) -> None:
    """The message names option, rule and value."""
    with pytest.raises(CacheError) as error:
        open_cache(url)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "url",
    ["sqlite:", "sqlite:a.db", "sqlite:/a.db", "sqlite://a.db", "sqlite:///", "sqlite:///a#b"],
)
def test_a_sqlite_url_has_three_or_four_slashes(url: str) -> None:
    """Whoever forgets one is not given a file at an unexpected place."""
    with pytest.raises(CacheError, match=r"a SQLite URL is sqlite:///relative"):
        open_cache(url)


def test_an_unknown_scheme_lists_the_known_ones() -> None:
    """The message shows the scheme alone: the rest may hold a password."""
    with pytest.raises(
        CacheError, match=r"one of memory:, sqlite:, redis:, .* got 'mongo'"
    ) as error:
        open_cache("mongo://user:hunter2@host")
    assert "hunter2" not in str(error.value)


def test_namespaces_reach_the_store(tmp_path: Path) -> None:
    """What one namespace keeps, another does not see."""
    one, two = (open_cache(f"sqlite:///{tmp_path}/a.db", namespace=name) for name in "12")
    one.put_many({bytes(32): b"one"})
    assert (one.get_many([bytes(32)]), two.get_many([bytes(32)])) == ([b"one"], [None])
    one.close()
    two.close()


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package `redis` the message has the line that installs it."""
    monkeypatch.delitem(sys.modules, "ctxpack.cache.redis", raising=False)
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(MissingExtraError, match=r'pip install "ctxpack-rag\[redis\]"'):
        open_cache("redis://localhost")


def test_the_package_imports_no_store() -> None:
    """Importing `ctxpack.cache`, or opening another cache, loads neither sqlite3 nor redis."""
    code = (
        "import sys, ctxpack.cache\n"
        "ctxpack.cache.open_cache('memory:')\n"
        "assert not {'sqlite3', 'redis'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_is_there() -> None:
    """What `__all__` names is importable, and nothing else is made up."""
    assert [getattr(ctxpack.cache, name).__name__ for name in ctxpack.cache.__all__] == (
        ctxpack.cache.__all__
    )
    with pytest.raises(AttributeError, match="no attribute 'FileCache'"):
        _ = ctxpack.cache.FileCache
