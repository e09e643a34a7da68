from __future__ import annotations

import time
from types import MappingProxyType
from typing import Any

import pytest

from ctxpack import Passage, Pipeline
from ctxpack.cache.memory import MemoryCache
from ctxpack.scoring.base import ConfiguredScorer, languages_of
from ctxpack.scoring.batching import BatchingScorer
from ctxpack.scoring.cached import CachedScorer
from ctxpack.scoring.language_gate import FALLBACK, choose, is_english

GERMAN = "Die Bibliothek schließt samstags um vier Uhr. Zeitschriften darf niemand ausleihen."
ENGLISH = "The library closes at four on Saturdays. Nobody may take magazines home."
OTHERS = {
    "de": GERMAN,
    "fr": "La bibliothèque ferme à quatre heures le samedi. Les revues ne sortent pas.",
    "es": "La biblioteca cierra los sábados por la tarde. Las revistas no se prestan nunca.",
    "nl": "De bibliotheek sluit op zaterdag om vier uur. Tijdschriften mag je niet lenen.",
    "vi": "Thư viện đóng cửa lúc bốn giờ chiều thứ bảy. Không ai được mượn tạp chí.",
    "ru": "Библиотека закрывается в субботу в четыре часа. Журналы на дом не выдают.",
    "ja": "図書館は土曜日の四時に閉まります。雑誌は誰も借りられません。",
    "ar": "تغلق المكتبة يوم السبت الساعة الرابعة. لا يجوز لأحد استعارة المجلات.",
}
ENGLISH_KINDS = {
    "names": "Guests: Anna Lindqvist, Juan Carlos Ortega and Yuki Tanaka of the Oslo office.",
    "foreign words": "The word Schadenfreude, like déjà vu, has no equivalent, linguists say.",
    "medicine": "Patients with fibrillation were given rivaroxaban, and the bleeding stopped.",
    "law": "The Licensee shall indemnify the Licensor, mutatis mutandis, save for negligence.",
    "code": "def read(path):\n    with open(path) as file:\n        return file.read()\n",
    "table": "| Model | Price | Stock |\n|---|---|---|\n| X200 | 19.99 | 12 |\n",
    "numbers": "2026-01-02 17:00 42",
    "nothing": "",
}


class English(ConfiguredScorer):
    name = "english"
    pointwise = True
    operating_points = MappingProxyType({"faithful": 0.0, "balanced": 0.6, "aggressive": 0.9})
    languages = frozenset({"en"})

    def score(self, query: str, passages: Any) -> Any:
        raise AssertionError("the lexical scorer must be asked")


@pytest.mark.parametrize("language", OTHERS)
def test_other_languages_do_not_read_as_english(language: str) -> None:
    """Two sentences of another language are enough, in Latin script too."""
    assert not is_english([OTHERS[language]])


@pytest.mark.parametrize("kind", ENGLISH_KINDS)
def test_unusual_english_reads_as_english(kind: str) -> None:
    """Names, terms, code and tables are no other language, and nothing is none either."""
    assert is_english([ENGLISH_KINDS[kind]])


@pytest.mark.parametrize("query", ["refund policy", "Rihanna", "reset pasword", "X200 stock?"])
def test_short_queries_read_as_english(query: str) -> None:
    """A few unknown words in a query of keywords prove nothing."""
    assert is_english([query])


def test_query_and_passages_must_both_be_english() -> None:
    """A call in two languages goes to the lexical scorer, whichever half is not English."""
    calls = [("When does it close?", GERMAN), ("Wann schließt die Bibliothek?", ENGLISH)]
    for query, text in calls:
        assert choose(English(), query, [text], language="auto").scorer is FALLBACK
    assert choose(English(), "When does it close?", [ENGLISH], language="auto").note is None


def test_one_foreign_passage_among_many_changes_nothing() -> None:
    """The sample is judged as a whole."""
    assert is_english([*[ENGLISH] * 9, GERMAN])
    assert not is_english([*[GERMAN] * 9, ENGLISH])


def test_a_named_language_decides_without_the_text() -> None:
    """A recipe that says its language is believed."""
    assert choose(English(), "Wann?", [GERMAN], language="en-GB").note is None
    chosen = choose(English(), "When?", [ENGLISH], language="de")
    assert chosen.note == "scorer: lexical, because english does not know 'de'"


def test_a_scorer_of_any_language_gets_every_call() -> None:
    """Only a scorer that declares its languages is kept from others."""
    assert choose(FALLBACK, "Wann?", [GERMAN], language="de") == (FALLBACK, None)


def test_wrapped_scorers_know_the_same_languages() -> None:
    """A cache or a queue around a scorer does not make it know more."""
    for wrapped in (CachedScorer(English(), MemoryCache()), BatchingScorer(English())):
        assert languages_of(wrapped) == {"en"}


def test_a_call_in_another_language_is_scored_by_words() -> None:
    """The result is that of the lexical scorer, with its own thresholds, and the report says so."""
    steps = ["score", {"prune": "balanced"}]
    passages = [Passage(GERMAN), Passage("Die Mensa öffnet um elf Uhr.")]
    gated = Pipeline.from_recipe({"scorer": English(), "steps": steps})
    plain = Pipeline.from_recipe({"scorer": "lexical", "steps": steps})
    query = "Wann schließt die Bibliothek am Samstag?"
    packed = gated.compress(query, passages)
    assert packed.text == plain.compress(query, passages).text
    assert packed.report["notes"] == ["scorer: lexical, because query or passages are not English"]


def test_a_call_in_another_language_has_no_second_hop() -> None:
    """The lexical scorer hops by itself; evidence behind its query would be more words to match."""
    passages = [Passage(GERMAN), Passage("Die Mensa öffnet um elf Uhr.")]
    scores = [
        [span["score"] for span in packed.report["details"] or ()]
        for steps in (["score"], ["score", "hops"])
        for packed in [
            Pipeline.from_recipe({"scorer": English(), "steps": steps}).compress(
                "Wann schließt die Bibliothek?", passages, details=True
            )
        ]
    ]
    assert scores[0] == scores[1]


def test_the_gate_is_quick() -> None:
    """Twenty long passages are judged in well under a millisecond, from a sample."""
    texts = [ENGLISH * 100] * 20
    is_english(texts)
    times = []
    for _ in range(20):
        started = time.perf_counter()
        is_english(texts)
        times.append(time.perf_counter() - started)
    assert min(times) < 0.001
