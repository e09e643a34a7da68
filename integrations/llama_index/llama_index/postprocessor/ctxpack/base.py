"""A node postprocessor that keeps the sentences which answer the query."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any, NamedTuple

from llama_index.core import instrumentation
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.bridge.pydantic import ConfigDict, Field, PrivateAttr
from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.memory import BaseMemory
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.postprocessor.ctxpack.nodes import (
    KEY,
    SynthesizerLayout,
    nodes_of,
    passage_of,
    text_of,
)
from llama_index.postprocessor.ctxpack.settings import (
    Counter,
    RecipeSource,
    WholePickle,
    not_data,
)

from ctxpack import Pipeline, errors

QueryFrom = Callable[[str, Sequence[ChatMessage]], str]

dispatcher = instrumentation.get_dispatcher(__name__)  # type: ignore[attr-defined]


class CtxPackPostprocessor(WholePickle, BaseNodePostprocessor):
    """Compresses retrieved nodes to what answers the query, verbatim, inside a token budget.

    The nodes that come out are copies with id, metadata and relationships as they were, the text
    cut to the kept sentences and the relevance in [0, 1] as score. Offsets are those of the kept
    text in the source when it is one slice, else None. Below the metadata key ``ctxpack``, which no
    model sees, stands a dict with:

    - ``spans``: ``[start, end]`` of every kept stretch, in the text that came in;
    - ``score``, and ``retrieval_score``: the score that came in;
    - ``dropped``: characters left out, by ``stage: reason``;
    - ``reasons``: codes that say why the call was cut short, [] for a plain result;
    - ``earlier``: what stood below ``ctxpack`` before, if anything did.

    Image nodes, index nodes and others that are not text alone come out untouched, after the text.
    The budget holds for everything that the model reads: the nodes' content with the metadata that
    it sees, as a response synthesiser joins it. When untouched nodes alone have more, no text is
    kept.

    Every call emits the framework's events of a reranker; the end has the pipeline's report, and
    under ``nodes_untouched`` the number of such nodes, as its tag ``ctxpack``.

    Args:
        recipe: a shipped recipe's name, a YAML file's path, its data, or a `Pipeline`. What it says
            under ``on_error`` holds for a missing query too.
        budget: most tokens of the joined nodes; None for the recipe's own.
        token_counter: what `Pipeline.from_recipe` takes; None for the recipe's own.
        title_key: metadata key of a node's title, which the scorer reads; None for no title.
        query_from: makes the query of the message and the chat history before it; None for the
            message alone. For engines that do not condense the two into one themselves.
        memory: of the chat engine, where `query_from` finds the history; None for no history.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    recipe: RecipeSource = Field(default="balanced", frozen=True)
    budget: int | None = Field(default=None, ge=0)
    token_counter: Counter = Field(default=None, frozen=True)
    title_key: str | None = Field(default="title")
    query_from: Annotated[QueryFrom | None, not_data("query_from")] = None
    memory: BaseMemory | None = Field(default=None, exclude=True)

    _pipeline: Pipeline = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Read the settings now, so that a mistake shows before the first call."""
        super().model_post_init(context)
        if self.memory is not None and self.query_from is None:
            raise ValueError("`memory` is read by `query_from` only, which is None")
        self._pipeline = Pipeline.from_recipe(self.recipe, token_counter=self.token_counter)

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which the framework serialises this class."""
        return "CtxPackPostprocessor"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if not any(text_of(scored.node) is not None for scored in nodes):
            return list(nodes)
        query = self._query(query_bundle, [] if self.memory is None else self.memory.get_all())
        with self._reranking(query, nodes) as end:
            return end(self._packed(nodes, query))

    # The framework decorates overrides of abstract methods only, and this one is not abstract.
    @dispatcher.span
    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if not any(text_of(scored.node) is not None for scored in nodes):
            return list(nodes)
        history = [] if self.memory is None else await self.memory.aget_all()
        query = self._query(query_bundle, history)
        with self._reranking(query, nodes) as end:
            return end(await self._pipeline.run_in_pool(partial(self._packed, nodes, query)))

    def _packed(self, nodes: Sequence[NodeWithScore], query: str) -> _Packed:
        texts, others, passages = [], [], []
        for scored in nodes:
            passage = passage_of(scored.node, self.title_key, scored.score)
            if passage is None:
                others.append(scored)
            else:
                texts.append(scored)
                passages.append(passage)
        layout = SynthesizerLayout(
            [scored.node for scored in texts], [scored.node for scored in others]
        )
        packed = self._pipeline.compress(query, passages, budget=self.budget, layout=layout)
        report = {**packed.report, "nodes_untouched": len(others)}
        return _Packed(nodes_of(packed, texts) + others, report)

    def _query(self, query_bundle: QueryBundle | None, history: Sequence[ChatMessage]) -> str:
        if query_bundle is not None:
            message = query_bundle.query_str
            return message if self.query_from is None else self.query_from(message, history)
        if self._pipeline.recipe.on_error == "raise":
            raise errors.InputError(
                f"{self.class_name()} needs a query: pass `query_bundle` or `query_str`"
            )
        return ""  # The pipeline passes on what fits, and reports that there is no query.

    @contextmanager
    def _reranking(
        self, query: str, nodes: list[NodeWithScore]
    ) -> Iterator[Callable[[_Packed], list[NodeWithScore]]]:
        """Emit the framework's events around a call; what is yielded reports the end."""
        model, n_nodes = f"ctxpack/{self._pipeline.recipe.name}", len(nodes)
        payload: dict[str, Any] = {
            EventPayload.NODES: nodes,
            EventPayload.MODEL_NAME: model,
            EventPayload.QUERY_STR: query,
            EventPayload.TOP_K: n_nodes,
        }
        dispatcher.event(
            ReRankStartEvent(query=query, nodes=nodes, top_n=n_nodes, model_name=model)
        )
        with self.callback_manager.event(CBEventType.RERANKING, payload=payload) as event:

            def end(packed: _Packed) -> list[NodeWithScore]:
                event.on_end(
                    {
                        EventPayload.NODES: packed.nodes,
                        EventPayload.ADDITIONAL_KWARGS: {KEY: packed.report},
                    }
                )
                dispatcher.event(ReRankEndEvent(nodes=packed.nodes, tags={KEY: packed.report}))
                return packed.nodes

            yield end


class _Packed(NamedTuple):
    """What comes out of a call, and its report."""

    nodes: list[NodeWithScore]
    report: dict[str, Any]
