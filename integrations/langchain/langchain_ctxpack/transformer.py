"""A document transformer: near duplicates out, and structure-aware parts with offsets."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from langchain_core.documents import BaseDocumentTransformer, Document
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from ctxpack import Pipeline
from langchain_ctxpack.documents import documents_of, passages_of
from langchain_ctxpack.parts import parts_of
from langchain_ctxpack.settings import Counter, RecipeSource, pipeline_of

_DEDUPE = {"name": "dedupe", "scorer": "lexical", "steps": ["dedupe"]}

# The engine wants a query; without a `score` step nothing reads it.
_NO_QUERY = "-"


class CtxPackTransformer(BaseModel, BaseDocumentTransformer):
    """Does to documents what needs no user's query, when they are loaded or between two steps.

    Without a query it takes out near duplicates; with a fixed one it keeps what answers that. With
    `part_tokens` it then cuts what is left into parts. Documents come out as they do of
    `CtxPackCompressor`. Where a document is cut into several parts, the id of each is the
    document's with its offsets behind it: ``guide:120-780``.

    Args:
        recipe: a shipped recipe's name, a YAML file's path, its data, or a `Pipeline`; None for
            near-duplicate removal without a query and ``balanced`` with one.
        query: what documents are kept for; None for a recipe that scores nothing.
        part_tokens: most tokens of a part, 1 or more; None to leave documents whole. A part is one
            slice of its document. It never ends inside a sentence, list item, table row or code
            block, nor right behind a heading, a table header or the line that leads a list in; one
            of these that is longer stands alone. A heading starts a part once the last one is half
            full.
        token_counter: what `Pipeline.from_recipe` takes, or the language model itself; None for the
            recipe's own.
        title_key: metadata key of a document's title; None for no title.
        cache: URL or options of a cache, as a recipe spells them; then what a scorer computes of
            the documents that come out is stored, ahead of the first query. Nothing may change
            their text or title afterwards. None: the cache of `cache_recipe`.
        cache_recipe: what later queries are compressed with, a `CtxPackCompressor`'s `recipe`, with
            a scorer that can store; None for ``balanced`` where there is a `cache`.

    Raises:
        ValueError: a setting breaks a rule, or the recipe scores and there is no query.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", frozen=True)

    recipe: RecipeSource | None = None
    query: str | None = None
    part_tokens: int | None = Field(default=None, gt=0)
    token_counter: Counter = None
    title_key: str | None = "title"
    cache: str | dict[str, Any] | None = None
    cache_recipe: RecipeSource | None = None

    _pipeline: Pipeline = PrivateAttr()
    _later: Pipeline | None = PrivateAttr(default=None)

    def model_post_init(self, context: Any, /) -> None:
        """Read the settings now, so that a mistake shows before the first call."""
        default = _DEDUPE if self.query is None else "balanced"
        recipe = default if self.recipe is None else self.recipe
        self._pipeline = pipeline_of(recipe, self.token_counter)
        steps = [step.name for step in self._pipeline.recipe.steps]
        if self.query is None and "score" in steps:
            raise ValueError(f"`query` must be given for a recipe that scores, got {steps!r}")
        if self.cache is not None or self.cache_recipe is not None:
            later = "balanced" if self.cache_recipe is None else self.cache_recipe
            self._later = Pipeline.from_recipe(later)
        if self.cache is not None and self._later is not None:
            self._later = Pipeline.from_recipe(self._later, cache=self.cache)

    def transform_documents(
        self, documents: Sequence[Document], **kwargs: Any
    ) -> Sequence[Document]:
        """Return the transformed documents; the framework's `kwargs` have no meaning here."""
        result = self._transformed(documents)
        if self._later is not None:
            self._later.cache_passages(passages_of(result, self.title_key))
        return result

    async def atransform_documents(
        self, documents: Sequence[Document], **kwargs: Any
    ) -> Sequence[Document]:
        """Return what `transform_documents` returns, computed in the pipeline's worker pool."""
        return await self._pipeline.run_in_pool(partial(self.transform_documents, documents))

    def _transformed(self, documents: Sequence[Document]) -> list[Document]:
        query = _NO_QUERY if self.query is None else self.query
        packed = self._pipeline.compress(query, passages_of(documents, self.title_key))
        kept = documents_of(packed, documents)
        if self.part_tokens is None:
            return kept
        return parts_of(kept, packed, self._pipeline.token_counter, self.part_tokens)
