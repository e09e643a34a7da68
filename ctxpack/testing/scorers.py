"""What every scorer must keep to."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ctxpack.scoring.base import PassageScores, Scorer
from ctxpack.selection import Passage, SplitPassage
from ctxpack.sentences import split
from ctxpack.testing.cases import CASES, Case, in_shuffled_order, split_case

OUTLIER = "0x7f 9.81e-4 ||||| \u200b\u200b €€€€ qwrtpsdfg " * 12


class ScorerContract:
    """Tests that every scorer passes; override `scorer`."""

    @pytest.fixture
    def scorer(self) -> Scorer:
        """Return the scorer under test."""
        raise NotImplementedError("override the `scorer` fixture")

    @pytest.fixture(params=[pytest.param(case, id=name) for name, case in CASES.items()])
    def case(self, request: pytest.FixtureRequest) -> Case:
        """Return the query and passages; tests of scores run on each case."""
        case: Case = request.param
        return case

    def test_gives_a_score_for_everything(self, scorer: Scorer, case: Case) -> None:
        """Every passage and every span has a finite score in [0, 1], spans in float32."""
        passages = split_case(case)
        results = scorer.score(case.query, passages)
        assert len(results) == len(passages)
        for result, passage in zip(results, passages, strict=True):
            assert 0 <= result.relevance <= 1
            assert result.spans.dtype == np.float32
            assert result.spans.shape == (len(passage.spans),)
            assert ((result.spans >= 0) & (result.spans <= 1)).all()

    def test_is_deterministic(self, scorer: Scorer, case: Case) -> None:
        """The same call gives the same bytes twice."""
        passages = split_case(case)
        first, second = (scores_key(scorer.score(case.query, passages)) for _ in range(2))
        assert first == second

    def test_many_calls_equal_single_ones(self, scorer: Scorer) -> None:
        """`score_many` gives what `score` gives, to the byte."""
        calls = [(case.query, split_case(case)) for case in CASES.values()]
        together = [scores_key(scores) for scores in scorer.score_many(calls)]
        assert together == [scores_key(scorer.score(query, passages)) for query, passages in calls]

    def test_serves_many_threads(self, scorer: Scorer) -> None:
        """Eight threads at once get what one gets alone."""
        calls = [(case.query, split_case(case)) for case in CASES.values()]
        alone = [scores_key(scorer.score(*call)) for call in calls]
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(lambda call: scores_key(scorer.score(*call)), calls)) == alone

    def test_pointwise_alone_equals_batched(self, scorer: Scorer, case: Case) -> None:
        """A passage's scores do not depend on the others of the call, to the byte."""
        if not scorer.pointwise:
            pytest.skip("looks at the whole call by design")
        passages = split_case(case)
        together = scorer.score(case.query, passages)
        alone = [scorer.score(case.query, [passage])[0] for passage in passages]
        assert scores_key(together) == scores_key(alone)

    def test_pointwise_beside_an_outlier(self, scorer: Scorer, case: Case) -> None:
        """Order and an unusual neighbour change no byte of a passage's scores."""
        if not scorer.pointwise:
            pytest.skip("looks at the whole call by design")
        passages = split_case(case)
        plain = scorer.score(case.query, passages)
        order = in_shuffled_order(len(passages))
        outlier = SplitPassage(Passage(OUTLIER), split(OUTLIER))
        shuffled = scorer.score(case.query, [outlier, *(passages[index] for index in order)])
        assert scores_key(shuffled[1:]) == scores_key([plain[index] for index in order])

    def test_pointwise_reads_text_title_and_spans(self, scorer: Scorer, case: Case) -> None:
        """Id, retrieval score and metadata change no byte: scores are kept without them."""
        if not scorer.pointwise:
            pytest.skip("is never cached")
        passages = split_case(case)
        labelled = [
            SplitPassage(
                Passage(one.text, title=one.title, id=f"id {n}", score=n, metadata={"n": n}), spans
            )
            for n, (one, spans) in enumerate(passages)
        ]
        found = scorer.score(case.query, labelled)
        assert scores_key(found) == scores_key(scorer.score(case.query, passages))

    def test_operating_points_are_in_order(self, scorer: Scorer) -> None:
        """Thresholds are in [0, 1] and rise from faithful to aggressive."""
        points = [scorer.operating_points[name] for name in ("faithful", "balanced", "aggressive")]
        assert points == sorted(points)
        assert 0 <= points[0] <= points[-1] <= 1

    def test_pickles(self, scorer: Scorer) -> None:
        """A scorer travels between processes and scores the same there."""
        call = (CASES["prose"].query, split_case(CASES["prose"]))
        copied: Scorer = pickle.loads(pickle.dumps(scorer))
        assert scores_key(copied.score(*call)) == scores_key(scorer.score(*call))

    def test_loads_again_after_close(self, scorer: Scorer) -> None:
        """A closed scorer still scores, and the same."""
        call = (CASES["prose"].query, split_case(CASES["prose"]))
        before = scores_key(scorer.score(*call))
        scorer.close()
        assert scores_key(scorer.score(*call)) == before


def scores_key(results: list[PassageScores]) -> list[tuple[float, bytes]]:
    """Return scores in a form that is equal when they are equal to the byte."""
    return [(float(result.relevance), result.spans.tobytes()) for result in results]
