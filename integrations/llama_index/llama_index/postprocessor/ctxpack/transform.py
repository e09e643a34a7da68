"""A transformation for ingestion: near duplicates out, or only what answers a fixed query."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from llama_index.core import instrumentation
from llama_index.core.bridge.pydantic import ConfigDict, Field, PrivateAttr
from llama_index.core.schema import BaseNode, TransformComponent
from llama_index.postprocessor.ctxpack.links import relinked
from llama_index.postprocessor.ctxpack.nodes import passage_of, place, with_text
from llama_index.postprocessor.ctxpack.settings import RecipeSource, WholePickle

from ctxpack import PackedContext, Pipeline

dispatcher = instrumentation.get_dispatcher(__name__)  # type: ignore[attr-defined]

_DEDUPE = {"name": "dedupe", "scorer": "lexical", "steps": ["dedupe"]}

# The engine wants a query; without a `score` step nothing reads it.
_NO_QUERY = "-"


class CtxPackTransform(WholePickle, TransformComponent):
    """Does to nodes what needs no user's query, before they are embedded and stored.

    Without a query it takes out near duplicates: of several copies of a text the first stays, and
    what a splitter's overlap repeats goes. With a fixed query it keeps what answers that. A node of
    which all is kept comes out as it went in. One that is cut is a copy with the same id, rebased
    offsets and no embedding. The links of the others to nodes that are gone lead past them, and
    nothing is added to the metadata, which some vector stores want flat.

    Nodes that are not text alone come out untouched, after the text. Not for lists in which parents
    stand beside their children, whose text is in the parents'. With an ingestion pipeline's
    `num_workers` every worker sees its part of the nodes only.

    Args:
        recipe: a shipped recipe's name, a YAML file's path, its data, or a `Pipeline`; None for
            near-duplicate removal without a query and ``balanced`` with one.
        query: what nodes are kept for; None for a recipe that scores nothing.
        title_key: metadata key of a node's title; copies with different titles are not duplicates.
            None for no title.
        cache: URL or options of a cache, as a recipe spells them; then what a scorer computes of
            the nodes that come out is stored, ahead of the first query. Nothing may change their
            text or title afterwards. None: the cache of `cache_recipe`.
        cache_recipe: what later queries are compressed with, a `CtxPackPostprocessor`'s `recipe`,
            with a scorer that can store; None for ``balanced`` where there is a `cache`.

    Raises:
        ValueError: a setting breaks a rule, or the recipe scores and there is no query.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    recipe: RecipeSource | None = Field(default=None, frozen=True)
    query: str | None = Field(default=None, frozen=True)
    title_key: str | None = "title"
    cache: str | dict[str, Any] | None = Field(default=None, frozen=True)
    cache_recipe: RecipeSource | None = Field(default=None, frozen=True)

    _pipeline: Pipeline = PrivateAttr()
    _later: Pipeline | None = PrivateAttr(default=None)

    def model_post_init(self, context: Any, /) -> None:
        """Read the settings now, so that a mistake shows before the first call."""
        super().model_post_init(context)
        default = _DEDUPE if self.query is None else "balanced"
        self._pipeline = Pipeline.from_recipe(default if self.recipe is None else self.recipe)
        steps = [step.name for step in self._pipeline.recipe.steps]
        if self.query is None and "score" in steps:
            raise ValueError(f"`query` must be given for a recipe that scores, got {steps!r}")
        if self.cache is not None or self.cache_recipe is not None:
            later = "balanced" if self.cache_recipe is None else self.cache_recipe
            self._later = Pipeline.from_recipe(later)
        if self.cache is not None and self._later is not None:
            self._later = Pipeline.from_recipe(self._later, cache=self.cache)

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which the framework serialises this class."""
        return "CtxPackTransform"

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """Return the transformed nodes; the framework's `kwargs` have no meaning here."""
        return self._transformed(nodes)

    # The framework decorates overrides of abstract methods only, and this one is not abstract.
    @dispatcher.span
    async def acall(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """Return what a call returns, computed in the pipeline's worker pool."""
        return await self._pipeline.run_in_pool(partial(self._transformed, nodes))

    def _transformed(self, nodes: Sequence[BaseNode]) -> list[BaseNode]:
        pairs = [(node, passage_of(node, self.title_key)) for node in nodes]
        texts = [node for node, passage in pairs if passage is not None]
        others = [node for node, passage in pairs if passage is None]
        query = _NO_QUERY if self.query is None else self.query
        packed = self._pipeline.compress(query, [p for _, p in pairs if p is not None])
        kept = _kept(packed, texts)
        if self._later is not None:
            found = [passage_of(node, self.title_key) for node in kept]
            self._later.cache_passages([passage for passage in found if passage is not None])
        return relinked(kept + others, nodes)


def _kept(packed: PackedContext, nodes: Sequence[BaseNode]) -> list[BaseNode]:
    """Return the nodes of which something is kept; those that are cut are copies."""
    result = []
    for kept in packed.passages:
        node = nodes[kept.passage_index]
        if kept.spans != ((0, len(kept.passage.text)),):
            copy = with_text(node, kept.text)
            copy.embedding = None
            place(copy, node, kept.spans)
            node = copy
        result.append(node)
    return result
