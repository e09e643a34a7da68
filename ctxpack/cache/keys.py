"""Keys of segment caches: 32 bytes that say all that a stored value depends on, and no text."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b

from ctxpack.cache.base import Tier
from ctxpack.errors import CacheError

KEY_BYTES = 32
SECRET_BYTES = 16
_FORMAT = b"1"


@dataclass(frozen=True, slots=True)
class Keys:
    """Makes the keys of one namespace.

    A key is BLAKE2b over the format of this module, the tier, the namespace, the scorer's
    fingerprint, the query if there is one, and the segment, each with its length before it: no two
    different inputs share a key.

    Args:
        namespace: keeps caches apart that share a store.
        secret: at least 16 bytes; then keys are keyed hashes, which nobody can compute from a text
            without the secret. None: anybody who has a text can ask whether a store knows it.

    Raises:
        CacheError: the secret is shorter.
    """

    namespace: str
    secret: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        derived(self.secret, b"")

    def encoding(self, fingerprint: bytes, segment: bytes) -> bytes:
        """Return the key of a segment's encoding; `segment` is `framed` of what the model sees."""
        return self._key("encoding", fingerprint, segment)

    def scores(self, fingerprint: bytes, query: str, segment: bytes) -> bytes:
        """Return the key of a segment's scores for a query; `segment` as in `encoding`."""
        return self._key("scores", fingerprint, query.encode("utf-8", "surrogatepass"), segment)

    def _key(self, tier: Tier, *fields: bytes) -> bytes:
        namespace = self.namespace.encode("utf-8", "surrogatepass")
        content = framed(_FORMAT, tier.encode(), namespace, *fields)
        key = derived(self.secret, b"ctxpack keys")
        return blake2b(content, digest_size=KEY_BYTES, key=key).digest()


def framed(*fields: bytes) -> bytes:
    """Return fields joined, each after its length in 8 bytes, so that no two splits are equal.

    ``framed(b"ab", b"c") != framed(b"a", b"bc")``.
    """
    return b"".join(part for one in fields for part in (len(one).to_bytes(8, "little"), one))


def derived(secret: bytes | None, purpose: bytes) -> bytes:
    """Return the BLAKE2b key that a secret gives for a purpose (at most 16 bytes); none for None.

    Raises:
        CacheError: the secret is shorter than 16 bytes.
    """
    if secret is None:
        return b""
    if len(secret) < SECRET_BYTES:
        raise CacheError(f"cache: `secret` must have at least 16 bytes, got {len(secret)}")
    return blake2b(secret, person=purpose).digest()
