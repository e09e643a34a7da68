from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from ctxpack.selection import Passage, Span, SplitPassage
from ctxpack.stages.rerank import Rerank


def test_orders_by_score(make, call_for) -> None:
    """The best passage comes first, and by default all stay."""
    selection = make("A. ", "B. ", "C. ", scores=[[0.2], [0.9], [0.5]])
    after = Rerank()(selection, call_for(selection))
    assert after.order == (1, 2, 0)
    assert after.kept.all()


def test_ties_keep_their_order(make, call_for) -> None:
    """Passages with equal scores stay in the order they had."""
    selection = make("A. ", "B. ", "C. ", scores=[[0.5]] * 3).reorder([2, 0, 1])
    assert Rerank()(selection, call_for(selection)).order == (2, 0, 1)


def test_keeps_the_best(make, call_for) -> None:
    """Passages beyond `top_k` go, and the record says why."""
    selection = make("A. ", "B. ", "C. ", scores=[[0.2], [0.9], [0.5]])
    after = Rerank(top_k=2)(selection, call_for(selection))
    assert after.dropped() == ((0, 0, 3, "rerank", "below_top_k", None),)


def test_drops_low_scores(make, call_for) -> None:
    """A passage below `threshold` goes, also when it is beyond `top_k`; one on it stays."""
    selection = make("A. ", "B. ", "C. ", scores=[[0.2], [0.3], [0.1]])
    after = Rerank(top_k=2, threshold=0.3)(selection, call_for(selection))
    assert [drop[0::4] for drop in after.dropped()] == [
        (0, "below_threshold"),
        (2, "below_threshold"),
    ]


def test_dropped_passages_do_not_count(make, call_for) -> None:
    """A passage without a kept span takes no place among the best."""
    selection = make("A. ", "B. ", "C. ", scores=[[0.2], [0.9], [0.5]])
    selection = selection.drop(np.array([0, 1, 0], dtype=bool), stage="test", reason="test")
    assert Rerank(top_k=1)(selection, call_for(selection)).kept_passages() == (2,)


def test_leaves_the_retrieval_score_alone(make, call_for) -> None:
    """The score that a passage came with is neither read nor changed."""
    split = [
        SplitPassage(Passage(text, score=s), (Span(0, 1),)) for text, s in (("A", 9), ("B", 1))
    ]
    selection = make(*split, scores=[[0.1], [0.2]])
    after = Rerank()(selection, call_for(selection))
    assert after.order == (1, 0)
    assert [passage.score for passage in after.passages] == [9, 1]


@pytest.mark.parametrize("options", [{"top_k": 0}, {"top_k": 2.0}, {"threshold": 1.1}, {"top": 3}])
def test_refuses_wrong_options(options) -> None:
    """`top_k` is a whole number above 0, `threshold` in [0, 1], and there is no other option."""
    with pytest.raises(ValidationError):
        Rerank(**options)
