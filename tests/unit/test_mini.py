"""The joint model: what it shares with the other one, and what only it does."""

from __future__ import annotations

from pathlib import Path

import pytest

from ctxpack.scoring.base import EVIDENCE_MARK, extended, has_segments
from ctxpack.scoring.bundled import BUNDLED, Mini, Swift
from ctxpack.scoring.manifest import Manifest
from ctxpack.selection import Passage, SplitPassage
from ctxpack.sentences import split

QUERY = "Who designed the lighthouse at Cape Arden?"
TEXT = "The lighthouse at Cape Arden was designed by Ida Holm. It was lit in 1871."


def passage(text: str) -> SplitPassage:
    """Return a text as scorers take it."""
    return SplitPassage(Passage(text), split(text))


@pytest.fixture
def mini() -> Mini:
    """Return the scorer."""
    return Mini()


def test_lower_layers_are_loaded_once(mini: Mini) -> None:
    """The models of a process share a session for the file that is the same."""
    one, other = mini._shared.get(), Swift()._shared.get()
    assert one._lower is other._lower
    assert one._upper is not other._upper


def test_closing_one_model_leaves_the_other_its_layers(mini: Mini) -> None:
    """A session that they share lives as long as one of them."""
    lower = mini._shared.get()._lower
    Swift().warm_up()
    mini.close()
    assert Swift()._shared.get()._lower is lower


def test_models_of_one_version_are_two(tmp_path: Path) -> None:
    """The name of a model tells it from the others of its directory, whatever their versions."""
    for name in BUNDLED:
        (tmp_path / name).mkdir()
        manifest = Manifest.load(name).model_copy(update={"version": "1"})
        (tmp_path / name / "manifest.json").write_text(manifest.model_dump_json())
    one, other = (scorer(path=str(tmp_path)) for scorer in BUNDLED.values())
    assert one._shared is not other._shared


def test_nothing_of_a_passage_can_be_stored(mini: Mini) -> None:
    """It has no encodings, so a cache keeps its scores alone."""
    assert not has_segments(mini)


def test_every_span_of_a_long_passage_is_scored(mini: Mini) -> None:
    """A passage of several segments has a score for each span."""
    (scores,) = mini.score(QUERY, [passage("Ships passed the cape by night. " * 60)])
    assert scores.spans.shape == (60,)
    assert (scores.spans > 0).all()


@pytest.mark.parametrize("text", ["", "  ", "\u200b" * 300])
def test_text_without_a_token_scores_zero(mini: Mini, text: str) -> None:
    """Nothing to read is not relevant."""
    (scores,) = mini.score(QUERY, [passage(text)])
    assert scores.relevance == 0
    assert not scores.spans.any()


def test_evidence_is_not_read_as_a_question(mini: Mini) -> None:
    """What was found so far changes the scores, and not as the same words in the question do."""
    evidence = "Ida Holm was born in Marr."
    asked = extended(QUERY, [evidence])
    calls = [QUERY, asked, asked.replace(EVIDENCE_MARK, " ")]
    found = {mini.score(query, [passage(TEXT)])[0].spans.tobytes() for query in calls}
    assert len(found) == 3


def test_models_never_share_a_cache(mini: Mini) -> None:
    """The same query and passage have other keys."""
    assert mini.fingerprint != Swift().fingerprint
