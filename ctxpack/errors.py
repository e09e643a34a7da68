"""Every error that ctxpack raises.

    CtxpackError
    ├── InputError         (ValueError)    a query, a passage or an argument of a call breaks a rule
    ├── RecipeError        (ValueError)    a recipe, a stage or a scorer is configured wrongly
    ├── BudgetError        (ValueError)    pinned spans do not fit the budget
    ├── ModelError         (RuntimeError)  a model file is missing, damaged or of another version
    ├── CacheError         (RuntimeError)  a cache cannot be opened, read through or cleared
    ├── QueueError         (RuntimeError)  a call waited in vain for its turn at a shared scorer
    ├── ContractError      (RuntimeError)  a stage, scorer or counter broke one of the laws
    └── MissingExtraError  (ImportError)   an optional dependency is not installed

A message says where, which rule and which value:
``balanced.yaml: steps[2].prune: `threshold` must be in [0, 1], got 1.5``.
"""

from __future__ import annotations


def shown(value: object) -> str:
    """Return the repr of a value for a message, cut to 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


class CtxpackError(Exception):
    """Base of every error that ctxpack raises on purpose."""


class InputError(CtxpackError, ValueError):
    """A query, a passage or an argument of a call breaks a rule."""


class RecipeError(CtxpackError, ValueError):
    """A recipe, a stage or a scorer is configured wrongly."""


class BudgetError(CtxpackError, ValueError):
    """Pinned spans do not fit the budget, and the recipe says ``pin_overflow: raise``."""


class ModelError(CtxpackError, RuntimeError):
    """A model file is missing, damaged or of another version than its manifest says."""


class CacheError(CtxpackError, RuntimeError):
    """A cache cannot be opened, read through or cleared; a call of a pipeline never raises it."""


class QueueError(CtxpackError, RuntimeError):
    """A call waited in vain for its turn: for longer than it may, or the scorer was closed."""


class ContractError(CtxpackError, RuntimeError):
    """A stage, scorer, counter or layout broke one of the laws; the fault is in its code."""


class MissingExtraError(CtxpackError, ImportError):
    """An optional dependency is not installed; the message holds the ``pip install`` line."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f'{feature} needs an extra: pip install "ctxpack-rag[{extra}]"')
