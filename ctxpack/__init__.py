"""Query and passages in, the smallest verbatim context inside a token budget out."""

import importlib
import typing

from ctxpack import errors

if typing.TYPE_CHECKING:
    from ctxpack.evidence import Evidence, PackedPassage
    from ctxpack.packed import PackedContext
    from ctxpack.pipeline import Pipeline
    from ctxpack.render import Layout
    from ctxpack.scoring.base import Scorer
    from ctxpack.selection import Passage, Selection, Span
    from ctxpack.stages.base import Stage
    from ctxpack.tokens import TokenCounter

__all__ = [
    "Evidence",
    "Layout",
    "PackedContext",
    "PackedPassage",
    "Passage",
    "Pipeline",
    "Scorer",
    "Selection",
    "Span",
    "Stage",
    "TokenCounter",
    "errors",
]
__version__ = "0.1.0"

_MODULES = {
    "Evidence": "ctxpack.evidence",
    "Layout": "ctxpack.render",
    "PackedContext": "ctxpack.packed",
    "PackedPassage": "ctxpack.evidence",
    "Passage": "ctxpack.selection",
    "Pipeline": "ctxpack.pipeline",
    "Scorer": "ctxpack.scoring.base",
    "Selection": "ctxpack.selection",
    "Span": "ctxpack.selection",
    "Stage": "ctxpack.stages.base",
    "TokenCounter": "ctxpack.tokens",
}


def __getattr__(name: str) -> typing.Any:
    """Import a public name on first use: numpy and pydantic take most of what an import costs."""
    if name not in _MODULES:
        raise AttributeError(f"module 'ctxpack' has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
