"""Whether a call is in English, for scorers that know nothing else, and which scorer it gets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from ctxpack.scoring.base import Scorer, languages_of, name_of
from ctxpack.scoring.lexical import Lexical
from ctxpack.scoring.mixed import Mixed
from ctxpack.tokens.approximate import vocabulary

FALLBACK = Lexical()
"""Scores what the scorer of a recipe does not know the language of."""

_SHARE, _MARGIN = 0.2, 1.5
"""Text reads as English while its strange words outnumber its English function words by at most
this share of all words and this many more.

A word is strange that the model's vocabulary does not hold whole, and counts twice if it has a
letter outside ASCII. English lists names and terms, but between function words; other languages
share whole words with it (`in`, `die`, `war`), but few. The margin is for queries of keywords.
Measured by ``ctxpack bench languages``; docs/benchmarks.md has the numbers.
"""

_SAMPLE_PASSAGES = 16
_SAMPLE_CHARACTERS = 1600
_PASSAGE_CHARACTERS = 400
_WORD = re.compile(r"[^\W\d_]+")
_FUNCTION_WORDS = """
a about after all also an and are as at be because been before but by can could did do does for from
get had has have he her his how i if in into is it its may might more most much my no not of on one
only or other our out s she should so some such t than that the their them then there these they
this those through to under up was we were what when where which while who whose why will with would
you your
"""
_ENGLISH = frozenset(_FUNCTION_WORDS.split())


class Chosen(NamedTuple):
    """The scorer of a call, and a note for its report when it is not the recipe's."""

    scorer: Scorer
    note: str | None = None


def choose(scorer: Scorer, query: str, texts: Sequence[str], *, language: str) -> Chosen:
    """Return the scorer for a call: `scorer`, or `FALLBACK` if it does not know the language.

    Args:
        scorer: the recipe's.
        query: of the call.
        texts: of its passages.
        language: an ISO 639-1 code decides alone. Under ``auto`` and ``mixed`` only English is
            told from the rest, so a scorer that knows another language, too, gets every call. Under
            ``mixed``, passages that are not English do not take the others along.
    """
    known = languages_of(scorer)
    if known is None:
        return Chosen(scorer)
    code = language.partition("-")[0].lower()
    if code not in ("auto", "mixed"):
        reason = f"{name_of(scorer)} does not know {code!r}"
        return Chosen(scorer) if code in known else _fallback(reason)
    if known != {"en"}:
        return Chosen(scorer)
    if code == "mixed" and is_english([query]):
        n_english = sum(map(reads_as_english, texts))
        if 0 < n_english < len(texts):
            others = f"{len(texts) - n_english} of {len(texts)} passages"
            mixed = Mixed(scorer, FALLBACK, knows=reads_as_english)
            return Chosen(mixed, f"scorer: {FALLBACK.name} for {others}, which are not English")
    if is_english([query]) and is_english(texts):
        return Chosen(scorer)
    return _fallback("query or passages are not English")


def _fallback(reason: str) -> Chosen:
    return Chosen(FALLBACK, f"scorer: {FALLBACK.name}, because {reason}")


def reads_as_english(text: str) -> bool:
    """Return `is_english` of one passage of many, by less of it."""
    return is_english([text[:_PASSAGE_CHARACTERS]])


def is_english(texts: Sequence[str]) -> bool:
    """Return whether a sample of `texts` reads as English; True where it has no word to tell by.

    The sample is the beginning of at most 16 texts, 1600 characters in all.
    """
    step = max(1, -(-len(texts) // _SAMPLE_PASSAGES))
    sampled = texts[::step]
    length = _SAMPLE_CHARACTERS // max(1, len(sampled))
    words = [word for text in sampled for word in _WORD.findall(text[:length].lower())]
    strange = sum(word not in _whole_words() for word in words)
    strange += sum(not word.isascii() for word in words)
    function = sum(word in _ENGLISH for word in words)
    return strange - function <= _SHARE * len(words) + _MARGIN


@cache
def _whole_words() -> frozenset[str]:
    """Return the English letters-only entries of the bundled vocabulary."""
    return frozenset(word for word in vocabulary().ids if word.isascii() and word.isalpha())
