"""`CtxPackMiddleware` in a real agent: long tool results are pruned, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import StructuredTool, tool
from langgraph.checkpoint.memory import InMemorySaver

from ctxpack import Pipeline
from langchain_ctxpack import CtxPackMiddleware

ASKED = "When was the lighthouse automated?"
ANSWER = "The lighthouse was automated in 1987."
PROSE = " ".join(f"Boat {n} landed {n + 7} boxes of fish." for n in range(200))
LONG = f"{PROSE} {ANSWER} {PROSE}"

Run = Callable[..., ToolMessage]


def calls(name: str, **args: Any) -> AIMessage:
    """Return a message in which the model calls a tool."""
    return AIMessage("", tool_calls=[{"name": name, "args": args, "id": f"call-{name}"}])


def asks_back(messages: list[BaseMessage]) -> AIMessage:
    """Return a message in which the model asks for what the last tool result left out."""
    found = re.search(r"expand_context\(id='(\w+)'\)", messages[-1].text)
    assert found
    return calls("expand_context", id=found[1])


def tokens(text: str) -> int:
    """Return the tokens of a text by the default counter."""
    return Pipeline.from_recipe("balanced").token_counter.count(text)


@pytest.fixture
def run(scripted: Callable[..., Any]) -> Run:
    """Return a function that lets an agent call a tool, and gives the tool's message."""

    def run(result: Any, *, middleware: CtxPackMiddleware, is_async: bool = False) -> ToolMessage:
        look = StructuredTool.from_function(
            func=lambda: result,
            coroutine=_returning(result),
            name="look",
            description="Look.",
            response_format="content_and_artifact" if isinstance(result, tuple) else "content",
        )
        model = scripted(calls("look"), AIMessage("Done."))
        agent = create_agent(model, [look], middleware=[middleware])
        asked = {"messages": [HumanMessage(ASKED)]}
        state = asyncio.run(agent.ainvoke(asked)) if is_async else agent.invoke(asked)
        message: ToolMessage = model.prompts[1][-1]
        assert message == state["messages"][2]
        return message

    return run


def _returning(result: Any) -> Any:
    async def look() -> Any:
        return result

    return look


def test_a_long_result_is_pruned_to_the_request(run: Run) -> None:
    """What answers the request stays, within the budget, and a mark says that parts are missing."""
    message = run(LONG, middleware=CtxPackMiddleware(budget=100))
    assert ANSWER in message.text
    assert "expand_context(id=" in message.text
    assert tokens(message.text) <= 100


def test_async_equals_sync(run: Run) -> None:
    """An agent that runs async sees the same bytes."""
    middleware = CtxPackMiddleware(budget=100)
    assert run(LONG, middleware=middleware, is_async=True).content == (
        run(LONG, middleware=middleware).content
    )


def test_the_same_result_gives_the_same_bytes(run: Run) -> None:
    """Another instance prunes to the same content and artifact, so prefix caches stay valid."""
    first, second = (run(LONG, middleware=CtxPackMiddleware(budget=100)) for _ in range(2))
    assert (first.content, first.artifact) == (second.content, second.artifact)


def test_a_short_result_is_left_alone(run: Run) -> None:
    """A result within the budget comes out as it is, without an artifact."""
    message = run(ANSWER, middleware=CtxPackMiddleware(budget=100))
    assert message.text == ANSWER
    assert message.artifact is None


def test_a_result_below_the_least_size_is_left_alone(run: Run) -> None:
    """`min_tokens` spares results even if they are over the budget."""
    middleware = CtxPackMiddleware(budget=100, min_tokens=1_000_000)
    assert run(LONG, middleware=middleware).text == LONG


def test_other_tools_are_left_alone(run: Run) -> None:
    """With an allow-list, only results of the tools on it are pruned."""
    assert run(LONG, middleware=CtxPackMiddleware(budget=100, only=["search"])).text == LONG
    assert run(LONG, middleware=CtxPackMiddleware(budget=100, only=["look"])).text != LONG


def test_the_artifact_of_a_tool_is_kept(run: Run) -> None:
    """An artifact of the tool's own stays beside what was left out."""
    message = run((LONG, {"rows": 3}), middleware=CtxPackMiddleware(budget=100))
    assert message.artifact["rows"] == 3
    message = run((LONG, ["row"]), middleware=CtxPackMiddleware(budget=100))
    assert message.artifact["artifact"] == ["row"]


def test_what_was_left_out_is_verbatim(run: Run) -> None:
    """Kept and left-out text together are the result."""
    message = run(LONG, middleware=CtxPackMiddleware(budget=100))
    [dropped] = message.artifact["ctxpack"].values()
    rest = LONG
    for part in dropped:
        assert part in rest
        rest = rest.replace(part, "", 1)
    assert all(sentence in message.text for sentence in rest.split(". "))


def test_json_stays_json(run: Run) -> None:
    """Elements of an array are kept whole; the mark is the last element."""
    rows = [{"id": n, "name": f"harbour {n}", "depth": n * 1.10} for n in range(300)]
    rows[170]["name"] = "lighthouse, automated"
    message = run(json.dumps(rows), middleware=CtxPackMiddleware(budget=120))
    *kept, mark = json.loads(message.text)
    assert rows[170] in kept
    assert all(row in rows for row in kept)
    assert "expand_context" in mark


def test_long_strings_in_json_are_pruned(run: Run) -> None:
    """In a record the long text is pruned and its other members stay."""
    found = {"query": "light", "results": [{"url": f"u{n}", "text": PROSE} for n in range(5)]}
    found["results"][3]["text"] = LONG
    message = run(found, middleware=CtxPackMiddleware(budget=150))
    read = json.loads(message.text)
    assert read["query"] == "light"
    [kept] = [record for record in read["results"] if record["url"] == "u3"]
    assert ANSWER in kept["text"]
    assert tokens(message.text) <= 150


