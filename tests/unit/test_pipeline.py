"""The pipeline: what goes in, what comes out, and what happens when something is wrong."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import time
from collections.abc import Callable
from typing import Any

import pytest

from ctxpack import Passage, Pipeline, Selection
from ctxpack.errors import BudgetError, ContractError, InputError, RecipeError
from ctxpack.scoring.base import ConfiguredScorer
from ctxpack.stages.base import Call, Stage

PASSAGES = [
    Passage("The wall is old. The quay is new. Nobody knows why.", id="a", score=0.5),
    Passage("Boats leave at noon. The wall stands.", id="b"),
]
STEPS = ["score", {"prune": 0.5}, "select"]


@pytest.fixture
def make(scorer: ConfiguredScorer) -> Callable[..., Pipeline]:
    """Return a function that makes a pipeline of the steps with a predictable scorer."""

    def pipeline(steps: list[Any] | None = None, **options: Any) -> Pipeline:
        return Pipeline.from_recipe({"scorer": scorer, "steps": steps or STEPS, **options})

    return pipeline


def test_keeps_what_answers(make: Callable[..., Pipeline]) -> None:
    """Text, evidence, dropped stretches and counts tell one story."""
    packed = make().compress("wall", PASSAGES)
    assert packed.text == "The wall is old. \n\nThe wall stands."
    assert [e.text for e in packed.evidence] == ["The wall is old. ", "The wall stands."]
    assert [(d.passage_index, d.start, d.end, d.reason) for d in packed.dropped] == [
        (0, 17, 51, "below_threshold"),
        (1, 0, 21, "below_threshold"),
    ]
    assert packed.token_count < packed.input_token_count
    assert 0 < packed.kept_ratio < 1


def test_passages_come_back_as_they_went_in(make: Callable[..., Pipeline]) -> None:
    """Kept passages are the same objects, with both scores under their own names."""
    first, second = make().compress("wall", PASSAGES).passages
    assert first.passage is PASSAGES[0]
    assert (first.score, first.retrieval_score) == (pytest.approx(0.9), 0.5)
    assert second.retrieval_score is None
    assert second.spans == ((21, 37),)


def test_strings_are_passages(make: Callable[..., Pipeline]) -> None:
    """A list of strings is enough."""
    assert make().compress("wall", ["A wall. A quay."]).text == "A wall. "


@pytest.mark.parametrize(
    ("query", "passages", "budget", "rule"),
    [
        (None, [], None, "`query` must be a string, got None"),
        (" \n", ["x"], None, "`query` must hold more than white space"),
        ("q", "text", None, "`passages` must be a sequence of passages, got 'text'"),
        ("q", None, None, "`passages` must be a sequence of passages, got None"),
        ("q", ["x", 7], None, r"`passages\[1\]` must be a Passage or a string, got 7"),
        ("q", ["x"], -1, "`budget` must be an integer of 0 or more, or None, got -1"),
        ("q", ["x"], 2.5, "`budget` must be an integer of 0 or more, or None, got 2.5"),
        ("q", ["x"], True, "`budget` must be an integer of 0 or more, or None, got True"),
    ],
)
def test_bad_arguments_are_refused(
    make: Callable[..., Pipeline], query: Any, passages: Any, budget: Any, rule: str
) -> None:
    """Each kind of bad argument gives one error with its rule and value."""
    with pytest.raises(InputError, match=rule):
        make().compress(query, passages, budget=budget)


@pytest.mark.parametrize(
    ("passages", "budget", "reason"),
    [
        ([], None, "no_passages"),
        (["", ""], None, "no_text"),
        (["A wall."], 0, "budget_too_small"),
        (["A wall of words that is long."], 2, "budget_too_small"),
        (["A quay."], None, "nothing_relevant"),
    ],
)
def test_an_empty_result_says_why(
    make: Callable[..., Pipeline], passages: list[str], budget: int | None, reason: str
) -> None:
    """Nothing kept is a defined result: no text, no tokens, a reason code."""
    packed = make().compress("wall", passages, budget=budget)
    assert (packed.text, packed.token_count) == ("", 0)
    assert packed.report["reasons"] == [reason]


def test_ten_megabytes_are_one_passage(make: Callable[..., Pipeline]) -> None:
    """A huge passage is cut like any other, and its report stays small."""
    text = "The quay is long and grey and wet and cold and old. " * 190_000 + "The wall."
    packed = make().compress("wall", [text], budget=50)
    assert packed.text == "The wall."
    assert len(json.dumps(packed.report)) < 5000


def test_the_report_counts(make: Callable[..., Pipeline]) -> None:
    """The report has counts always, and one entry per span only when asked."""
    report = make().compress("wall", PASSAGES).report
    assert (report["spans"], report["spans_kept"], report["passages_kept"]) == (5, 2, 2)
    assert report["dropped"] == {"prune: below_threshold": 3}
    assert [stage["name"] for stage in report["stages"]] == [
        "split",
        "score",
        "prune",
        "select",
    ]
    assert report["token_counter"] == "approximate"
    assert report["details"] is None
    details = make().compress("wall", PASSAGES, details=True).report["details"]
    assert details is not None
    assert [entry["stage"] for entry in details] == [None, "prune", "prune", "prune", None]


class Failing(Stage):
    """A stage that fails."""

    name = "failing"

    def _apply(self, selection: Selection, call: Call) -> Selection:
        raise ValueError("no luck")


class Slow(Stage):
    """A stage that takes until the deadline has passed."""

    name = "slow"

    def _apply(self, selection: Selection, call: Call) -> Selection:
        while not call.expired():
            time.monotonic()
        return selection


class Inventing(Stage):
    """A stage that replaces a passage's text."""

    name = "inventing"

    def _apply(self, selection: Selection, call: Call) -> Selection:
        changed = [(Passage("Better text."), spans) for _, spans in map(selection.split, range(2))]
        return Selection.of(selection.query, changed)  # type: ignore[arg-type]


