"""Sealed values: what a store keeps under a key, so that damage, forgery and mix-ups are misses.

    value = magic, version, tier, cost, payload length │ payload │ tag over key + all before it

A sealed value is 30 bytes longer than its payload.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from hashlib import blake2b
from hmac import compare_digest

from ctxpack.cache.base import Tier
from ctxpack.cache.keys import derived

_HEADER = struct.Struct("<4sBBfI")
_MAGIC = b"ctxv"
_VERSION = 1
_TIERS: dict[Tier, int] = {"encoding": 1, "scores": 2}
_TAG_BYTES = 16


@dataclass(frozen=True, slots=True)
class Sealed:
    """What a sealed value holds.

    Args:
        payload: the bytes that were sealed.
        cost_ms: how long computing them took, in milliseconds, as float32.
    """

    payload: bytes
    cost_ms: float


def seal(key: bytes, payload: bytes, *, tier: Tier, cost_ms: float, secret: bytes | None) -> bytes:
    """Return the value to store under `key`; only `unseal` with the same arguments reads it.

    Args:
        key: where the value will be stored.
        payload: below 4 GiB.
        tier: of the payload.
        cost_ms: how long computing the payload took, in milliseconds.
        secret: at least 16 bytes authenticate the value; None: the tag tells damage, not forgery.

    Raises:
        CacheError: the secret is shorter.
    """
    header = _HEADER.pack(_MAGIC, _VERSION, _TIERS[tier], cost_ms, len(payload))
    return b"".join((header, payload, _tag(key, header, payload, secret)))


def unseal(key: bytes, value: bytes, *, tier: Tier, secret: bytes | None) -> Sealed | None:
    """Return what was sealed under `key`.

    None: the value is damaged, or was sealed for another key, tier or version, or with another
    secret.
    """
    header = value[: _HEADER.size]
    payload = value[_HEADER.size : -_TAG_BYTES]
    if len(value) != _HEADER.size + len(payload) + _TAG_BYTES:
        return None
    magic, version, tier_code, cost_ms, n_bytes = _HEADER.unpack(header)
    if (magic, version, tier_code, n_bytes) != (_MAGIC, _VERSION, _TIERS[tier], len(payload)):
        return None
    if not compare_digest(value[-_TAG_BYTES:], _tag(key, header, payload, secret)):
        return None
    return Sealed(payload, cost_ms)


def _tag(key: bytes, header: bytes, payload: bytes, secret: bytes | None) -> bytes:
    tag = blake2b(key, digest_size=_TAG_BYTES, key=derived(secret, b"ctxpack values"))
    tag.update(header)
    tag.update(payload)
    return tag.digest()
