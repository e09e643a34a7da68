from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from ctxpack.stages.order import Order

SCORES = [[0.3], [0.9], [0.1], [0.9], [0.5]]
TEXTS = ("A. ", "B. ", "C. ", "D. ", "E. ")


@pytest.mark.parametrize(
    ("by", "order"),
    [("document", (0, 1, 2, 3, 4)), ("score", (1, 3, 4, 0, 2)), ("edges", (1, 4, 2, 0, 3))],
)
def test_orders(make, call_for, by, order) -> None:
    """By input, by score with ties by position, or the best at both edges."""
    selection = make(*TEXTS, scores=SCORES).reorder([4, 3, 2, 1, 0])
    assert Order(by=by)(selection, call_for(selection)).order == order


def test_edges_counts_kept_passages_only(make, call_for) -> None:
    """A dropped passage takes no place at an edge."""
    selection = make(*TEXTS, scores=SCORES)
    dropped = np.array([0, 1, 0, 0, 0], dtype=bool)
    selection = selection.drop(dropped, stage="test", reason="test")
    assert Order(by="edges")(selection, call_for(selection)).kept_passages() == (3, 0, 2, 4)


@pytest.mark.parametrize(("by", "order"), [("score", (0, 1, 2)), ("edges", (0, 2, 1))])
def test_unscored_input_counts_as_best_first(make, call_for, by, order) -> None:
    """Without scores, the retriever's order stands for them."""
    selection = make("A. ", "B. ", "C. ")
    assert Order(by=by)(selection, call_for(selection)).order == order


def test_refuses_an_unknown_order() -> None:
    """There are three orders."""
    with pytest.raises(ValidationError, match="'document', 'score' or 'edges'"):
        Order(by="random")