def test_errors_are_raised_by_default(make: Callable[..., Pipeline]) -> None:
    """With ``on_error: raise`` the error of a stage reaches the caller as it is."""
    with pytest.raises(ValueError, match="no luck"):
        make(["score", Failing()]).compress("wall", PASSAGES)


def test_passthrough_returns_the_best_so_far(make: Callable[..., Pipeline]) -> None:
    """With ``on_error: passthrough`` what was chosen before the error fits the budget."""
    steps = ["score", {"prune": 0.5}, Failing(), {"rerank": 1}]
    packed = make(steps, on_error="passthrough").compress("wall", PASSAGES, budget=8)
    assert [e.text for e in packed.evidence] == ["The wall is old. "]
    assert packed.report["reasons"] == ["error"]
    assert packed.report["error"] == "failing: ValueError: no luck"


def test_passthrough_takes_an_empty_query(make: Callable[..., Pipeline]) -> None:
    """Without a query there is no choice: the beginning of what was retrieved is kept."""
    packed = make(on_error="passthrough").compress("", PASSAGES, budget=14)
    assert packed.text == "The wall is old. The quay is new. "
    assert packed.report["reasons"] == ["error"]


def test_the_deadline_skips_the_other_steps(make: Callable[..., Pipeline]) -> None:
    """After the deadline no step starts, and the result is what was chosen before."""
    packed = make(["score", {"prune": 0.5}, Slow(), {"rerank": 1}], deadline_ms=200.0).compress(
        "wall", PASSAGES
    )
    assert len(packed.passages) == 2
    assert packed.report["reasons"] == ["deadline"]


def test_a_stage_cannot_invent(make: Callable[..., Pipeline]) -> None:
    """A stage that replaces passages is refused, whatever it puts there."""
    with pytest.raises(ContractError, match="inventing: a stage must not replace `passages`"):
        make([Inventing()]).compress("wall", PASSAGES)


def test_pins_over_the_budget_raise(make: Callable[..., Pipeline]) -> None:
    """Pinned spans that do not fit are an error that says how many tokens they need."""
    steps = ["score", {"prune": {"threshold": 0.5, "pins": ["noon", "old"]}}, "select"]
    with pytest.raises(BudgetError, match=r"`budget` is 6 but the pinned spans need \d+ tokens"):
        make(steps).compress("wall", PASSAGES, budget=6)


def test_pins_over_the_budget_degrade(make: Callable[..., Pipeline]) -> None:
    """With ``pin_overflow: degrade`` pinned spans give way, and the report says so."""
    steps = ["score", {"prune": {"threshold": 0.5, "pins": ["noon", "old"]}}, "select"]
    packed = make(steps, pin_overflow="degrade").compress("wall", PASSAGES, budget=6)
    assert 0 < packed.token_count <= 6
    assert packed.report["notes"] == ["pins_dropped"]


def test_a_short_gap_is_filled(make: Callable[..., Pipeline]) -> None:
    """A sentence that has no more tokens than its mark stays, although its score is low."""
    packed = make().compress(
        "wall", ["The wall one. No. The wall two. Nobody can say why it is so. Wall."]
    )
    assert packed.text == "The wall one. No. The wall two. […] Wall."


def test_marks_that_cost_more_than_they_save_are_left_out(make: Callable[..., Pipeline]) -> None:
    """The output never has more tokens than the input."""
    text = "Wall one here. Quay one. " * 2 + "Wall two."
    packed = make(render={"gap": "[some text was left out at this very place]"}).compress(
        "wall", [text]
    )
    assert packed.token_count <= packed.input_token_count


