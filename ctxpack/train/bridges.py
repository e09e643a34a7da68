"""Bridged records: questions of two hops, made of questions of one.

A question that names the passage which answers it loses that name, and gets words of another
passage that mentions it: that passage is needed first, to know what the question is about. The
method is that of multi-hop question composition (Trivedi et al., "MuSiQue", 2022), without its
rewriting by hand: the description is a run of the mention's words, not a sentence.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple
from zlib import crc32

import numpy as np

from ctxpack.selection import Passage, Span
from ctxpack.train.collection import NO_ANSWER
from ctxpack.train.records import Candidate, Record, normalised

MIN_LETTERS = 6
"""Of a name of one word: shorter ones are too often words of the language."""
AROUND = (6, 50)
"""Fewest and most words beside the name in a sentence that describes it."""
MAX_COMMAS = 4
"""Of such a sentence: a list tells its members not apart."""
RUN = (6, 12)
"""Fewest and most words that are taken of that sentence."""
TITLED = 0.8
"""Share of descriptions that begin with the title of their passage."""
DROPPED = 0.3
"""Share of a run's words that are left out."""
MAX_MENTIONS = 40
"""Of a name: few passages describe what is spoken of more often."""
MIN_TELLING = 4
"""Fewest words of over three letters in a description."""
MAX_USES = 12
"""Questions that one mention is used for, lest it be learnt by heart."""
MAX_WORDS = 50
"""Of a bridged query."""
MAX_NEGATIVES = 6
"""Candidates that a bridged record takes over from each of the two records it is made of."""
_KEY = re.compile(r"\w+")
_WORD = re.compile(r"\w(?:\S*\w)?")

Name = tuple[str, ...]


class _Hop(NamedTuple):
    """A question of one hop: its data set, its record, the passage that answers, and its name."""

    dataset: str
    record: Record
    gold: Candidate
    name: Name


class _Mention(NamedTuple):
    """A sentence that holds a name.

    Args:
        record: the first that has the passage.
        candidate: the passage.
        span: of the passage, which is the sentence.
        start: first character of the name in the passage's text.
        end: one past its last character.
    """

    record: Record
    candidate: Candidate
    span: Span
    start: int
    end: int


def bridged(
    records: Mapping[str, Sequence[Record]], *, per_question: int, seed: int
) -> Iterator[Record]:
    """Yield the bridged records that can be made, in the order of the data sets' names.

    Args:
        records: data set → its training records.
        per_question: most records that are made of one question.
        seed: of which passages a question is bridged with, and of the words that are taken.
    """
    hops = [
        hop
        for dataset in sorted(records)
        for record in records[dataset]
        if (hop := _single_hop(dataset, record)) is not None
    ]
    mentions = _mentions([record for name in sorted(records) for record in records[name]], hops)
    uses: Counter[tuple[Name, int]] = Counter()
    for hop in hops:
        key = f"{hop.dataset}\n{hop.record.id}\n{hop.record.query}"
        rng = np.random.default_rng([seed, crc32(key.encode("utf-8", "surrogatepass"))])
        there = mentions.get(hop.name, [])
        made = 0
        for i in rng.permutation(len(there)).tolist():
            if made == per_question:
                break
            query = None if uses[hop.name, i] == MAX_USES else _asked(hop, there[i], rng)
            if query is not None:
                made += 1
                uses[hop.name, i] += 1
                yield _record(hop, there[i], query)._replace(id=f"{hop.record.id}+{made}")


def _single_hop(dataset: str, record: Record) -> _Hop | None:
    """Return the question if one passage answers it and the query names that passage."""
    gold = [candidate for candidate in record.candidates if candidate.gold]
    if not record.has_spans or len(gold) != 1 or not gold[0].evidence:
        return None
    name = _name(gold[0])
    if len(name) < 2 and len("".join(name)) < MIN_LETTERS:
        return None
    if not _holds(_keys(record.query), name):
        return None
    return _Hop(dataset, record, gold[0], name)


def _is_word(passage: Passage) -> bool:
    """Return whether a passage writes its title in lower case: ``"Energy"``, ``"Periodic table"``.

    What is no proper name is mentioned without being described.
    """
    word = re.escape(_bare(passage.title or "").lower())
    return re.search(rf"(?<!\w){word}s?(?!\w)", passage.text) is not None


def _mentions(records: Sequence[Record], hops: Sequence[_Hop]) -> dict[Name, list[_Mention]]:
    """Return where the names of `hops` stand in passages of other titles."""
    names = {hop.name for hop in hops}
    written: defaultdict[Name, set[str]] = defaultdict(set)
    passages: dict[tuple[str, str], tuple[Record, Candidate]] = {}
    for record in records:
        for candidate in record.candidates:
            title = candidate.passage.title or ""
            passages.setdefault((title, candidate.passage.text), (record, candidate))
            name = _name(candidate)
            written[name].add(title)
            if name in names and _is_word(candidate.passage):
                names.remove(name)
    # Of two titles that share a name either may be meant.
    names = {name for name in names if len(written[name]) == 1}
    lengths: defaultdict[str, set[int]] = defaultdict(set)
    for name in sorted(names):
        lengths[name[0]].add(len(name))
    found: defaultdict[Name, list[_Mention]] = defaultdict(list)
    for record, candidate in passages.values():
        own = _keys(candidate.passage.title or "")
        for name, mention in _named(record, candidate, lengths):
            clear = name in names and not _holds(own, name)
            if clear and _means(mention, min(written[name])):
                found[name].append(mention)
    return {name: there for name, there in found.items() if len(there) <= MAX_MENTIONS}


