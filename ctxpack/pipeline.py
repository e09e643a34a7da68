"""The pipeline: a query and passages in, a verbatim context inside the budget out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, Unpack

from ctxpack import recipes, telemetry
from ctxpack.budget import fit
from ctxpack.cache.base import SegmentCache
from ctxpack.cache.options import without_password
from ctxpack.errors import InputError, RecipeError
from ctxpack.inputs import Inputs, Passages, checked, checked_budget, passages_of
from ctxpack.overrides import Objects, Overrides, overridden
from ctxpack.packed import PackedContext, Run, StageReport, failed, ms_since, packed
from ctxpack.recipes import Recipe
from ctxpack.render import Layout, Renderer
from ctxpack.scoring.base import Scorer
from ctxpack.scoring.cached import CachedScorer, Filled
from ctxpack.scoring.caching import Caching
from ctxpack.scoring.language_gate import choose
from ctxpack.scoring.sufficiency import sufficiency
from ctxpack.selection import Passage, Selection, SplitPassage, unsplit
from ctxpack.sentences import split
from ctxpack.stages.base import Call
from ctxpack.tokens import TokenCounter, counter_from
from ctxpack.workers import Workers

_log = logging.getLogger(__name__)

T = TypeVar("T")

Step = Callable[[Selection, Call], Selection]
RecipeSource = str | Path | Mapping[str, Any] | Recipe


class Pipeline:
    """Compresses passages to what answers a query; one instance serves many threads.

    Nothing is loaded before the first call or `warm_up`.

    Args:
        recipe: the steps and their options.
        scorer: takes the place of the recipe's scorer; for scorers that are not plain data.
        token_counter: takes the place of the recipe's counter.
        cache: takes the place of the store that the recipe names; closing the pipeline does not
            close it.
        cache_secret: see `Overrides`.

    Raises:
        RecipeError: the recipe has a cache, and the scorer is not one to cache.
        CacheError: the cache or its secret breaks a rule.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        scorer: Scorer | None = None,
        token_counter: TokenCounter | None = None,
        cache: SegmentCache | None = None,
        cache_secret: str | bytes | None = None,
    ) -> None:
        self._recipe = recipe
        self._scorer = recipe.scorer if scorer is None else scorer
        self._counter = _counter_of(recipe) if token_counter is None else token_counter
        self._workers = Workers()
        self._caching = Caching(
            self._scorer, recipe.cache, cache=cache, secret=cache_secret, others=recipe.others
        )
        self._objects = Objects(self._scorer, self._counter, cache, cache_secret)

    @classmethod
    def from_recipe(
        cls, recipe: RecipeSource | Pipeline, **overrides: Unpack[Overrides]
    ) -> Pipeline:
        """Return a pipeline.

        Args:
            recipe: the name of a shipped recipe, the path of a YAML file, its data, a `Recipe`, or
                a pipeline, which is returned itself when nothing takes the place of its own.
            overrides: values that take the place of the recipe's own.

        Raises:
            RecipeError: the recipe or an override breaks a rule.
        """
        if not isinstance(recipe, Pipeline):
            loaded, objects = overridden(recipes.load(recipe), overrides, Objects())
        elif all(value is None for value in overrides.values()):
            return recipe
        else:
            loaded, objects = overridden(recipe.recipe, overrides, recipe._objects)
        return cls(loaded, **objects._asdict())

    def to_data(self) -> dict[str, Any]:
        """Return the JSON-serialisable data of a recipe that `from_recipe` makes this pipeline of.

        Raises:
            RecipeError: an object that no recipe can name is in the place of its scorer, token
                counter or cache, or there is a secret.
        """
        again = Pipeline.from_recipe(self._recipe.to_data())
        same = again.scorer == self._scorer and again.token_counter.name == self._counter.name
        if not same or self._objects.cache is not None or self._objects.cache_secret is not None:
            raise RecipeError(
                f"{self._recipe.name}: only what a recipe can name can be written as data, got"
                f" {self!r}"
            )
        return self._recipe.to_data()

    @property
    def recipe(self) -> Recipe:
        """The steps and their options, overrides included."""
        return self._recipe

    @property
    def scorer(self) -> Scorer:
        """What scores passages and spans, as it was given: without the cache around it."""
        return self._scorer

    @property
    def token_counter(self) -> TokenCounter:
        """What counts tokens."""
        return self._counter

    def compress(
        self,
        query: str,
        passages: Passages,
        *,
        budget: int | None = None,
        layout: Layout | None = None,
        details: bool = False,
    ) -> PackedContext:
        """Return the spans that answer `query`, as text of at most `budget` tokens.

        Args:
            query: what the user asked.
            passages: what a retriever returned, best first; strings are passages without an id.
            budget: most tokens of the text, 0 or more; None for the recipe's budget, and no limit
                when that has none.
            layout: joins the bodies when a framework builds the prompt itself; the budget then
                holds for the text that it returns.
            details: report every span, not only counts.

        Raises:
            InputError: an argument has the wrong type or value.
            BudgetError: pinned spans do not fit, and the recipe says ``pin_overflow: raise``.
            CtxpackError: another error of a stage or scorer, when the recipe says
                ``on_error: raise``.
        """
        return self._compress(checked(query, passages, budget), layout, details)

    async def acompress(
        self,
        query: str,
        passages: Passages,
        *,
        budget: int | None = None,
        layout: Layout | None = None,
        details: bool = False,
    ) -> PackedContext:
        """Return what `compress` returns, computed in the pipeline's worker pool."""
        asked = checked(query, passages, budget)
        return await self.run_in_pool(partial(self._compress, asked, layout, details))

    async def run_in_pool(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, called in the pipeline's worker pool.

        For adapters, which do more than one `compress`: their event loop waits for none of it. The
        deadline of a `compress` inside counts from here, waiting included.
        """
        return await self._workers.run(work)

    def compress_batch(
        self, calls: Sequence[tuple[str, Passages]], *, budget: int | None = None
    ) -> list[PackedContext]:
        """Return `compress` of every (query, passages) pair, in order.

        A call that fails gives an empty result, with all passages dropped and the error in its
        report, and the others go on.

        Raises:
            InputError: `budget` is not valid.
        """
        checked_budget(budget)
        return [self._compress_item(item, budget) for item in calls]

    def cache_passages(self, passages: Passages) -> Filled:
        """Store the encodings of passages that have none yet, ahead of their first query.

        Args:
            passages: what a retriever may return.

        Raises:
            InputError: `passages` has the wrong type.
            RecipeError: the pipeline has no cache of encodings.
        """
        scorer = self._caching.scorer
        if not isinstance(scorer, CachedScorer):
            raise RecipeError(f"{self._recipe.name}: there is no cache to store passages in")
        known = checked("", passages, None).passages
        return scorer.fill([self._split_one(passage) for passage in known])

    def warm_up(self) -> None:
        """Load the models and tables, so that the first call is not slower than the others."""
        self._caching.warm_up()
        # Markdown, so that the block parser is loaded too.
        self.compress("warm up", ["# Warm up\n\n- Once."], budget=1000)

    def close(self) -> None:
        """Release the models, the worker pool and the cache; a later call makes them again."""
        self._workers.close()
        self._caching.close()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        given = [repr(self._recipe.to_data())]
        if self._scorer != self._recipe.scorer:
            given.append(f"scorer={self._scorer!r}")
        if self._counter.name != self._recipe.token_counter:
            given.append(f"token_counter={self._counter!r}")
        if self._objects.cache is not None:
            given.append(f"cache={self._objects.cache!r}")
        return f"Pipeline.from_recipe({without_password(', '.join(given))})"

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(Pipeline, **self._objects._asdict()), (self._recipe,)

    def _compress(self, asked: Inputs, layout: Layout | None, details: bool) -> PackedContext:
        run = Run(self._recipe.name, details)
        span = telemetry.compress_span(self._recipe, self._scorer, asked.query, asked.passages)
        with span as finish, self._caching.recorded() as run.cache:
            try:
                call = self._call(asked, layout, run)
                whole = Selection.of(asked.query, [unsplit(p) for p in asked.passages])
                result = packed(fit(self._run(whole, call, run), call), call, run)
            except Exception as error:
                # An error of a step is handled there; this one is of a counter or a layout.
                if self._recipe.on_error == "raise":
                    raise
                result = self._failed(asked.passages, error, run)
            finish(result)
            telemetry.count_cache(result.report["cache"])
            return result

    def _compress_item(self, item: tuple[str, Passages], budget: int | None) -> PackedContext:
        try:
            query, passages = item
            return self.compress(query, passages, budget=budget)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other calls go on
            return self._failed(passages_of(item), error, Run(self._recipe.name))

    def _failed(self, passages: tuple[Passage, ...], error: Exception, run: Run) -> PackedContext:
        """Return an empty result that names the error and records every passage as dropped."""
        _log.warning("%s: a call failed", self._recipe.name, exc_info=error)
        run.error = f"{type(error).__name__}: {error}"
        return failed(passages, self._call(Inputs("", (), None), None, run), run)

    def _call(self, asked: Inputs, layout: Layout | None, run: Run) -> Call:
        recipe = self._recipe
        passthrough, deadline = recipe.on_error == "passthrough", recipe.deadline_ms
        texts = [passage.text for passage in asked.passages]
        chosen = partial(choose, query=asked.query, texts=texts, language=recipe.language)
        scorer, note = chosen(self._caching.scorer)
        return Call(
            counter=self._counter,
            renderer=Renderer(recipe.render, asked.passages, layout),
            scorer=scorer,
            budget=recipe.budget if asked.budget is None else asked.budget,
            pin_overflow="degrade" if passthrough else recipe.pin_overflow,
            expires_at=None if deadline is None else run.started + deadline / 1000,
            notes=[] if note is None else [note],
            others={own: chosen(other).scorer for own, other in self._caching.others.items()},
        )

    def _run(self, selection: Selection, call: Call, run: Run) -> Selection:
        """Return the selection after the steps, or after those before an error or the deadline."""
        steps: list[tuple[str, Step]] = [("split", self._split)]
        if selection.query.strip():
            steps += [(stage.name, stage) for stage in self._recipe.steps]
        else:
            run.error = f"`query` must hold more than white space, got {selection.query!r}"
            if self._recipe.on_error == "raise":
                raise InputError(run.error)
        for name, step in steps:
            # Always split: of a whole passage, nothing may fit the budget.
            if step != self._split and call.expired():
                break
            started = time.perf_counter()
            try:
                selection = step(selection, call)
            except Exception as error:
                if self._recipe.on_error == "raise":
                    raise
                _log.warning("%s: %s failed", self._recipe.name, name, exc_info=True)
                run.error = f"{name}: {type(error).__name__}: {error}"
                break
            if run.sufficiency is None and "deadline" not in call.notes:
                # By the query alone: a second hop's passages match the evidence that it quotes.
                run.sufficiency = sufficiency(call.scorer, selection.passage_scores)
            kept = int(selection.kept.sum())
            run.stages.append(StageReport(name=name, ms=ms_since(started), spans_kept=kept))
        return selection

    def _split(self, selection: Selection, call: Call) -> Selection:
        """Return the selection of sentences and blocks; after the deadline, of whole passages."""
        passages = []
        for index, passage in enumerate(selection.passages):
            if index > 0 and call.expired():
                passages.append(unsplit(passage))
            else:
                passages.append(self._split_one(passage))
        return Selection.of(selection.query, passages)

    def _split_one(self, passage: Passage) -> SplitPassage:
        language = self._recipe.language
        spans = split(passage.text, language="auto" if language == "mixed" else language)
        return SplitPassage(passage, spans)


def _counter_of(recipe: Recipe) -> TokenCounter:
    try:
        return counter_from(recipe.token_counter)
    except RecipeError as error:
        raise RecipeError(f"{recipe.name}: {error}") from None