def test_one_failing_call_does_not_lose_the_others(make: Callable[..., Pipeline]) -> None:
    """A batch keeps its order; the failing call says why it is empty, and what was dropped."""
    good, bad, also_good = make().compress_batch(
        [("wall", PASSAGES), ("", PASSAGES), ("quay", PASSAGES)]
    )
    assert (good.text, also_good.text) == (
        "The wall is old. \n\nThe wall stands.",
        "The quay is new. ",
    )
    assert bad.report["reasons"] == ["error"]
    assert [(d.start, d.end, d.reason) for d in bad.dropped] == [(0, 51, "error"), (0, 37, "error")]


@pytest.mark.parametrize("item", [("q",), ("q", None), ("q", "text"), ("q", ["a", 7]), None])
def test_an_item_that_is_no_call_does_not_lose_the_others(
    make: Callable[..., Pipeline], item: Any
) -> None:
    """Whatever stands in a batch, the other items are compressed."""
    bad, good = make().compress_batch([item, ("wall", PASSAGES)])
    assert (bad.text, bad.dropped) == ("", ())
    assert bad.report["reasons"] == ["error", "no_passages"]
    assert good.text


def failing_count(text: str) -> int:
    """Count as a counter that fails."""
    raise OSError("no tables")


def test_passthrough_takes_a_failing_counter(make: Callable[..., Pipeline]) -> None:
    """When nothing can be counted nothing can be kept, and the result says so."""
    recipe = make(on_error="passthrough").recipe
    packed = Pipeline.from_recipe(recipe, token_counter=failing_count).compress("wall", PASSAGES)
    assert (packed.text, packed.report["reasons"]) == ("", ["error"])
    assert packed.report["error"] == "OSError: no tables"
    with pytest.raises(OSError, match="no tables"):
        Pipeline.from_recipe(make().recipe, token_counter=failing_count).compress("w", PASSAGES)


def test_a_counter_that_charges_for_no_text_ends(make: Callable[..., Pipeline]) -> None:
    """A counter that adds marks to every text does not keep the budget from being reached."""
    recipe = make(pin_overflow="degrade").recipe
    pipeline = Pipeline.from_recipe(recipe, token_counter=lambda text: len(text) + 2)
    assert pipeline.compress("wall", PASSAGES, budget=1).token_count == 0


def test_the_deadline_counts_from_the_call(make: Callable[..., Pipeline]) -> None:
    """A call that waits for a worker until its deadline is cut when it gets one."""
    pipeline = make(["score", Slow(), {"prune": 0.5}], deadline_ms=100.0)

    async def run() -> list[Any]:
        return await asyncio.gather(*(pipeline.acompress("wall", PASSAGES) for _ in range(12)))

    started = time.perf_counter()
    packed = asyncio.run(run())
    assert all(result.report["reasons"] == ["deadline"] for result in packed)
    assert time.perf_counter() - started < 3 * 0.1 * 12 / 2


def test_the_deadline_counts_from_work_in_the_pool(make: Callable[..., Pipeline]) -> None:
    """An adapter's work before `compress` is within the call's deadline, as its waiting is."""
    pipeline = make(["score", {"prune": 0.5}], deadline_ms=20.0)

    def work() -> Any:
        until = time.perf_counter() + 0.02
        while time.perf_counter() < until:
            time.monotonic()
        return pipeline.compress("wall", PASSAGES)

    assert asyncio.run(pipeline.run_in_pool(work)).report["reasons"] == ["deadline"]


def test_an_unregistered_stage_takes_overrides(make: Callable[..., Pipeline]) -> None:
    """A pipeline of stage objects can be changed like any other."""
    assert Pipeline.from_recipe(make(["score", Slow()]).recipe, budget=5).recipe.budget == 5


def test_a_scorer_must_be_one() -> None:
    """An object that cannot score is refused when the pipeline is made."""
    with pytest.raises(RecipeError, match="balanced: a scorer must have `score`, got 42"):
        Pipeline.from_recipe("balanced", scorer=42)  # type: ignore[arg-type]


def test_messages_do_not_hold_the_input(make: Callable[..., Pipeline]) -> None:
    """A wrong argument of ten megabytes gives a short message."""
    with pytest.raises(InputError) as error:
        make().compress("wall", "x" * 10_000_000)
    assert len(str(error.value)) < 200