def _named(
    record: Record, candidate: Candidate, lengths: Mapping[str, set[int]]
) -> Iterator[tuple[Name, _Mention]]:
    """Yield runs of words that may be names, each at most once a passage."""
    text = candidate.passage.text
    seen: set[Name] = set()
    for span in candidate.spans:
        words = list(_KEY.finditer(text, span.start, span.end))
        keys = tuple(word.group().lower() for word in words)
        for at, key in enumerate(keys):
            for n in lengths.get(key, ()):
                name = keys[at : at + n]
                in_range = AROUND[0] <= len(keys) - n <= AROUND[1]
                if len(name) == n and name not in seen and in_range:
                    seen.add(name)
                    ends = words[at].start(), words[at + n - 1].end()
                    yield name, _Mention(record, candidate, span, *ends)


def _means(mention: _Mention, title: str) -> bool:
    """Return whether a mention is of what a title is of.

    It is written as the title is, and no part of a longer name; and what sets the title apart from
    others of that name is said: ``"film"`` of ``"Up (2009 film)"``.
    """
    text, bare = mention.candidate.passage.text, _bare(title)
    apart = _keys(title[len(bare) :])[-1:]
    if not _holds(_keys(text[mention.span.start : mention.span.end]), apart):
        return False
    if text.count(",", mention.span.start, mention.span.end) > MAX_COMMAS:
        return False
    written, wanted = _KEY.findall(text[mention.start : mention.end]), _KEY.findall(bare)
    if len(wanted) > 1:
        written[0], wanted[0] = written[0].lower(), wanted[0].lower()
    before = re.search(r"(\w)\w*(?: of(?: the)?)?[ -]$", text[mention.span.start : mention.start])
    after = re.match(r"[ -](\w)", text[mention.end : mention.span.end])
    if after and not after[1].islower():
        return False
    # The first word of a sentence has a capital without being a name.
    if before and before.start() and before[1].isupper():
        return False
    return written == wanted


def _asked(hop: _Hop, mention: _Mention, rng: np.random.Generator) -> str | None:
    """Return the question with a description in place of the name, or None if that would not do.

    The passage may answer, the words may tell little, or the name may stand there still.
    """
    if _answers(hop.record, mention.candidate):
        return None
    words = _description(hop.name, mention, rng)
    if not _is_telling(words):
        return None
    name = r"\W+".join(map(re.escape, hop.name))
    pattern = rf"(?<!\w)(?:the\W+)?{name}(?!\w)"
    query = re.sub(pattern, lambda _: " ".join(words), hop.record.query, count=1, flags=re.I)
    if _holds(_keys(query), hop.name) or len(query.split()) > MAX_WORDS:
        return None
    return query


def _description(name: Name, mention: _Mention, rng: np.random.Generator) -> list[str]:
    """Return the title of a mention's passage, or not, and some words from both sides of a name."""
    text, own = mention.candidate.passage.text, {key for key in name if len(key) > 3}
    sides = text[mention.span.start : mention.start], text[mention.end : mention.span.end]
    before, after = (
        [word for word in _WORD.findall(side) if own.isdisjoint(_keys(word))] for side in sides
    )
    n = min(int(rng.integers(RUN[0], RUN[1] + 1)), len(before) + len(after))
    n_before = int(rng.integers(max(0, n - len(after)), min(n, len(before)) + 1))
    run = before[len(before) - n_before :] + after[: n - n_before]
    title = _bare(mention.candidate.passage.title or "").split()
    heard = title if rng.random() < TITLED else []
    heard = heard + [word for word in run if rng.random() >= DROPPED]
    return heard if _is_telling(heard) else title + run


def _is_telling(words: Sequence[str]) -> bool:
    return sum(len(word) > 3 for word in words) >= MIN_TELLING


def _record(hop: _Hop, mention: _Mention, query: str) -> Record:
    """Return the record that asks `query` of the passages of both records."""
    first = mention.candidate._replace(
        gold=True, evidence=((mention.span.start, mention.span.end),), grade=0
    )
    chosen = {_text(hop.gold): hop.gold, _text(first): first}
    for record in (hop.record, mention.record):
        others = [
            candidate
            for candidate in record.candidates
            if not candidate.gold
            and _name(candidate) != hop.name
            and not _answers(hop.record, candidate)
        ]
        for candidate in others[:MAX_NEGATIVES]:
            chosen.setdefault(_text(candidate), candidate)
    return hop.record._replace(query=query, any_of=False, candidates=tuple(chosen.values()))


def _answers(record: Record, candidate: Candidate) -> bool:
    """Return whether an answer stands in a passage or its title, or its title in an answer."""
    passage, title = candidate.passage, _name(candidate)
    texts = _keys(passage.title or ""), _keys(passage.text)
    answers = [_keys(answer) for answer in record.answers if normalised(answer) not in NO_ANSWER]
    return any(
        any(_holds(text, answer) for text in texts) or (title and _holds(answer, title))
        for answer in answers
    )


def _name(candidate: Candidate) -> Name:
    return _keys(_bare(candidate.passage.title or ""))


def _bare(title: str) -> str:
    """Return a title without what it ends on in parentheses: ``"Up (film)"`` → ``"Up"``."""
    return re.sub(r"\s*\([^()]*\)\s*$", "", title)


def _keys(text: str) -> Name:
    return tuple(normalised(text).split())


def _holds(keys: Name, name: Name) -> bool:
    """Return whether `keys` hold a name, or anything if it is empty."""
    return not name or f" {' '.join(name)} " in f" {' '.join(keys)} "


def _text(candidate: Candidate) -> tuple[str, str]:
    return candidate.passage.title or "", candidate.passage.text
