"""ctxpack for LangChain: verbatim sentences that answer the query, inside a token budget."""

from langchain_ctxpack.cited_context import CtxPackCitedContext
from langchain_ctxpack.compressor import CtxPackCompressor
from langchain_ctxpack.context import CtxPackContext
from langchain_ctxpack.transformer import CtxPackTransformer

__all__ = ["CtxPackCitedContext", "CtxPackCompressor", "CtxPackContext", "CtxPackTransformer"]
