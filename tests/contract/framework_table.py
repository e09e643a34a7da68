"""Print which laws the frameworks' own compressors keep, as a Markdown table.

``python tests/contract/framework_table.py``; models are stood in for by plain functions, so nothing
is downloaded and what fails is the compressor's doing. docs/framework-contract.md has the result.
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from typing import Any

import pytest

from ctxpack.bench import machine
from ctxpack.testing import (
    Budget,
    LangChainCompressorContract,
    LlamaIndexPostprocessorContract,
)
from ctxpack.tokens import counter_from

PACKAGES = (
    "ctxpack-rag",
    "langchain-core",
    "langchain-classic",
    "langchain-community",
    "langchain-text-splitters",
    "llama-index-core",
)
BUDGET = Budget(60, counter_from("approximate").count)


def embedding(text: str) -> list[float]:
    """Return how often each of 16 letters stands in a text, and 1."""
    return [1.0, *(float(text.lower().count(letter)) for letter in "abcdefghilmnorst")]


def overlap(query: str, text: str) -> float:
    """Return the share of the query's words that stand in a text."""
    words = set(query.lower().split())
    return len(words & set(text.lower().split())) / max(len(words), 1)


def langchain_embeddings() -> Any:
    """Return embeddings of LangChain that need no model."""
    from langchain_core.embeddings import Embeddings

    class Letters(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [embedding(text) for text in texts]

        def embed_query(self, text: str) -> list[float]:
            return embedding(text)

    return Letters()


def language_model(answer: Callable[[str], str]) -> Any:
    """Return a language model of LangChain whose answer is a function of the prompt."""
    from langchain_core.language_models.llms import LLM

    class Answering(LLM):
        @property
        def _llm_type(self) -> str:
            return "function"

        def _call(self, prompt: str, *args: Any, **kwargs: Any) -> str:
            return answer(prompt)

    return Answering()


def embeddings_filter() -> Any:
    """Keep the two nearest."""
    from langchain_classic.retrievers.document_compressors import EmbeddingsFilter

    return EmbeddingsFilter(embeddings=langchain_embeddings(), k=2)


def chain_extractor() -> Any:
    """Keep what a model says; the model repeats the first line."""
    from langchain_classic.retrievers.document_compressors import LLMChainExtractor

    def answer(prompt: str) -> str:
        return prompt.split("\n>>>\n")[1].partition("\n")[0]

    return LLMChainExtractor.from_llm(language_model(answer))


def chain_filter() -> Any:
    """Keep what a model says yes to; the model says yes."""
    from langchain_classic.retrievers.document_compressors import LLMChainFilter

    return LLMChainFilter.from_llm(language_model(lambda prompt: "YES"))


def cross_encoder_reranker() -> Any:
    """Keep the three with the most words of the query."""
    from langchain_classic.retrievers.document_compressors import CrossEncoderReranker
    from langchain_classic.retrievers.document_compressors.cross_encoder import BaseCrossEncoder

    class Overlap(BaseCrossEncoder):
        def score(self, text_pairs: list[tuple[str, str]]) -> list[float]:
            return [overlap(*pair) for pair in text_pairs]

    return CrossEncoderReranker(model=Overlap())


def compressor_pipeline() -> Any:
    """Split, drop what is redundant, keep the nearest: the pipeline of the framework's guide."""
    from langchain_classic.retrievers.document_compressors import DocumentCompressorPipeline
    from langchain_community.document_transformers import EmbeddingsRedundantFilter
    from langchain_text_splitters import CharacterTextSplitter

    splitter = CharacterTextSplitter(chunk_size=300, chunk_overlap=0, separator=". ")
    redundant = EmbeddingsRedundantFilter(embeddings=langchain_embeddings())
    return DocumentCompressorPipeline(transformers=[splitter, redundant, embeddings_filter()])


def ctxpack_compressor() -> Any:
    """Ours."""
    from langchain_ctxpack import CtxPackCompressor

    return CtxPackCompressor(budget=BUDGET.tokens)


def llama_index_embedding() -> Any:
    """Return an embedding of LlamaIndex that needs no model."""
    from llama_index.core.embeddings import BaseEmbedding

    class Letters(BaseEmbedding):
        def _get_text_embedding(self, text: str) -> list[float]:
            return embedding(text)

        def _get_query_embedding(self, query: str) -> list[float]:
            return embedding(query)

        async def _aget_query_embedding(self, query: str) -> list[float]:
            return embedding(query)

    return Letters()


def sentence_embedding_optimizer() -> Any:
    """Keep half of the sentences."""
    from llama_index.core.postprocessor import SentenceEmbeddingOptimizer

    return SentenceEmbeddingOptimizer(
        embed_model=llama_index_embedding(),
        percentile_cutoff=0.5,
        tokenizer_fn=re.compile(r"(?<=[.!?])\s+").split,
    )


def similarity() -> Any:
    """Keep what the retriever found good."""
    from llama_index.core.postprocessor import SimilarityPostprocessor

    return SimilarityPostprocessor(similarity_cutoff=0.6)


def keyword() -> Any:
    """Keep what has a word."""
    from llama_index.core.postprocessor import KeywordNodePostprocessor

    return KeywordNodePostprocessor(required_keywords=["harbour"])


def long_context_reorder() -> Any:
    """Put the best to both ends."""
    from llama_index.core.postprocessor import LongContextReorder

    return LongContextReorder()


def fixed_recency() -> Any:
    """Keep the newest."""
    from llama_index.core.postprocessor import FixedRecencyPostprocessor

    return FixedRecencyPostprocessor(top_k=2)


def embedding_recency() -> Any:
    """Drop what a newer one resembles."""
    from llama_index.core.postprocessor import EmbeddingRecencyPostprocessor

    return EmbeddingRecencyPostprocessor(embed_model=llama_index_embedding())


def metadata_replacement() -> Any:
    """Put metadata in the place of the text; here there is none to put."""
    from llama_index.core.postprocessor import MetadataReplacementPostProcessor

    return MetadataReplacementPostProcessor(target_metadata_key="window")


def llm_rerank() -> Any:
    """Keep what a model chooses; the model chooses the first."""
    from llama_index.core.llms import MockLLM
    from llama_index.core.postprocessor import LLMRerank

    return LLMRerank(
        llm=MockLLM(), parse_choice_select_answer_fn=lambda answer, n: ([1], [0.5]), top_n=3
    )


def ctxpack_postprocessor() -> Any:
    """Ours."""
    from llama_index.postprocessor.ctxpack import CtxPackPostprocessor

    return CtxPackPostprocessor(budget=BUDGET.tokens)


LANGCHAIN = {
    "CtxPackCompressor": ctxpack_compressor,
    "EmbeddingsFilter": embeddings_filter,
    "LLMChainExtractor": chain_extractor,
    "LLMChainFilter": chain_filter,
    "CrossEncoderReranker": cross_encoder_reranker,
    "DocumentCompressorPipeline": compressor_pipeline,
}
LLAMA_INDEX = {
    "CtxPackPostprocessor": ctxpack_postprocessor,
    "SentenceEmbeddingOptimizer": sentence_embedding_optimizer,
    "SimilarityPostprocessor": similarity,
    "KeywordNodePostprocessor": keyword,
    "LongContextReorder": long_context_reorder,
    "FixedRecencyPostprocessor": fixed_recency,
    "EmbeddingRecencyPostprocessor": embedding_recency,
    "MetadataReplacementPostProcessor": metadata_replacement,
    "LLMRerank": llm_rerank,
}


def makers(table: dict[str, Callable[[], Any]]) -> list[Any]:
    """Return the entries of a table as parameters of a fixture."""
    return [pytest.param(make, id=name) for name, make in table.items()]


class _Offers:
    """The fixtures that both contracts get here."""

    @pytest.fixture
    def compressor(self, make: Callable[[], Any]) -> Any:
        return make()

    @pytest.fixture
    def budget(self, request: pytest.FixtureRequest) -> Budget | None:
        return BUDGET if "CtxPack" in request.node.callspec.id else None


class TestLangChain(_Offers, LangChainCompressorContract):
    @pytest.fixture(params=makers(LANGCHAIN))
    def make(self, request: pytest.FixtureRequest) -> Any:
        return request.param


class TestLlamaIndex(_Offers, LlamaIndexPostprocessorContract):
    @pytest.fixture(params=makers(LLAMA_INDEX))
    def make(self, request: pytest.FixtureRequest) -> Any:
        return request.param


class Verdicts:
    """A pytest plugin that notes how every test of every compressor ends."""

    def __init__(self) -> None:
        self.failed: dict[tuple[str, str], list[str]] = {}
        self.ran: dict[tuple[str, str], int] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a test; a failure with its case, if it has one, and the error."""
        law, _, parameters = report.nodeid.rpartition("::")[2].removesuffix("]").partition("[")
        name, _, case = parameters.partition("-")
        if report.when == "call" and not report.skipped:
            self.ran[name, law] = self.ran.get((name, law), 0) + 1
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            message = "" if crash is None else crash.message.splitlines()[0]
            self.failed.setdefault((name, law), []).append(
                f"{case}: {message}" if case else message
            )

    def cell(self, name: str, law: str) -> str:
        """Return ``yes``, ``no``, ``3 of 21 fail`` or ``–`` for a law that does not apply."""
        failed, ran = len(self.failed.get((name, law), [])), self.ran.get((name, law), 0)
        if not failed:
            return "yes" if ran else "–"
        return "**no**" if failed >= ran else f"**{failed} of {ran} fail**"


def table(verdicts: Verdicts, names: Sequence[str], contract: type) -> str:
    """Return the Markdown table of one framework: a line per law, a column per compressor."""
    members = [name for cls in reversed(contract.__mro__) for name in vars(cls)]
    laws = [name for name in members if name.startswith("test_")]
    lines = [["law", *(f"`{name}`" for name in names)], ["---"] * (len(names) + 1)]
    for law in laws:
        says = law.removeprefix("test_").replace("_", " ")
        lines.append([says, *(verdicts.cell(name, law) for name in names)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Run the contracts and print versions, tables, and the first failure of every law."""
    verdicts = Verdicts()
    alone = ["-c", os.devnull, "--rootdir", os.path.dirname(__file__), "--noconftest"]
    quiet = ["-p", "no:cacheprovider", "-p", "no:warnings"]
    with redirect_stdout(io.StringIO()) as said:
        pytest.main([__file__, *alone, *quiet], plugins=[verdicts])
    if not verdicts.ran:
        sys.exit(said.getvalue())
    lines = [", ".join(f"{package} {machine.version_of(package)}" for package in PACKAGES)]
    lines += [f"commit {machine.commit()}", ""]
    lines += [table(verdicts, list(LANGCHAIN), LangChainCompressorContract), ""]
    lines += [table(verdicts, list(LLAMA_INDEX), LlamaIndexPostprocessorContract), ""]
    for (name, law), failures in verdicts.failed.items():
        again = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        lines.append(f"- `{name}` {law.removeprefix('test_')}: {failures[0]}{again}")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
