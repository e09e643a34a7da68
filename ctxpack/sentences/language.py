"""Which language's rules a text is split by."""

from __future__ import annotations

import re
from collections import Counter

_CODES = """
aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da
de dv dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz
ia id ie ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln
lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi
pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti
tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
"""
ISO_639_1 = frozenset(_CODES.split())

_SAMPLE_CHARS = 1000

# (first, last, language): what to take a script for, by blocks of 128 characters.
_SCRIPTS = {
    block: language
    for first, last, language in (
        (6, 7, "el"),
        (8, 10, "ru"),
        (12, 14, "ar"),
        (18, 18, "hi"),
        (19, 19, "bn"),
        (20, 20, "pa"),
        (21, 21, "gu"),
        (23, 23, "ta"),
        (24, 24, "te"),
        (25, 25, "kn"),
        (26, 26, "ml"),
        (28, 28, "th"),
        (29, 29, "lo"),
        (30, 31, "bo"),
        (32, 32, "my"),
        (36, 38, "am"),
        (47, 47, "km"),
        (96, 97, "ja"),
        (98, 319, "zh"),
    )
    for block in range(first, last + 1)
}
_NOT_LATIN = re.compile("[^\0-\u036f\u1e00-\u1eff\u2000-\u303f]")

# German alone needs its own rules among the languages in Latin script: it writes ordinals with a
# full stop and nouns with a capital (`am 8. Februar`).
_GERMAN = (" und ", " der ", " das ", " ist ", " nicht ", " mit ", " von ", " wurde ", " ein ")


def guess_language(text: str) -> str:
    """Return the ISO 639-1 code of a language whose rules suit the script of `text`.

    ``"Он был."`` is ``"ru"``. The beginning of the text decides. Latin is ``en``, unless common
    words show that it is German.
    """
    sample = text[:_SAMPLE_CHARS]
    others = [] if sample.isascii() else _NOT_LATIN.findall(sample)
    if 3 * len(others) <= len(sample):
        return "de" if sum(word in sample for word in _GERMAN) >= 3 else "en"
    counts = Counter(_SCRIPTS.get(ord(character) >> 7, "en") for character in others)
    if counts["ja"]:  # Japanese has Chinese characters too, Chinese no kana
        counts["ja"] += counts["zh"]
    return counts.most_common(1)[0][0]
