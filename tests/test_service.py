"""The bridge as a NATS micro service (ADR-32): found, described and counted over NATS alone."""

import asyncio
import json
from collections.abc import Callable
from functools import cache
from math import inf
from typing import Any

import httpx
import nats
import pytest
from nats.errors import NoRespondersError

from bridge import __version__
from bridge.request_counts import ENDPOINTS
from tests.support import Agents, BridgeProcess, NatsServer
from tests.support.waiting import eventually

NAME = "agent-event-bridge"


def asked(url: str, subject: str, most: float = inf) -> list[Any]:
    """Give every answer to a request; half a second after another there is no other.

    Where no more than so many can come, that need not be waited for.
    """

    async def main() -> list[Any]:
        client = await nats.connect(url)
        try:
            inbox = client.new_inbox()
            answers = await client.subscribe(inbox)
            await client.publish(subject, b"", reply=inbox)
            found: list[Any] = []
            while len(found) < most:
                try:
                    message = await answers.next_msg(timeout=0.5 if found else 10)
                except TimeoutError:
                    return found
                if message.headers and message.headers.get("Status") == "503":
                    raise NoRespondersError
                found.append(json.loads(message.data))
            return found
        finally:
            await client.close()

    return asyncio.run(main())


def instances(url: str, verb: str) -> list[Any]:
    try:
        return asked(url, f"$SRV.{verb}.{NAME}")
    except NoRespondersError:
        return []


@cache
def identity(bridge: BridgeProcess, url: str) -> str:
    """Give the ID of one bridge among those on a NATS."""
    found = instances(url, "PING")
    [own] = [each["id"] for each in found if each["metadata"]["listens_on"] == bridge.url]
    return str(own)


def of(bridge: BridgeProcess, url: str, verb: str) -> Any:
    """Give what one bridge answers."""
    [found] = asked(url, f"$SRV.{verb}.{NAME}.{identity(bridge, url)}", most=1)
    return found


def numbers(bridge: BridgeProcess, url: str) -> dict[str, Any]:
    return {each["name"]: each for each in of(bridge, url, "STATS")["endpoints"]}


def test_a_bridge_says_what_it_is(bridge: BridgeProcess, nats_url: str) -> None:
    info = of(bridge, nats_url, "INFO")
    assert (info["name"], info["version"]) == (NAME, __version__)
    assert info["description"]
    assert info["metadata"]["stream"] == "EVENTS"
    assert info["metadata"]["connection"].startswith("bridge/")
    assert [endpoint["name"] for endpoint in info["endpoints"]] == list(ENDPOINTS)
    assert of(bridge, nats_url, "PING")["id"] == info["id"]


def test_its_statistics_are_those_of_http(
    bridge: BridgeProcess, agents: Agents, nats_url: str
) -> None:
    agent = agents()
    before = numbers(bridge, nats_url)
    agent.publish("tests_passing")
    agent.publish("tests_passing")
    refused = httpx.post(f"{bridge.api}/events/tests_passing", json={})
    assert refused.status_code == 401
    assert len(agent.events("tests_passing", count=2, timeout=10)) == 2
    after = numbers(bridge, nats_url)

    def more(endpoint: str, field: str) -> int:
        difference: int = after[endpoint][field] - before[endpoint][field]
        return difference

    assert more("publish", "num_requests") == 3
    assert more("publish", "num_errors") == 0
    assert more("wait", "num_requests") == 1
    assert more("publish", "processing_time") > 0
    statuses = (after["publish"]["data"]["by_status"], before["publish"]["data"]["by_status"])
    assert {
        status: count - statuses[1].get(status, 0)
        for status, count in statuses[0].items()
        if count != statuses[1].get(status, 0)
    } == {"202": 2, "401": 1}
    publish = after["publish"]
    average = publish["processing_time"] // publish["num_requests"]
    assert publish["average_processing_time"] == average


def test_they_agree_with_the_metrics(bridge: BridgeProcess, agents: Agents, nats_url: str) -> None:
    agents().publish("tests_passing")
    text = httpx.get(f"{bridge.url}/metrics").text
    told = numbers(bridge, nats_url)
    for endpoint in ENDPOINTS:
        marker = f'bridge_http_requests_total{{route="{endpoint}",'
        counted = sum(float(line.split()[1]) for line in text.splitlines() if marker in line)
        assert told[endpoint]["num_requests"] == counted, endpoint


def test_every_endpoint_answers_with_its_own_numbers(
    bridge: BridgeProcess, agents: Agents, nats_url: str
) -> None:
    agents().publish("tests_passing")
    for endpoint in of(bridge, nats_url, "INFO")["endpoints"]:
        [answer] = asked(nats_url, endpoint["subject"], most=1)
        assert set(answer) == {"requests", "failed", "seconds", "by_status"}
        assert answer["requests"] == sum(answer["by_status"].values())


def test_what_fails_counts_as_an_error(
    own_nats: NatsServer, start_bridge: Callable[..., BridgeProcess], agents_on: Any
) -> None:
    bridge = start_bridge(own_nats.url, publish_timeout_seconds="0.5")
    agent = agents_on(bridge)()
    own_nats.stop()
    answer = agent.http.post("/events/tests_passing", json={"data": {}})
    assert answer.status_code == 503
    own_nats.start()
    eventually(bridge.ready, what="readiness")
    publish = numbers(bridge, own_nats.url)["publish"]
    assert (publish["num_requests"], publish["num_errors"]) == (1, 1)
    assert publish["data"]["by_status"] == {"503": 1}


def test_a_bridge_is_there_again_after_an_outage_and_gone_after_its_end(
    own_nats: NatsServer, start_bridge: Callable[..., BridgeProcess]
) -> None:
    bridge, other = start_bridge(own_nats.url), start_bridge(own_nats.url)
    eventually(lambda: len(instances(own_nats.url, "PING")) == 2, what="both services")
    own_nats.kill()
    own_nats.start()
    eventually(lambda: len(instances(own_nats.url, "PING")) == 2, what="both services")
    assert other.stop() == 0
    assert [one["metadata"]["listens_on"] for one in instances(own_nats.url, "PING")] == [
        bridge.url
    ]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_every_endpoint_is_counted_under_the_name_that_requests_get(
    bridge: BridgeProcess, agents: Agents, nats_url: str, endpoint: str
) -> None:
    agent = agents()
    calls: dict[str, tuple[str, str]] = {
        "publish": ("POST", "/api/events/tests_passing"),
        "publish_many": ("POST", "/api/events"),
        "wait": ("GET", "/api/events/wait/nothing_here?timeout=0"),
        "deliveries": ("POST", "/api/deliveries/ack"),
        "stream": ("GET", "/api/events/stream?since=wrong"),
        "history": ("GET", "/api/events"),
        "explain": ("GET", "/api/events/explain/nothing_here"),
        "event": ("GET", "/api/events/no-such-event"),
        "catalog": ("GET", "/api/catalog"),
        "agents": ("GET", "/api/agents"),
        "subscriptions": ("GET", "/api/subscriptions"),
        "tokens": ("POST", "/api/tokens/refresh"),
        "status": ("GET", "/status"),
    }
    method, path = calls[endpoint]
    before = numbers(bridge, nats_url)[endpoint]["num_requests"]
    answer = httpx.request(
        method, f"{bridge.url}{path}", headers={"Authorization": f"Bearer {agent.token}"}
    )
    assert answer.status_code < 500
    assert numbers(bridge, nats_url)[endpoint]["num_requests"] == before + 1
