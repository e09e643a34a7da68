"""A query engine over an index, without ctxpack and with it.

Runs offline: a model that answers with its prompt stands where yours goes, and hashed words where
your embeddings go.
Needs: pip install llama-index-postprocessor-ctxpack
"""

from __future__ import annotations

import re
import sys
import zlib

from llama_index.core import VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.llms import MockLLM
from llama_index.core.schema import Document
from llama_index.postprocessor.ctxpack import CtxPackNodeParser, CtxPackPostprocessor

QUESTION = "At which hour does the archive lend the harbour maps?"
TEXTS = {
    "maps": "The archive keeps four hundred harbour maps. The oldest is of 1644, on vellum. The"
    " archive lends the harbour maps from nine to eleven, against a deposit. Copies are made in"
    " the cellar. A copy takes three days. Coloured copies cost twice as much.",
    "rooms": "The reading room of the archive has twelve desks. Lamps are at every desk. Bags stay"
    " in the lockers. Pencils are lent, pens are not. Water is allowed in closed bottles.",
    "harbour": "The harbour was dredged in 1911. Ships of six metres can enter at high water. The"
    " harbour office is on the north quay. Its clock is five minutes fast. Gulls nest on the roof.",
    "letters": "The archive has the letters of three mayors. One of them wrote every day. Most"
    " letters are about the price of fish. The letters are read on film. Bring a coat.",
    "visits": "Guided visits of the archive are on Saturdays. Groups have at most ten people. The"
    " guide shows maps, seals and one sword. Children may hold the seals. Nobody may hold the"
    " sword.",
}


class HashedWords(BaseEmbedding):
    """Stands for an embedding model: counts words in 256 bins."""

    def _get_text_embedding(self, text: str) -> list[float]:
        counts = [0.0] * 256
        for word in re.findall(r"\w{4,}", text.lower()):
            counts[zlib.crc32(word.encode()) % 256] += 1
        return counts

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


def main() -> list[str]:
    """Return the answers without ctxpack and with it."""
    model = MockLLM()  # answers with its prompt; or: OpenAI(model="gpt-5-mini")
    index = VectorStoreIndex.from_documents(
        [Document(id_=name, text=text, metadata={"page": name}) for name, text in TEXTS.items()],
        transformations=[CtxPackNodeParser(chunk_size=128)],
        embed_model=HashedWords(),
    )
    answers = []
    for postprocessors in ([], [CtxPackPostprocessor(budget=60)]):
        engine = index.as_query_engine(
            llm=model, similarity_top_k=4, node_postprocessors=postprocessors
        )
        answers.append(str(engine.query(QUESTION)))
    return answers


if __name__ == "__main__":
    sys.stdout.write("\n\n=====\n\n".join(main()) + "\n")
