"""Check an environment that has the three wheels and nothing else of ours."""

import importlib.util
import sys
from importlib.resources import files
from pathlib import Path

from langchain_core.documents import Document
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.postprocessor.ctxpack import CtxPackPostprocessor

import ctxpack
from langchain_ctxpack import CtxPackCompressor

QUERY = "When was the harbour bridge opened?"
TEXT = "The old harbour bridge was opened in 1932. Painting it takes a crew of twelve people."

assert Path(ctxpack.__file__).is_relative_to(sys.prefix), ctxpack.__file__
assert importlib.util.find_spec("torch") is None

package = files("ctxpack")
assert (package / "py.typed").is_file()
assert any(path.name.endswith(".md") for path in (package / "samples").iterdir())
recipes = [path.name.removesuffix(".yaml") for path in (package / "_recipes").iterdir()]
assert {"aggressive", "balanced", "faithful", "lexical", "rerank-only"} <= set(recipes), recipes
for name in recipes:
    packed = ctxpack.Pipeline.from_recipe(name).compress(QUERY, [TEXT], budget=32)
    assert "1932" in packed.text, (name, packed)
    assert packed.token_count <= 32, (name, packed)

documents = [Document(TEXT, id="a")]
kept = CtxPackCompressor(recipe="balanced", budget=32).compress_documents(documents, QUERY)
assert "1932" in kept[0].page_content, kept
assert kept[0].id == "a", kept

nodes = [NodeWithScore(node=TextNode(id_="a", text=TEXT), score=0.5)]
found = CtxPackPostprocessor(recipe="balanced", budget=32).postprocess_nodes(nodes, query_str=QUERY)
assert "1932" in found[0].node.get_content(), found
assert found[0].node.node_id == "a", found

assert "torch" not in sys.modules
