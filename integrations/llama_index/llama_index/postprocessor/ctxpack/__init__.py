"""ctxpack for LlamaIndex: verbatim sentences that answer the query, inside a token budget."""

from llama_index.postprocessor.ctxpack.base import CtxPackPostprocessor
from llama_index.postprocessor.ctxpack.node_parser import CtxPackNodeParser
from llama_index.postprocessor.ctxpack.transform import CtxPackTransform

__all__ = ["CtxPackNodeParser", "CtxPackPostprocessor", "CtxPackTransform"]
