"""What a recipe says of its cache."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict

from ctxpack.cache.base import Tier

TIERS: tuple[Tier, ...] = ("encoding", "scores")
NO_CACHE = "none"
_LOGIN = re.compile(r"(?<=://)[^/?#@\s'\"]*@")


class CacheOptions(BaseModel):
    """A cache as data; a secret is never in a recipe.

    Args:
        url: of the store, as `ctxpack.cache.opening.open_cache` takes it, or ``none``.
        namespace: keeps caches apart that share a store.
        tiers: what is stored: encodings of segments, scores of queries and segments, or both.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    url: str
    namespace: str = "default"
    tiers: tuple[Tier, ...] = TIERS


def without_password(text: str) -> str:
    """``cache: redis://user:word@host`` → ``cache: redis://host``."""
    return _LOGIN.sub("", text)
