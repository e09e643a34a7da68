"""Losses of one batch: rankings and probabilities of passages and of spans, and what is taught."""

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
        labels: (n,) 1 for relevant or evidence, else 0; or a teacher's logits, see `agreement`.
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
    table, positive = _tables(scored, len(any_of), 0)
    n_positive = positive.sum(1)
    negatives = table.masked_fill(positive > 0, NEVER).logsumexp(1, keepdim=True)
    positives = table.masked_fill(positive == 0, NEVER).logsumexp(1, keepdim=True)
    together = torch.logaddexp(positives, negatives) - positives
    apart = (torch.logaddexp(table, negatives) - table) * positive
    apart = apart.sum(1) / n_positive.clamp(min=1)
    loss = torch.where(any_of, together.squeeze(1), apart)[n_positive > 0]
    return loss.mean() if len(loss) else scored.logits.sum() * 0


def agreement(scored: Scored, n_questions: int) -> Tensor:
    """Return how far the ranking of each query's items is from the one that a teacher gives them.

    The Kullback-Leibler divergence of the softmax over a query's items, a mean over the queries
    that have any.

    Args:
        scored: items of all queries; their labels are the teacher's logits.
        n_questions: queries in the batch.
    """
    own, taught = _tables(scored, n_questions, NEVER)
    there = (taught > NEVER).any(1)
    if not there.any():
        return scored.logits.sum() * 0
    return functional.kl_div(
        own[there].log_softmax(-1),
        taught[there].log_softmax(-1),
        reduction="batchmean",
        log_target=True,
    )


def _tables(scored: Scored, n_questions: int, unlabelled: float) -> tuple[Tensor, Tensor]:
    """Return logits and labels, (n_questions, most items of one).

    Where a query has no more items a logit is `NEVER` and a label `unlabelled`.
    """
    order = torch.argsort(scored.question, stable=True)
    question, logits, labels = (part[order] for part in scored)
    counts = torch.bincount(question, minlength=n_questions)
    rank = torch.arange(len(question)) - (counts.cumsum(0) - counts)[question]
    shape = n_questions, int(counts.max())
    table = logits.new_full(shape, NEVER).index_put((question, rank), logits)
    return table, logits.new_full(shape, unlabelled).index_put((question, rank), labels)


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
