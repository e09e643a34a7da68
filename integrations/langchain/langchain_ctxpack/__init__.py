"""ctxpack for LangChain: verbatim sentences that answer the query, inside a token budget.

`CtxPackMiddleware` needs the extra ``agents`` and is imported when it is asked for.
"""

from typing import TYPE_CHECKING, Any

from langchain_ctxpack.cited_context import CtxPackCitedContext
from langchain_ctxpack.compressor import CtxPackCompressor
from langchain_ctxpack.context import CtxPackContext
from langchain_ctxpack.transformer import CtxPackTransformer

if TYPE_CHECKING:
    from langchain_ctxpack.middleware import CtxPackMiddleware

__all__ = [
    "CtxPackCitedContext",
    "CtxPackCompressor",
    "CtxPackContext",
    "CtxPackMiddleware",
    "CtxPackTransformer",
]


def __getattr__(name: str) -> Any:
    if name == "CtxPackMiddleware":
        from langchain_ctxpack.middleware import CtxPackMiddleware

        return CtxPackMiddleware
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
