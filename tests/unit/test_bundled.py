"""The bundled model: verified files, one number for a passage whatever stands beside it."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from ctxpack.errors import ModelError, RecipeError
from ctxpack.recipes import read_scorer
from ctxpack.scoring import bundled
from ctxpack.scoring.base import PassageScores
from ctxpack.scoring.bundled import Swift
from ctxpack.scoring.manifest import MODELS, Manifest
from ctxpack.scoring.swift import NAME, SwiftModel
from ctxpack.selection import Passage, SplitPassage, unsplit
from ctxpack.sentences import split

QUERY = "Who designed the lighthouse at Cape Arden?"
TEXTS = (
    "The lighthouse at Cape Arden was designed by Ida Holm. It was lit in 1871.",
    "Oats are sown in spring. They are cut in August, before the rain.",
    "!!!! ???? zzzzqqqq 0000000000 \ufffd\ufffd ((((((((((((((((",
    "",
    "Ships passed the cape by night. " * 60,
)


def passages(*texts: str) -> list[SplitPassage]:
    """Return texts as scorers take them."""
    return [SplitPassage(Passage(text), split(text)) for text in texts]


def key(scores: PassageScores) -> tuple[float, bytes]:
    """Return what must be equal to the byte."""
    return scores.relevance, scores.spans.tobytes()


@pytest.fixture(scope="module")
def together() -> list[PassageScores]:
    """Return the scores of all texts in one call."""
    return Swift().score(QUERY, passages(*TEXTS))


def test_answer_scores_above_the_rest(together: list[PassageScores]) -> None:
    """The sentence that answers has the highest score of all spans."""
    best = max(part.spans.max(initial=0) for part in together)
    assert together[0].spans[0] == best
    assert together[0].relevance > together[1].relevance


@pytest.mark.parametrize("number", range(len(TEXTS)))
def test_alone_equals_beside_others(together: list[PassageScores], number: int) -> None:
    """A passage's bytes do not depend on its neighbours, an outlier among them."""
    (alone,) = Swift().score(QUERY, passages(TEXTS[number]))
    assert key(alone) == key(together[number])


def test_encoding_does_not_know_its_place(together: list[PassageScores]) -> None:
    """The same sentences further back in a passage have the same encoding."""
    scorer = Swift()
    (short,) = scorer.segments(passages(TEXTS[0]))[0]
    assert scorer.encode([short]) == scorer.encode([short._replace(first=7)])


def test_cuts_are_remembered() -> None:
    """A passage that was cut once is cut without its tokens."""
    scorer = Swift()
    (first,) = scorer.segments(passages(TEXTS[4]))
    model = scorer._shared.get()
    pieces, model.pieces = model.pieces, None  # type: ignore[assignment]
    try:
        assert scorer.segments(passages(TEXTS[4])) == [first]
    finally:
        model.pieces = pieces
    assert len(first) == 2


def test_encoding_takes_at_most_160_bytes_a_token() -> None:
    """The bound that caches are planned with, header included from twenty tokens on."""
    text = TEXTS[0]
    scorer = Swift()
    (encoding,) = scorer.encode(scorer.segments(passages(text))[0])
    assert len(encoding) <= 160 * (len(text.split()) + 4)


def test_fingerprint_is_the_same_in_another_process() -> None:
    """Processes that share a store find each other's entries."""
    code = "from ctxpack.scoring.bundled import Swift; print(Swift().fingerprint.hex())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == Swift().fingerprint.hex()


def test_fingerprint_needs_no_package_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The version of `onnxruntime` is found whatever package it came in."""

    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", missing)
    bundled._libraries.cache_clear()
    assert f"onnxruntime {onnxruntime.__version__}" in bundled._libraries()


@pytest.mark.parametrize("text", ["  ", "\u200b" * 300, "\ud800"])
def test_text_of_no_token_scores_zero(text: str) -> None:
    """White space and characters that are not read are not relevant."""
    (scores,) = Swift().score(QUERY, [unsplit(Passage(text, title="Arden"))])
    assert key(scores) == (0.0, bytes(4))


def test_text_without_a_token_scores_zero(together: list[PassageScores]) -> None:
    """Nothing to read is not relevant."""
    assert together[3].relevance == 0.0
    assert together[3].spans.shape == (0,)


def test_every_span_of_a_long_passage_is_scored(together: list[PassageScores]) -> None:
    """A passage of several segments has a score for each span."""
    assert together[4].spans.shape == (60,)
    assert (together[4].spans > 0).all()


def test_damaged_file_is_refused(tmp_path: Path) -> None:
    """A model file that is not the one of the manifest is never run."""
    shutil.copytree(MODELS, tmp_path / "models")
    manifest = Manifest.load(NAME)
    (tmp_path / "models" / manifest.head).write_bytes(b"other")
    with pytest.raises(ModelError, match=r"head\.onnx' must have SHA-256"):
        SwiftModel(manifest, models=tmp_path / "models")


def test_file_that_the_manifest_does_not_list_is_refused() -> None:
    """A file without a sum is never run; the message lists those that have one."""
    manifest = Manifest.load(NAME)
    files = {manifest.head: manifest.files[manifest.head]}
    with pytest.raises(
        ModelError,
        match=r"ctxpack-swift: `files` .* must list 'tokenizer\.json', got \['ctxpack-sw",
    ):
        SwiftModel(manifest.model_copy(update={"files": files}))


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Return a directory with the bundled model, but other thresholds and another calibration."""
    shutil.copytree(MODELS, tmp_path / "models")
    path = tmp_path / "models" / NAME / "manifest.json"
    manifest = Manifest.load(NAME)
    calibration = manifest.calibration.model_copy(update={"evidence": (1.0, 0.0)})
    update = {"operating_points": {"balanced": 0.5}, "calibration": calibration}
    path.write_text(manifest.model_copy(update=update).model_dump_json())
    return tmp_path / "models"


