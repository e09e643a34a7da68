"""Caches from URLs, which is how recipes, settings and commands name them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from ctxpack.cache.base import SegmentCache
from ctxpack.cache.options import without_password
from ctxpack.errors import CacheError, shown

_REDIS = ("redis", "rediss", "valkey", "valkeys")
_SCHEMES = ("memory", "sqlite", *_REDIS)
_UNITS = {
    "": 1,
    **{unit: 1000**power for power, unit in enumerate(("B", "KB", "MB", "GB", "TB"))},
    **{unit: 1024**power for power, unit in enumerate(("KIB", "MIB", "GIB", "TIB"), start=1)},
}


def open_cache(url: str, *, namespace: str = "default") -> SegmentCache:
    """Return the cache that a URL names; nothing is opened before the first use.

    Args:
        url: ``memory:?max_bytes=256MB``, ``sqlite:///relative.db``, ``sqlite:////absolute.db`` or
            ``sqlite:///~/of-home.db`` with ``?max_bytes=2GB&ttl_s=86400&timeout_ms=500``, or
            ``redis://host:6379/0?ttl_s=86400&timeout_ms=50`` (``rediss``, ``valkey``, ``valkeys``).
            Bytes are a whole number, or one with kB, MB, GB, KiB, MiB or GiB.
        namespace: keeps apart what shares a file or a server.

    Raises:
        CacheError: the scheme, the path, an option or its value is wrong.
        MissingExtraError: a Redis URL without the package ``redis``.
    """
    scheme = url.partition(":")[0].lower()
    if scheme in _REDIS:
        from ctxpack.cache.redis import RedisCache

        return RedisCache.from_url(url, namespace=namespace)
    if scheme == "memory":
        from ctxpack.cache.memory import MemoryCache

        if not re.fullmatch(r"memory:(\?.*)?", url, re.IGNORECASE):
            raise CacheError(f"cache: a memory URL is memory:?max_bytes=256MB, got {_shown(url)}")
        return MemoryCache(**_options(url, {"max_bytes": _byte_count}))
    if scheme == "sqlite":
        from ctxpack.cache.sqlite import SQLiteCache

        known = {"max_bytes": _byte_count, "ttl_s": _number, "timeout_ms": _number}
        return SQLiteCache(_path(url), namespace=namespace, **_options(url, known))
    # Only the scheme is shown: what follows may hold a password.
    raise CacheError(
        f"cache: a URL begins with one of {', '.join(f'{name}:' for name in _SCHEMES)},"
        f" got {shown(scheme)}"
    )


def _shown(url: str) -> str:
    return shown(without_password(url))


def _path(url: str) -> str:
    parts = urlsplit(url)
    if not re.match("sqlite:////?[^/?#]", url, re.IGNORECASE) or parts.fragment:
        raise CacheError(
            "cache: a SQLite URL is sqlite:///relative.db or sqlite:////absolute.db,"
            f" got {_shown(url)}"
        )
    return os.path.expanduser(unquote(parts.path[1:]))


def _options(url: str, known: Mapping[str, Callable[[str, str], Any]]) -> dict[str, Any]:
    """Return the options of a URL, each read by the function that `known` has for it."""
    parts = urlsplit(url)
    options = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in known:
            raise CacheError(
                f"cache: {parts.scheme}: unknown option {shown(name)}; it has {', '.join(known)}"
            )
        options[name] = known[name](name, value)
    return options


def _byte_count(name: str, text: str) -> int:
    """``256MB`` is 256000000, ``1KiB`` is 1024."""
    match = re.fullmatch(r"(\d{1,15}(?:\.\d+)?) ?([A-Za-z]*)", text, re.ASCII)
    if match is None or match[2].upper() not in _UNITS:
        raise CacheError(
            f"cache: `{name}` must be a number of bytes such as 256MB, got {shown(text)}"
        )
    return int(float(match[1]) * _UNITS[match[2].upper()])


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise CacheError(f"cache: `{name}` must be a number, got {shown(text)}") from None
