"""Losses of one batch: two rankings and two probabilities, of passages and of spans."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

NEVER = -1e4
"""Logit of what does not compete."""


TEMPERATURE = 0.05
"""Of cosines: the base's hardly differ by more than 0.3 between passages on one subject."""


class Scored(NamedTuple):
    """Logits of some pairs of query and item, flat.

    Args:
        question: (n,) int64, index of the query in the batch.
        logits: (n,).
        labels: (n,) 1 for relevant or evidence, else 0.
    """

    question: Tensor
    logits: Tensor
    labels: Tensor


def ranking(scored: Scored, any_of: Tensor) -> Tensor:
    """Return the listwise softmax loss, a mean over queries that have a positive item.

    Where one positive is enough the loss is ``-log P(any of them)``; otherwise it is the mean over
    positives of ``-log P(this one against all negatives)``.

    Args:
        scored: items of all queries.
        any_of: (n_questions,) bool.
    """
    order = torch.argsort(scored.question, stable=True)
    question, logits, labels = (part[order] for part in scored)
    counts = torch.bincount(question, minlength=len(any_of))
    rank = torch.arange(len(question)) - (counts.cumsum(0) - counts)[question]
    table = logits.new_full((len(any_of), int(counts.max())), NEVER)
    table = table.index_put((question, rank), logits)
    positive = torch.zeros_like(table).index_put((question, rank), labels)
    n_positive = positive.sum(1)
    negatives = table.masked_fill(positive > 0, NEVER).logsumexp(1, keepdim=True)
    positives = table.masked_fill(positive == 0, NEVER).logsumexp(1, keepdim=True)
    together = torch.logaddexp(positives, negatives) - positives
    apart = (torch.logaddexp(table, negatives) - table) * positive
    apart = apart.sum(1) / n_positive.clamp(min=1)
    loss = torch.where(any_of, together.squeeze(1), apart)[n_positive > 0]
    return loss.mean() if len(loss) else logits.sum() * 0


def probability(scored: Scored, n_questions: int) -> Tensor:
    """Return the binary cross-entropy of all items, summed within a query, a mean over queries."""
    return (
        functional.binary_cross_entropy_with_logits(scored.logits, scored.labels, reduction="sum")
        / n_questions
    )


def distillation(own: Tensor, taught: Tensor) -> Tensor:
    """Return how far a model's ranking of the batch's units is from its teacher's.

    The Kullback-Leibler divergence of the softmax over units at `TEMPERATURE`, a mean over queries
    (Hinton et al., "Distilling the Knowledge in a Neural Network", 2015).

    Args:
        own: (n_questions, n_units) cosines of the model.
        taught: (n_questions, n_units) cosines of the teacher.
    """
    target = (taught / TEMPERATURE).log_softmax(-1)
    return functional.kl_div(
        (own / TEMPERATURE).log_softmax(-1), target, reduction="batchmean", log_target=True
    )
