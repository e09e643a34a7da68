from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ctxpack.bench.languages import measure

TEXTS = {
    "en": ("When was the wall built?", "The wall was built in 1911. Boats leave at noon."),
    "de": ("Wann wurde die Mauer gebaut?", "Die Mauer wurde 1911 gebaut. Schiffe fahren mittags."),
}


def record(language: str) -> dict[str, Any]:
    """Return a record of one passage, whose first sentence is the evidence."""
    query, text = TEXTS[language]
    passage = {"title": "", "text": text, "evidence": [[0, text.index(".")]], "gold": True}
    kind = {"dataset": "walls", "lang": language, "span_kind": "answer", "answers": ["1911"]}
    return {"id": f"{language}-1", "query": query, "passages": [passage], **kind}


def test_every_language_is_judged_alone_and_with_english(tmp_path: Path) -> None:
    """Records with the same number in two languages are also asked across them."""
    path = tmp_path / "walls.jsonl"
    path.write_text("\n".join(json.dumps(record(language)) for language in TEXTS))
    measured = json.loads(json.dumps(measure([path], limit=40, scorers=())))
    assert measured["command"] == f"ctxpack bench languages {path} --limit=40 --gate-only"
    sets = measured["sets"]
    assert {name: row["sent_away"] for name, row in sets.items()} == {
        "walls: en": 0.0,
        "walls: de": 1.0,
        "walls: en query, de passages": 1.0,
        "walls: en query, passages in both, evidence in de": 1.0,
        "walls: de query, en passages": 1.0,
        "walls: en query, passages in both with de, evidence in en": 0.0,
    }
