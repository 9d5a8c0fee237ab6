"""Streams: Server-Sent Events from a position on, of which the bridge keeps nothing."""

import json
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Any

import httpx
import pytest

from bridge import errors
from bridge.client import EventClient
from tests.support import Agent, Agents, BridgeProcess, NatsServer, eventually
from tests.support.agents import make_token
from tests.support.answers import assert_problem
from tests.support.clients import KINDS
from tests.support.proxy import Proxy

Json = dict[str, Any]
Item = dict[str, str]


def items(answer: httpx.Response) -> Iterator[Item]:
    """Give what is told, each as its fields."""
    told: Item = {}
    for line in answer.iter_lines():
        if line:
            name, _, value = line.partition(": ")
            told[name] = value
        elif told:
            yield told
            told = {}


@contextmanager
def streaming(agent: Agent, types: str = "*", **asked: Any) -> Iterator[Iterator[Item]]:
    headers = asked.pop("headers", {})
    path = f"/events/stream/{types}" if types else "/events/stream"
    with agent.http.stream("GET", path, params=asked, headers=headers, timeout=30) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.headers["cache-control"] == "no-store"
        yield items(answer)


def ns(told: Iterator[Item], count: int) -> list[int]:
    events = (json.loads(each["data"]) for each in told if "event" not in each)
    return [event["data"]["n"] for event in islice(events, count)]


def test_events_come_as_they_are_published(agents: Agents) -> None:
    publisher, reader = agents(), agents()
    publisher.publish("task", {"n": -1})
    with streaming(reader, "task", filter="n:<3") as told:
        begin = next(told)
        assert (begin["event"], json.loads(begin["data"])) == ("cursor", {"cursor": begin["id"]})
        for n in (0, 7, 1):
            receipt = publisher.publish("task", {"n": n})
        publisher.publish("other", {"n": 2})
        first = next(told)
        assert json.loads(first["data"])["data"] == {"n": 0}
        last = next(told)
        assert last["id"] == json.loads(last["data"])["cursor"] == receipt["cursor"]
    assert reader.subscriptions() == []


def test_it_goes_on_behind_the_last_id(agents: Agents) -> None:
    agent = agents()
    for n in range(4):
        agent.publish("task", {"n": n})
    with streaming(agent, "task", since="earliest", fields="n") as told:
        next(told)
        assert json.loads(next(told)["data"]).keys() == {"event_id", "event_type", "cursor", "data"}
        second = next(told)
    with streaming(agent, headers={"Last-Event-ID": second["id"]}, since="earliest") as told:
        assert ns(told, 2) == [2, 3]


def test_what_is_no_longer_retained_is_a_gap(agents: Agents) -> None:
    agent = agents()
    agent.publish("task", {"n": 0})
    with streaming(agent, since="c0000000000000001-000000000001") as told:
        gap = next(told)
        assert gap["event"] == "gap"
        assert json.loads(gap["data"])["reason"] == "stream_recreated"
        assert ns(told, 1) == [0]


def test_without_types_it_is_the_agent_types_topics(agents: Agents) -> None:
    agent = agents(agent_type="devops-engineer")
    with streaming(agent, "") as told:
        next(told)
        agent.publish("review_requested", {"n": 0}, topic="nobodys")
        agent.publish("phase_complete", {"n": 1}, topic="coordination")
        assert ns(told, 1) == [1]


def test_mistakes_are_told_before_it_begins(agents: Agents) -> None:
    agent = agents()
    assert_problem(agent.http.get("/events/stream/a?filter=a=b"), "EVT_003")
    assert_problem(agent.http.get("/events/stream/a?since=yesterday"), "EVT_004")
    assert_problem(agent.http.get("/events/stream/a?group=g"), "REQ_001", says="group")
    headers = {"Authorization": "Bearer nonsense"}
    assert_problem(agent.http.get("/events/stream/a", headers=headers), "AUTH_001")
    headers = {"Accept": "text/event-stream"}
    refused = agent.http.get("/events/wait/a?timeout=0", headers=headers)
    assert_problem(refused, "REQ_004", says="/api/events/stream/a")


def test_it_ends_with_the_bridge_and_says_when_to_come_again(
    own_nats: NatsServer,
    start_bridge: Callable[..., BridgeProcess],
    agents_on: Callable[[BridgeProcess], Agents],
) -> None:
    bridge = start_bridge(own_nats.url, drain_seconds="1")
    agent = agents_on(bridge)()
    with streaming(agent) as told:
        next(told)
        bridge.send(signal.SIGTERM)
        assert list(told) == [{"retry": "1000"}]


def test_a_reader_that_takes_nothing_slows_only_itself(agents: Agents) -> None:
    agent, slow = agents(), agents()
    with streaming(slow, "big"):  # and reads nothing of it
        for _ in range(40):
            agent.publish("big", {"n": 1, "text": "x" * 200_000})
        with streaming(agent, "big", since="earliest") as told:
            assert len(ns(told, 20)) == 20


@pytest.mark.parametrize("kind", KINDS)
def test_the_client_reads_on_after_its_connection_was_lost(
    bridge: BridgeProcess, agents: Agents, kind: str
) -> None:
    token = make_token("reader", project_id=agents.project)
    publisher = agents()
    with Proxy(bridge) as proxy, KINDS[kind](proxy.api, token) as client:
        seen: list[int] = []
        gaps: list[Any] = []

        def read() -> None:
            options = {"filter": "n:>=0", "since": "earliest", "on_gap": gaps.append}
            for event in client.stream("task", **options):
                seen.append(event.data["n"])
                if len(seen) == 20:
                    return

        with ThreadPoolExecutor() as pool:
            reading = pool.submit(read)
            for n in range(20):
                publisher.publish("task", {"n": n})
                if n % 5 == 2:
                    eventually(lambda: len(seen) > n, what="it")  # noqa: B023
                    proxy.cut()
            reading.result(30)
    assert seen == list(range(20))
    assert gaps == []


def test_the_client_raises_what_does_not_end_by_itself(
    bridge: BridgeProcess, agents: Agents
) -> None:
    with EventClient(bridge.api, agents().token) as client:
        with pytest.raises(errors.FilterInvalid):
            next(client.stream("a", filter="a=b"))
        with pytest.raises(TypeError, match="did you mean `filter`"):
            client.stream("a", filters="a:b")  # type: ignore[call-arg]