def test_model_by_path_has_its_own_calibration(together: list[PassageScores], other: Path) -> None:
    """Its thresholds and probabilities are those of its manifest, in a copy too."""
    scorer = pickle.loads(pickle.dumps(Swift(path=str(other))))
    (scores,) = scorer.score(QUERY, passages(TEXTS[0]))
    assert scorer.operating_points == {"balanced": 0.5}
    assert scores.relevance == together[0].relevance
    assert (scores.spans != together[0].spans).all()


def test_models_never_share_a_cache(other: Path) -> None:
    """What one model computed is not found by another; where a model lies is nothing to it."""
    assert Swift(path=str(other)).fingerprint != Swift().fingerprint
    assert Swift(path=str(MODELS)).fingerprint == Swift().fingerprint


def test_recipe_names_a_model_by_path(other: Path) -> None:
    """The option survives being written and read; a directory without a model is refused."""
    scorer = read_scorer({NAME: {"path": str(other)}}, where="test")
    assert scorer == Swift(path=str(other))
    with pytest.raises(RecipeError, match=r"`path` must be a directory of `ctxpack train`"):
        read_scorer({NAME: {"path": str(other / "no")}}, where="test")


def test_head_that_asks_for_more_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    """A model of a later version raises when it is loaded, not when it scores."""
    monkeypatch.setattr("ctxpack.scoring.model.HEAD_INPUTS", frozenset({"query"}))
    with pytest.raises(ModelError, match=r"head\.onnx' asks for 'codes'"):
        SwiftModel(Manifest.load(NAME))


def test_missing_manifest_is_a_model_error(tmp_path: Path) -> None:
    """A package without the model says so."""
    with pytest.raises(ModelError, match="ctxpack-swift: no manifest"):
        Manifest.load(NAME, models=tmp_path)


def test_provider_that_is_not_there_is_refused() -> None:
    """A wish for a device is not answered by another one in silence."""
    scorer = read_scorer({NAME: {"providers": ["AbacusExecutionProvider"]}}, where="test")
    with pytest.raises(
        ModelError, match=r"no 'AbacusExecutionProvider' in this onnxruntime: .*CPU"
    ):
        scorer.warm_up()
    assert scorer.fingerprint != Swift().fingerprint


def test_operating_points_fall_with_caution() -> None:
    """More recall takes a lower threshold."""
    points = Swift.operating_points
    assert 0 < points["faithful"] < points["balanced"] < points["aggressive"] < 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # fork in a process with threads
def test_child_process_scores_the_same(together: list[PassageScores]) -> None:
    """After a fork the child loads its own model and gets the same bytes."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        (alone,) = Swift().score(QUERY, passages(TEXTS[0]))
        os.write(writing, alone.spans.tobytes())
        os._exit(0)
    os.wait()
    assert os.read(reading, 10_000) == together[0].spans.tobytes()


def test_import_loads_neither_torch_nor_onnxruntime() -> None:
    """The model is loaded on first use, and never with torch."""
    code = (
        "import sys; from ctxpack.scoring.bundled import Swift; Swift();"
        "print({'torch', 'onnxruntime', 'tokenizers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_close_releases_and_a_later_call_loads_again(together: list[PassageScores]) -> None:
    """A closed scorer still works."""
    scorer = Swift()
    scorer.warm_up()
    scorer.close()
    np.testing.assert_array_equal(
        scorer.score(QUERY, passages(TEXTS[0]))[0].spans, together[0].spans
    )
