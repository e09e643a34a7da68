"""ctxpack for LangChain: verbatim sentences that answer the query, inside a token budget."""

from langchain_ctxpack.compressor import CtxPackCompressor

__all__ = ["CtxPackCompressor"]