def test_lines_of_a_log_stay_whole(run: Run) -> None:
    """A traceback is kept with all its lines, and every kept line is one of the log."""
    log = [f"12:00:{n:02d} INFO pump {n} took {n * 3} ms" for n in range(60)]
    error = [
        "12:01:00 ERROR pump 61 stopped",
        "Traceback (most recent call last):",
        '  File "pump.py", line 7, in start',
        "    valve = valves[name]",
        "KeyError: 'north'",
    ]
    message = run("\n".join([*log, *error, *log]), middleware=CtxPackMiddleware(budget=120))
    assert "\n".join(error) in message.text
    assert set(message.text.splitlines()[:-1]) <= {*log, *error, "[…]"}


def test_code_and_tables_stay_whole(run: Run) -> None:
    """A code block and the rows of a table are kept whole or not at all."""
    code = "```python\ndef automate(lighthouse):\n    lighthouse.keeper = None\n```"
    table = "| Lighthouse | Automated |\n|---|---|\n| North | 1987 |\n| South | 1991 |"
    text = f"# Boats\n\n{PROSE}\n\n# Lighthouses\n\n{table}\n\n{code}\n\n# More\n\n{PROSE}"
    message = run(text, middleware=CtxPackMiddleware(budget=130))
    assert "| Lighthouse | Automated |\n|---|---|\n| North | 1987 |" in message.text
    assert message.text.count("```") in (0, 2)


def test_blocks_of_a_result_are_pruned_together(run: Run) -> None:
    """Blocks of JSON are kept whole or dropped, the budget is for all, and images stay."""
    image = {"type": "image", "url": "x"}
    blocks = [{"type": "text", "text": json.dumps({"n": n, "is": PROSE[:200]})} for n in range(9)]
    blocks[5]["text"] = json.dumps({"is": ANSWER})
    message = run([*blocks, image], middleware=CtxPackMiddleware(budget=120))
    texts = [block["text"] for block in message.content if block["type"] == "text"]
    assert blocks[5] in message.content
    assert image in message.content
    assert all(isinstance(json.loads(text), dict) for text in texts[:-1])
    assert tokens("\n\n".join(texts)) <= 120


def test_a_result_of_which_nothing_fits(run: Run) -> None:
    """When no part fits, the mark alone stays, and the whole result can be had back."""
    middleware = CtxPackMiddleware(budget=40)
    message = run("x" * 9000, middleware=middleware)
    assert message.text.startswith("[parts left out")
    [dropped] = message.artifact["ctxpack"].values()
    assert "".join(dropped) == "x" * 9000


def test_a_failed_call_is_left_alone(scripted: Callable[..., Any]) -> None:
    """The message of a tool that failed comes out whole."""

    @tool
    def fail() -> ToolMessage:
        """Fail."""
        return ToolMessage(LONG, tool_call_id="call-fail", status="error")

    model = scripted(calls("fail"), AIMessage("Done."))
    agent = create_agent(model, [fail], middleware=[CtxPackMiddleware(budget=100)])
    agent.invoke({"messages": [HumanMessage(ASKED)]})
    assert model.prompts[1][-1].text == LONG


def test_a_given_function_makes_the_query(run: Run) -> None:
    """In a conversation the query can come from more than the last message."""
    middleware = CtxPackMiddleware(budget=60, query_from=lambda request: "boxes of boat 150")
    assert "Boat 150 landed 157 boxes" in run(LONG, middleware=middleware).text


@tool
def look() -> str:
    """Look."""
    return LONG


def test_the_agent_gets_the_rest_back(scripted: Callable[..., Any]) -> None:
    """`expand_context` gives what was left out, in full, and that is not pruned again."""
    model = scripted(calls("look"), asks_back, AIMessage("Done."))
    agent = create_agent(model, [look], middleware=[CtxPackMiddleware(budget=100)])
    agent.invoke({"messages": [HumanMessage(ASKED)]})
    given = model.prompts[2][-1].text
    assert "Boat 150 landed 157 boxes of fish." in given
    assert len(given) > len(LONG) - 500


def test_a_checkpointer_keeps_the_rest(scripted: Callable[..., Any]) -> None:
    """In a later turn the rest comes out of the saved state, and no prompt has held it."""
    model = scripted(calls("look"), AIMessage("In 1987."), AIMessage("Yes."))
    middleware = [CtxPackMiddleware(budget=100)]
    agent = create_agent(model, [look], middleware=middleware, checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    for asked in (ASKED, "Sure?"):
        agent.invoke({"messages": [HumanMessage(asked)]}, config)
    saved = agent.get_state(config).values["messages"][2]
    assert "Boat 150 " in str(saved.artifact)
    assert "Boat 150 " not in str([message.content for message in model.prompts[2]])


def test_an_unknown_id_is_answered(scripted: Callable[..., Any]) -> None:
    """Asking for an id that no result has gives a plain sentence."""
    model = scripted(calls("expand_context", id="nothing"), AIMessage("Done."))
    agent = create_agent(model, [], middleware=[CtxPackMiddleware()])
    agent.invoke({"messages": [HumanMessage(ASKED)]})
    assert "'nothing'" in model.prompts[1][-1].text


def test_wrong_settings_are_refused() -> None:
    """A budget without room for the mark, and one name in place of a list, are errors."""
    with pytest.raises(ValueError, match="`budget` must be at least"):
        CtxPackMiddleware(budget=5)
    with pytest.raises(ValueError, match="`only`"):
        CtxPackMiddleware(only="search")
