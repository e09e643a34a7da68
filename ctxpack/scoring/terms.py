"""What the lexical scorer compares: the terms of a query and of a text, in any script."""

from __future__ import annotations

import re
from operator import add

_PREFIX = 5

# Thai to Myanmar, Hangul, Khmer, kana and Han: scripts that write no spaces, and Korean, whose
# particles are glued to the words.
_UNSPACED = (
    "\u0e00-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
# Letters, digits and marks of all others. Not `\w`: it leaves out the vowel signs of Hindi, and
# the engine is five times slower on a class that mixes it with ranges.
_SPACED = (
    "0-9a-z\xaa\xb5\xba\xc0-\u0559\u0560-\u0588\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4-\u05c7"
    "\u05d0-\u05f2\u0610-\u061a\u0620-\u0669\u066e-\u06d3\u06d5-\u06ff\u0710-\u0963\u0966-\u0dff"
    "\u10a0-\u10ff\u1200-\u135f\u1369-\u177f\u1810-\u1fff\u200c\u200d\u2c00-\u2dff\ua000-\uabff"
    "\ufb00-\ufdff\ufe70-\ufefc\uff10-\uff19\uff41-\uff5a\U00010000-\U0001efff"
)
_unspaced = re.compile(f"[{_UNSPACED}]")
_words = re.compile(f"[{_SPACED}]+|[{_UNSPACED}]+")

_FUNCTION_WORDS = """
a about also an and are as at be been between but by can could did do does during for from had has
have her his how if in into is it its many may might much no not of on or s she should so t than
that the their them then there these they this those through to was we were what when where which
who whom whose why will with would you your
al como con cuál cuándo de del dónde el en es fue la las lo los para por qué quién se son su un una
y
au aux combien comment dans des du est et le les où par pour quand que quel quelle qui sont sur une
auf das dem den der die ein eine einer für im ist mit und vom von wann war warum was welche wer wie
wo wurde zu zum zur
che chi dei della di dove gli il nel non per quale quando sono
as com da das do dos em foi na no o onde os quem qual um uma
в где для до за из и как какая какие какой когда кто на не о от по с сколько что это
"""


def terms(text: str) -> list[str]:
    """Return the terms of `text`, in order: ``"Running 東京都"`` → ``["runni", "東京", "京都"]``.

    A word is the first five characters of its lower case, so that its inflected forms meet without
    a stemmer for each language. A run of a script that writes no spaces is its pairs of characters.

    Span BM25 keeps, of the evidence in ten training sets in English, 0.356 in 10 % of the tokens
    with whole words, 0.372 with five characters and 0.373 with an English stemmer; of that in nine
    other languages of XQuAD 0.748, 0.778 and 0.748.
    """
    words = _words.findall(text.lower())
    if _unspaced.search(text) is None:
        return [word[:_PREFIX] for word in words]
    return [term for word in words for term in _pairs(word)]


def _pairs(word: str) -> list[str]:
    """Return ``["東京", "京都"]`` of ``"東京都"``, and the prefix of a word of another script."""
    if _unspaced.match(word) is None:
        return [word[:_PREFIX]]
    return list(map(add, word, word[1:])) or [word]


FUNCTION_WORDS = frozenset(terms(_FUNCTION_WORDS))
"""The terms of words that say little about what is asked, in English, Spanish, French, German,
Italian, Portuguese and Russian. Elsewhere their frequency within the call alone tells."""
