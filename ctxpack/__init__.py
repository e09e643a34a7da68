"""Query and passages in, the smallest verbatim context inside a token budget out."""

from ctxpack import errors
from ctxpack.packed import Evidence, PackedContext, PackedPassage
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
