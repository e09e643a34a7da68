"""What the two Runnables share: settings, and one call of the pipeline as a run."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Generic, NotRequired, TypeVar

from langchain_core.callbacks import (
    AsyncCallbackManagerForChainRun,
    CallbackManagerForChainRun,
)
from langchain_core.documents import Document
from langchain_core.messages import AnyMessage
from langchain_core.runnables import RunnableConfig, RunnableSerializable
from pydantic import ConfigDict, Field, PrivateAttr
from typing_extensions import TypedDict

from ctxpack import PackedContext, Pipeline, errors
from langchain_ctxpack.documents import passages_of
from langchain_ctxpack.runs import span_of
from langchain_ctxpack.settings import Counter, RecipeSource, pipeline_of

Output = TypeVar("Output")


class PackInput(TypedDict):
    """What the Runnables take; further keys are for `query_from`.

    Attributes:
        question: what the user asked.
        documents: what a retriever returned, best first.
        history: earlier messages of the conversation, for `query_from`.
    """

    question: str
    documents: Sequence[Document]
    history: NotRequired[Sequence[AnyMessage]]


class PackRunnable(RunnableSerializable[PackInput, Output], Generic[Output]):
    """Base of Runnables that pack documents; subclasses say what comes out.

    Args:
        recipe: a shipped recipe's name, a YAML file's path, its data, or a `Pipeline`.
        budget: most tokens of the text; None for the recipe's own.
        token_counter: what `Pipeline.from_recipe` takes, or the language model itself; None for the
            recipe's own.
        title_key: metadata key of a document's title; None for no title.
        query_from: makes the query from the whole input, its ``history`` too, in conversations;
            None for the question as it is.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", frozen=True)

    recipe: RecipeSource = "balanced"
    budget: int | None = Field(default=None, ge=0)
    token_counter: Counter = None
    title_key: str | None = "title"
    query_from: Callable[[PackInput], str] | None = None

    _pipeline: Pipeline = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Read the settings now, so that a mistake shows before the first call."""
        self._pipeline = pipeline_of(self.recipe, self.token_counter)

    @abstractmethod
    def _output(self, packed: PackedContext, documents: Sequence[Document]) -> Output:
        """Return what comes out of a call."""

    def invoke(
        self, input: PackInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Output:
        """Return the packed documents."""
        return self._call_with_config(self._pack, input, config)

    async def ainvoke(
        self, input: PackInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Output:
        """Return what `invoke` returns, computed in the pipeline's worker pool."""
        return await self._acall_with_config(self._apack, input, config)

    def batch(
        self,
        inputs: list[PackInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any | None,
    ) -> list[Output]:
        """Return `invoke` of every input, in order, packed as one batch of the pipeline."""
        return self._batch_with_config(
            self._pack_many, inputs, config, return_exceptions=return_exceptions
        )

    def _pack(self, input: PackInput, run_manager: CallbackManagerForChainRun) -> Output:
        with span_of(run_manager.run_id):
            return self._packed(input)

    async def _apack(
        self, input: PackInput, run_manager: AsyncCallbackManagerForChainRun
    ) -> Output:
        with span_of(run_manager.run_id):
            return await self._pipeline.run_in_pool(partial(self._packed, input))

    def _packed(self, input: PackInput) -> Output:
        documents = input["documents"]
        passages = passages_of(documents, self.title_key)
        packed = self._pipeline.compress(self._query(input), passages, budget=self.budget)
        return self._output(packed, documents)

    def _pack_many(self, inputs: list[PackInput]) -> list[Exception | Output]:
        calls = [(self._query(i), passages_of(i["documents"], self.title_key)) for i in inputs]
        results: list[Exception | Output] = []
        batch = self._pipeline.compress_batch(calls, budget=self.budget)
        for input, packed in zip(inputs, batch, strict=True):
            error = packed.report["error"]
            if error is not None and self._pipeline.recipe.on_error == "raise":
                results.append(errors.CtxpackError(error))
            else:
                results.append(self._output(packed, input["documents"]))
        return results

    def _query(self, input: PackInput) -> str:
        return input["question"] if self.query_from is None else self.query_from(input)
