"""The Model Context Protocol with the official client, over stdio and over HTTP."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import httpx2
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from tests.support import Agent, Agents, BridgeProcess, asking, eventually
from tests.support.answers import assert_problem

Json = dict[str, Any]
Connect = Callable[[Agent], Any]
TOOLS = {
    "publish_event",
    "wait_for_events",
    "ask",
    "finish",
    "list_events",
    "explain_wait",
    "who_is_there",
    "describe_events",
}


@pytest.fixture(params=["stdio", "http"])
def connect(request: pytest.FixtureRequest, bridge: BridgeProcess) -> Connect:
    """Connects the official client as an agent."""

    @asynccontextmanager
    async def over_stdio(agent: Agent) -> AsyncIterator[Client]:
        env = {**os.environ, "SIDECAR_URL": bridge.api, "JWT_TOKEN": agent.token}
        command = StdioServerParameters(
            command=sys.executable, args=["-m", "bridge", "mcp"], env=env
        )
        async with Client(command) as client:
            yield client

    @asynccontextmanager
    async def over_http(agent: Agent) -> AsyncIterator[Client]:
        headers = {"Authorization": f"Bearer {agent.token}"}
        async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
            transport = streamable_http_client(f"{bridge.url}/mcp", http_client=http)
            async with Client(transport) as client:
                yield client

    return over_stdio if request.param == "stdio" else over_http


async def call(client: Client, tool: str, **arguments: Any) -> Json:
    answer = await client.call_tool(tool, arguments)
    assert not answer.is_error, answer.content
    assert answer.structured_content is not None
    found: Json = answer.structured_content
    return found


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    answer = await client.call_tool(tool, arguments)
    assert answer.is_error
    return str(getattr(answer.content[0], "text", ""))


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 90))


def test_the_tools_are_described_for_a_model(connect: Connect, agents: Agents) -> None:
    async def test() -> None:
        async with connect(agents("a")) as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            assert tools.keys() == TOOLS
            for tool in tools.values():
                assert len(tool.description or "") > 80, tool.name
                assert "ctx" not in tool.input_schema["properties"]
            templates = (await client.list_resource_templates()).resource_templates
            assert {each.name for each in templates} == {"catalog", "workflow", "event"}

    run(test)


def test_two_agents_work_through_a_workflow(connect: Connect, agents: Agents) -> None:
    lead, coder = agents("lead"), agents("coder")

    async def code(client: Client) -> None:
        found = await call(client, "wait_for_events", event_types=["task_assigned"])
        [task] = found["events"]
        assert task["delivery_count"] == 1
        await call(
            client,
            "publish_event",
            event_type="implementation_complete",
            data={"files_changed": task["data"]["files"]},
            correlation_id=task["correlation_id"],
        )
        settled = await call(client, "finish", ack_ids=[found["ack_id"]])
        assert settled == {"done": [found["ack_id"]], "failed": []}

    async def test() -> None:
        async with connect(lead) as leading, connect(coder) as coding:
            work = asyncio.create_task(code(coding))
            asked = await call(
                leading,
                "ask",
                event_type="task_assigned",
                data={"files": 3},
                reply_types=["implementation_complete"],
            )
            await work
            [reply] = asked["events"]
            assert reply["data"] == {"files_changed": 3}
            told = await call(leading, "list_events", correlation_id=asked["correlation_id"])
            assert [event["publisher"] for event in told["events"]] == ["coder", "lead"]
            uri = f"events://workflow/{asked['correlation_id']}"
            content = await leading.read_resource(uri)
            assert '"files_changed": 3' in str(getattr(content.contents[0], "text", ""))
            rest = await call(coding, "wait_for_events", event_types=["task_assigned"], timeout=0)
            assert rest["events"] == []
            assert rest["hints"][0]["about"] == "delivered"
            assert "wait_for_events again" in rest["next"]
            who = await call(leading, "who_is_there")
            assert {"lead", "coder"} <= {each["agent_id"] for each in who["agents"]}

    run(test)


def test_the_next_wait_finishes_the_last(connect: Connect, agents: Agents) -> None:
    agent = agents("worker")
    for n in range(2):
        agent.publish("task", {"n": n})

    async def test() -> None:
        async with connect(agent) as client:
            first = await call(client, "wait_for_events", event_types=["task"], limit=1)
            again = {"event_types": ["task"], "limit": 1, "done": [first["ack_id"]]}
            second = await call(client, "wait_for_events", **again)
            assert [each["data"]["n"] for each in second["events"]] == [1]
            late = await refused(client, "finish", ack_ids=[first["ack_id"]], outcome="release")
            assert "may be another's" in late
            await call(client, "finish", ack_ids=[second["ack_id"]], outcome="reject", reason="no")
            [dead] = (await call(client, "list_events", event_types=["delivery_failed"]))["events"]
            assert dead["data"]["reason"] == "no"

    run(test)


def test_mistakes_are_told_in_the_bridges_words(connect: Connect, agents: Agents) -> None:
    async def test() -> None:
        async with connect(agents("a", permissions=[])) as client:
            assert "Write `a:b`" in await refused(
                client, "wait_for_events", event_types=["x"], filter="a=b"
            )
            assert "publish_events" in await refused(client, "publish_event", event_type="x")
            explained = await call(client, "explain_wait", event_types=["task"])
            assert explained["hints"]

    run(test)


def test_a_cancelled_wait_leaves_its_events_to_the_next(
    connect: Connect, agents: Agents, bridge: BridgeProcess
) -> None:
    agent = agents("worker")

    async def test() -> None:
        async with connect(agent) as client:
            waiting = asyncio.create_task(
                call(client, "wait_for_events", event_types=["task"], timeout=40)
            )
            await asyncio.to_thread(
                eventually, lambda: asking.open_waits(bridge.url) == 1, what="the wait"
            )
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        await asyncio.to_thread(
            eventually, lambda: asking.open_waits(bridge.url) == 0, what="the end of the wait"
        )
        agent.publish("task", {"n": 1})
        async with connect(agent) as client:
            found = await call(client, "wait_for_events", event_types=["task"], timeout=20)
            assert [each["data"]["n"] for each in found["events"]] == [1]

    run(test)


def test_progress_is_told_to_who_asks(connect: Connect, agents: Agents) -> None:
    told: list[float] = []

    async def progress(now: float, total: float | None, message: str | None) -> None:
        assert (total, message) == (7, "nothing yet")
        told.append(now)

    async def test() -> None:
        async with connect(agents("a")) as client:
            arguments = {"event_types": ["never"], "timeout": 7}
            await client.call_tool("wait_for_events", arguments, progress_callback=progress)
            assert told == [5]

    run(test)


def test_who_may_not_come_in_is_told_so(bridge: BridgeProcess, agents: Agents) -> None:
    url = f"{bridge.url}/mcp"
    assert_problem(httpx.post(url, json={}), "AUTH_001")
    headers = {"Authorization": "Bearer nonsense"}
    assert_problem(httpx.post(url, json={}, headers=headers), "AUTH_001")
    headers = {"Authorization": f"Bearer {agents().token}", "Origin": "https://evil.example"}
    told = assert_problem(httpx.post(url, json={}, headers=headers), "AUTH_003")
    assert "evil.example" in told["message"]


def test_a_client_that_vanishes_in_a_wait_takes_nothing_along(
    bridge: BridgeProcess, agents: Agents
) -> None:
    agent = agents("worker")
    arguments = {"event_types": ["task"], "timeout": 60}
    asked = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "wait_for_events", "arguments": arguments},
    }
    headers = {
        "Authorization": f"Bearer {agent.token}",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2025-06-18",
    }
    with httpx.Client(headers=headers) as client, pytest.raises(httpx.ReadTimeout):
        client.post(f"{bridge.url}/mcp", json=asked, timeout=3)
    assert len(agent.subscriptions()) == 1, "it has waited"
    eventually(lambda: asking.open_waits(bridge.url) == 0, what="the end of the wait")
    agent.publish("task", {"n": 1})
    [event] = agent.events("task", timeout=10)
    assert event["data"] == {"n": 1}
