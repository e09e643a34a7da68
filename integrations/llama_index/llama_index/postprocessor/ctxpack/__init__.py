"""ctxpack for LlamaIndex: verbatim sentences that answer the query, inside a token budget."""

from llama_index.postprocessor.ctxpack.base import CtxPackPostprocessor

__all__ = ["CtxPackPostprocessor"]
