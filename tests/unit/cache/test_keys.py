"""What keys depend on."""

from __future__ import annotations

from itertools import combinations, product

import pytest

from ctxpack.cache.keys import KEY_BYTES, Keys, framed
from ctxpack.errors import CacheError

SECRET = b"0123456789abcdef"
PLAIN = "f20fae25570487da399c4329c35a38dda712285b893a399f79d2350ec53bb7e4"
KEYED = "21f0e965b161807116580d3eae21115c33b6c8250be989c006bcc6f8a81b48c4"


def test_a_key_is_32_bytes_and_the_same_in_every_process() -> None:
    """The keys of this format are pinned: a store filled by one release serves the next."""
    assert len(Keys("default").encoding(b"model", b"segment")) == KEY_BYTES
    assert Keys("default").encoding(b"model", b"segment").hex() == PLAIN
    assert Keys("default", SECRET).scores(b"model", "query", b"segment").hex() == KEYED


def test_every_field_changes_the_key() -> None:
    """Tier, namespace, secret, fingerprint, query and segment each give another key."""
    keys = set()
    for namespace, secret in product(("a", "b"), (None, SECRET, SECRET[::-1])):
        made = Keys(namespace, secret)
        for fingerprint, segment in product((b"1", b"2"), (b"x", b"y")):
            keys.add(made.encoding(fingerprint, segment))
            keys.update(made.scores(fingerprint, query, segment) for query in ("", "q", "r"))
    assert len(keys) == 2 * 3 * 2 * 2 * (1 + 3)


def test_no_two_splits_of_the_same_bytes_share_a_key() -> None:
    """Where one field ends and the next begins is part of the key."""
    text = "aaaaaaaa"
    keys = [
        Keys(text[:one]).scores(text[one:two].encode(), text[two:three], text[three:].encode())
        for one, two, three in combinations(range(len(text) + 1), 3)
    ]
    assert len(set(keys)) == len(keys)


def test_a_frame_within_a_field_is_no_frame() -> None:
    """A field that looks like framed fields does not collide with those fields."""
    assert framed(framed(b"a", b"b")) != framed(b"a", b"b")
    assert framed(b"a", b"") != framed(b"a")


def test_lone_surrogates_have_keys() -> None:
    """A query that no encoding holds has a key of its own."""
    keys = Keys("\udc00")
    assert keys.scores(b"", "\ud800", b"") != keys.scores(b"", "?", b"")


def test_a_short_secret_is_refused() -> None:
    """A secret that could be guessed is refused, and the message does not show it."""
    with pytest.raises(CacheError, match="`secret` must have at least 16 bytes, got 6") as error:
        Keys("default", b"hunter")
    assert "hunter" not in str(error.value)


def test_a_secret_is_not_shown() -> None:
    """The repr, which ends up in logs, has no secret."""
    assert repr(Keys("default", SECRET)) == "Keys(namespace='default')"
