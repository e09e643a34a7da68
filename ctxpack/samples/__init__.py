"""Pages of a made-up company, as a retriever might return them, and queries that they answer."""

from __future__ import annotations

from importlib.resources import files

from ctxpack.selection import Passage

QUERIES = (
    "What was the root cause of the late alarm notifications in March?",
    "Who approves a refund of 3,000 euros?",
    "How long does a T2 logger keep readings while its gateway is offline?",
    "Which command resets a gateway without losing waiting readings?",
)
"""Each is answered by one or two spans: prose, a table row, prose, a line of code."""


def passages() -> list[Passage]:
    """Return the pages in the order of their file names; the first line of a file is its title."""
    pages = (page for page in files(__name__).iterdir() if page.name.endswith(".md"))
    return [
        _passage(page.name.removesuffix(".md"), page.read_text(encoding="utf-8"))
        for page in sorted(pages, key=lambda page: page.name)
    ]


def _passage(name: str, page: str) -> Passage:
    title, _, text = page.partition("\n")
    return Passage(text.strip(), id=name, title=title.removeprefix("# "))