def test_rerank_only_keeps_passages_whole(scorer: ConfiguredScorer) -> None:
    """The last cut drops whole passages when the selection is of whole passages."""
    pipeline = Pipeline.from_recipe(
        "rerank-only", scorer=scorer, token_counter=lambda text: len(text) + 9 * text.count("\n")
    )
    for budget in range(0, 160, 5):
        packed = pipeline.compress("wall", PASSAGES, budget=budget)
        assert all(kept.text == kept.passage.text for kept in packed.passages)


def test_the_recipe_has_the_default_budget(make: Callable[..., Pipeline]) -> None:
    """A call's budget takes the place of the recipe's, which holds when there is none."""
    pipeline = make(budget=6)
    assert pipeline.compress("wall", PASSAGES).token_count <= 6
    assert pipeline.compress("wall", PASSAGES, budget=90).token_count > 6


def test_overrides_take_the_place_of_the_recipes_values() -> None:
    """Overrides are checked like the recipe, and an unknown one names the nearest."""
    pipeline = Pipeline.from_recipe("balanced", budget=77, token_counter=len)
    assert pipeline.recipe.budget == 77
    assert pipeline.compress("x", ["x"]).token_count == 1
    with pytest.raises(RecipeError, match="unknown override 'budgett'; did you mean 'budget'"):
        Pipeline.from_recipe("balanced", budgett=3)  # type: ignore[call-arg]
    with pytest.raises(RecipeError, match="`budget` must be greater than or equal to 0, got -3"):
        Pipeline.from_recipe("balanced", budget=-3)


def test_a_pipeline_of_a_pipeline(make: Callable[..., Pipeline]) -> None:
    """Nothing new gives the same pipeline; an override leaves the rest, objects too, as it is."""
    pipeline = Pipeline.from_recipe(make().recipe, token_counter=len)
    assert Pipeline.from_recipe(pipeline, token_counter=None) is pipeline
    again = Pipeline.from_recipe(pipeline, budget=9)
    assert (again.recipe.budget, again.scorer) == (9, pipeline.scorer)
    assert again.token_counter is pipeline.token_counter
    assert Pipeline.from_recipe(again, token_counter="approximate").token_counter.name == (
        "approximate"
    )


def test_data_makes_the_pipeline_again() -> None:
    """What a recipe can name is written as data; an object is refused, not lost."""
    data = Pipeline.from_recipe("balanced", budget=9).to_data()
    assert Pipeline.from_recipe(json.loads(json.dumps(data))).to_data() == data
    for objects in ({"token_counter": len}, {"cache_secret": "0123456789abcdef"}):
        with pytest.raises(RecipeError, match="only what a recipe can name"):
            Pipeline.from_recipe("balanced", **objects).to_data()


def test_records_are_data(make: Callable[..., Pipeline]) -> None:
    """For every kept passage there is one, and it counts the characters that are gone."""
    packed = make().compress("wall", PASSAGES)
    records = packed.records()
    assert json.loads(json.dumps(records)) == records
    assert [record["spans"] for record in records] == [[[0, 17]], [[21, 37]]]
    assert records[1]["dropped"] == {"prune: below_threshold": 21}
    assert records[0]["retrieval_score"] == 0.5


def test_repr_is_what_you_would_type() -> None:
    """Evaluating the repr gives an equal pipeline."""
    pipeline = Pipeline.from_recipe("faithful", budget=9)
    again = eval(repr(pipeline), {"Pipeline": Pipeline})  # noqa: S307
    assert again.recipe == pipeline.recipe


def test_works_after_a_fork(make: Callable[..., Pipeline]) -> None:
    """A child of a process that has used the pool makes a pool of its own."""
    pipeline = make()
    here = asyncio.run(pipeline.acompress("wall", PASSAGES))
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        there = asyncio.run(pipeline.acompress("wall", PASSAGES))
        os.write(write, pickle.dumps(there.text))
        os._exit(0)
    os.waitpid(child, 0)
    assert pickle.loads(os.read(read, 4096)) == here.text


def test_cancelling_leaves_nothing_behind(make: Callable[..., Pipeline]) -> None:
    """A cancelled call raises, and the next one works."""
    pipeline = make()

    async def run() -> str:
        tasks = [asyncio.create_task(pipeline.acompress("wall", PASSAGES)) for _ in range(20)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert any(isinstance(result, asyncio.CancelledError) for result in results)
        return (await pipeline.acompress("wall", PASSAGES)).text

    assert asyncio.run(run()) == pipeline.compress("wall", PASSAGES).text


def test_closing_lets_it_be_used_again(make: Callable[..., Pipeline]) -> None:
    """The context manager releases the pool; a later call makes one again."""
    with make() as pipeline:
        asyncio.run(pipeline.acompress("wall", PASSAGES))
    assert asyncio.run(pipeline.acompress("wall", PASSAGES)).text
    pipeline.close()
