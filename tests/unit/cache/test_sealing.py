"""What a sealed value survives, and what it does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctxpack.cache.sealing import Sealed, seal, unseal

KEY = bytes(range(32))
SECRET = b"0123456789abcdef"
SECRETS = pytest.mark.parametrize("secret", [None, SECRET], ids=["plain", "secret"])


@SECRETS
@pytest.mark.parametrize("payload", [b"", b"\x00", b"payload", bytes(5 << 20)], ids=len)
def test_what_is_sealed_is_unsealed(payload: bytes, secret: bytes | None) -> None:
    """Payload and cost come back; 30 bytes are added."""
    value = seal(KEY, payload, tier="encoding", cost_ms=2.5, secret=secret)
    assert unseal(KEY, value, tier="encoding", secret=secret) == Sealed(payload, 2.5)
    assert len(value) == len(payload) + 30


@SECRETS
def test_any_flipped_bit_is_a_miss(secret: bytes | None) -> None:
    """Header, payload or tag: one bit changed anywhere, and there is no value."""
    value = seal(KEY, b"payload", tier="encoding", cost_ms=1.0, secret=secret)
    for bit in range(8 * len(value)):
        damaged = (int.from_bytes(value) ^ (1 << bit)).to_bytes(len(value))
        assert unseal(KEY, damaged, tier="encoding", secret=secret) is None


@SECRETS
def test_any_cut_or_longer_value_is_a_miss(secret: bytes | None) -> None:
    """A value cut at any place, at either end, or with a byte more, is no value."""
    value = seal(KEY, b"payload", tier="scores", cost_ms=1.0, secret=secret)
    others = [value[:end] for end in range(len(value))]
    others += [value[start:] for start in range(1, len(value))]
    others += [value + b"\x00", b"\x00" + value, value + value]
    assert not any(unseal(KEY, other, tier="scores", secret=secret) for other in others)


@SECRETS
def test_a_value_of_another_key_is_a_miss(secret: bytes | None) -> None:
    """A value moved to another key is not taken for that key's."""
    value = seal(KEY, b"payload", tier="encoding", cost_ms=1.0, secret=secret)
    assert unseal(KEY[::-1], value, tier="encoding", secret=secret) is None


@SECRETS
def test_a_value_of_another_tier_is_a_miss(secret: bytes | None) -> None:
    """Scores are not taken for an encoding."""
    value = seal(KEY, b"payload", tier="scores", cost_ms=1.0, secret=secret)
    assert unseal(KEY, value, tier="encoding", secret=secret) is None


def test_a_value_of_another_secret_is_a_miss() -> None:
    """Who does not know the secret cannot make a value, and a secret does not read plain ones."""
    secrets = [None, SECRET, SECRET[::-1], SECRET + b"\x00"]
    for index, secret in enumerate(secrets):
        value = seal(KEY, b"payload", tier="encoding", cost_ms=1.0, secret=secret)
        read = [unseal(KEY, value, tier="encoding", secret=other) for other in secrets]
        assert [sealed is not None for sealed in read] == [n == index for n in range(len(secrets))]


@given(st.binary(max_size=80))
def test_foreign_bytes_are_a_miss(value: bytes) -> None:
    """Whatever else stands under the key is a miss and not an error."""
    assert unseal(KEY, value, tier="encoding", secret=None) is None
