"""A document compressor that keeps the sentences which answer the query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.prompts import BasePromptTemplate
from pydantic import ConfigDict, Field, PrivateAttr

from ctxpack import Pipeline
from langchain_ctxpack.documents import ChainLayout, documents_of, passages_of
from langchain_ctxpack.runs import atraced, traced
from langchain_ctxpack.settings import (
    Counter,
    DocumentPrompt,
    RecipeSource,
    pipeline_of,
    prompt_of,
)


class CtxPackCompressor(BaseDocumentCompressor):
    """Compresses retrieved documents to what answers the query, verbatim, inside a token budget.

    The documents that come out are copies: the same id and metadata, `page_content` cut to the kept
    sentences, `relevance_score` in [0, 1], and below the metadata key ``ctxpack`` a dict with:

    - ``spans``: ``[start, end]`` of every kept stretch, in the text that came in;
    - ``score``, and ``retrieval_score``: the `relevance_score` that came in;
    - ``dropped``: characters left out, by ``stage: reason``;
    - ``reasons``: codes that say why the call was cut short, [] for a plain result;
    - ``earlier``: what stood below ``ctxpack`` before, if anything did.

    Every call is a run of its own below the caller's, with the pipeline's report in its outputs.
    `model_dump` writes the recipe as data, and `model_validate` reads it back.

    Args:
        recipe: a shipped recipe's name, a YAML file's path, its data, or a `Pipeline`.
        budget: most tokens of the joined documents; None for the recipe's own.
        token_counter: what `Pipeline.from_recipe` takes, or the language model itself; None for the
            recipe's own.
        document_prompt: how the chain formats one document: an f-string template or a prompt.
        document_separator: what the chain puts between documents.
        title_key: metadata key of a document's title, which the scorer reads; None for no title.

    Raises:
        ValueError: a setting breaks a rule.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", frozen=True)

    recipe: RecipeSource = "balanced"
    budget: int | None = Field(default=None, ge=0)
    token_counter: Counter = None
    document_prompt: DocumentPrompt = "{page_content}"
    document_separator: str = "\n\n"
    title_key: str | None = "title"

    _pipeline: Pipeline = PrivateAttr()
    _prompt: BasePromptTemplate[str] = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Read the settings now, so that a mistake shows before the first call."""
        self._pipeline = pipeline_of(self.recipe, self.token_counter)
        self._prompt = prompt_of(self.document_prompt)

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """Return the documents of which something is kept, in the order the recipe gives them."""
        if not documents:
            return []
        inputs = {"query": query, "documents": list(documents)}
        with traced(type(self).__name__, inputs, callbacks) as outputs:
            kept, report = self._compressed(documents, query)
            outputs.update(documents=kept, report=report)
        return kept

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """Return what `compress_documents` returns, computed in the pipeline's worker pool."""
        if not documents:
            return []
        inputs = {"query": query, "documents": list(documents)}
        async with atraced(type(self).__name__, inputs, callbacks) as outputs:
            work = partial(self._compressed, documents, query)
            kept, report = await self._pipeline.run_in_pool(work)
            outputs.update(documents=kept, report=report)
        return kept

    def _compressed(
        self, documents: Sequence[Document], query: str
    ) -> tuple[list[Document], Mapping[str, Any]]:
        layout = ChainLayout(documents, self._prompt, self.document_separator)
        passages = passages_of(documents, self.title_key)
        packed = self._pipeline.compress(query, passages, budget=self.budget, layout=layout)
        return documents_of(packed, documents), packed.report
