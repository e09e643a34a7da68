"""A RAG chain over a FAISS index, without ctxpack and with it.

Runs offline: a recording model stands where yours goes, and hashed words where your embeddings go.
Needs: pip install langchain-ctxpack langchain-classic faiss-cpu
"""

from __future__ import annotations

import re
import sys
import zlib
from typing import Any

import faiss
import numpy as np
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel, FakeListChatModel
from langchain_core.messages import BaseMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnablePassthrough
from pydantic import ConfigDict, Field

from langchain_ctxpack import CtxPackCompressor

QUESTION = "How long does the battery of the logger last?"
TEXTS = {
    "battery": "The logger runs on one lithium cell. At one reading a minute the battery of the"
    " logger lasts 14 months. Cold shortens that: at minus 20 degrees expect nine. The cell is"
    " changed with a coin. Spent cells go back to the shop.",
    "storage": "The logger stores 40 000 readings. When the store is full the oldest reading goes."
    " Readings are copied by cable. A copy takes four seconds. The cable is in the box.",
    "alarms": "An alarm sounds when a reading leaves its limits. Limits are set by the office. The"
    " logger repeats the alarm every hour. A red lamp shows it too. One press stops the sound.",
    "warranty": "The logger has a warranty of two years. The battery is not part of it. Send the"
    " logger with its bill. Repairs take ten days. Postage is free.",
    "shipping": "Loggers travel by air in a box that is marked for lithium. The box holds six."
    " Ground carriers take twelve. Customs want the list of serial numbers. The list is on the"
    " lid.",
    "office": "The office opens at eight. Visitors sign in at the desk. The canteen serves lunch"
    " until two. Bicycles stand behind the house. The last bus leaves at seven.",
}


class RecordingModel(FakeListChatModel):
    """Stands for a chat model, and keeps the prompts it gets."""

    prompts: list[str] = Field(default_factory=list)

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        self.prompts.append(messages[-1].text)
        return super()._generate(messages, *args, **kwargs)


class HashedWords(Embeddings):
    """Stands for an embedding model: counts of words, hashed to 512 numbers."""

    def embed_query(self, text: str) -> list[float]:
        """Return a vector of length one."""
        vector = np.full(512, 1e-6)
        for word in re.findall(r"\w+", text.lower()):
            vector[zlib.crc32(word.encode()) % 512] += 1
        return (vector / np.linalg.norm(vector)).tolist()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return the vector of each text."""
        return [self.embed_query(text) for text in texts]


class FaissRetriever(BaseRetriever):
    """Finds the nearest documents of a FAISS index."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    documents: list[Document]
    embeddings: Embeddings
    k: int = 5
    index: Any = None

    def model_post_init(self, context: Any, /) -> None:
        """Build the index."""
        vectors = self.embeddings.embed_documents([d.page_content for d in self.documents])
        self.index = faiss.IndexFlatIP(len(vectors[0]))
        self.index.add(np.array(vectors, dtype=np.float32))

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        vector = np.array([self.embeddings.embed_query(query)], dtype=np.float32)
        _, found = self.index.search(vector, self.k)
        return [self.documents[number] for number in found[0]]


def answering(retriever: BaseRetriever, model: BaseChatModel) -> Runnable[str, str]:
    """Return a chain from a question to an answer."""
    prompt = ChatPromptTemplate.from_template(
        "Answer from the context alone.\n\n{context}\n\nQuestion: {question}"
    )
    context = retriever | (lambda documents: "\n\n".join(d.page_content for d in documents))
    inputs = {"context": context, "question": RunnablePassthrough()}
    return inputs | prompt | model | StrOutputParser()


def main() -> list[str]:
    """Return the prompts that the model got: with whole documents, and with packed ones."""
    model = RecordingModel(responses=["14 months."])  # or: init_chat_model("openai:gpt-5-mini")
    documents = [Document(text, id=id) for id, text in TEXTS.items()]
    retriever = FaissRetriever(documents=documents, embeddings=HashedWords())
    packing = ContextualCompressionRetriever(
        base_compressor=CtxPackCompressor(budget=80), base_retriever=retriever
    )
    for each in (retriever, packing):
        answering(each, model).invoke(QUESTION)
    return model.prompts


if __name__ == "__main__":
    sys.stdout.write("\n\n=====\n\n".join(main()) + "\n")
