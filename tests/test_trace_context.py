"""W3C Trace Context: a publisher's place in a trace goes with its event."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from nats.js import JetStreamContext

from bridge.client import EventClient
from bridge.events import read_trace
from tests.support import Agents, BridgeProcess, NatsServer, eventually, on_jetstream

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
STATE = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"


@pytest.mark.parametrize("since", [{}, {"since": "earliest"}], ids=["durable", "since"])
def test_it_is_delivered_with_the_event(agents: Agents, since: dict[str, str]) -> None:
    agent = agents()
    headers = {"traceparent": PARENT, "tracestate": STATE}
    agent.http.post("/events/task", json={}, headers=headers).raise_for_status()
    batch = [{"event_type": "task"}, {"event_type": "task"}]
    agent.http.post("/events", json=batch, headers={"traceparent": PARENT}).raise_for_status()
    agent.publish("task")
    events = agent.events("task", count=4, timeout=10, **since)
    assert [event.get("traceparent") for event in events] == [PARENT, PARENT, PARENT, None]
    assert [event.get("tracestate") for event in events] == [STATE, None, None, None]
    assert "traceparent" not in events[3]


def test_it_is_on_the_message_for_programs_of_nats(
    agents: Agents, nats_url: str, bridge: BridgeProcess
) -> None:
    agent = agents()
    headers = {"traceparent": PARENT, "tracestate": STATE}
    agent.http.post("/events/task", json={}, headers=headers).raise_for_status()

    async def newest(js: JetStreamContext) -> dict[str, str] | None:
        message = await js.get_last_msg("EVENTS", f"events.{agent.project}.>")
        return message.headers

    found = on_jetstream(nats_url, newest)
    assert found is not None
    assert {name: found[name] for name in headers} == headers
    with EventClient(bridge.api, agent.token) as client:
        assert client.wait("task", timeout=10).events[0].traceparent == PARENT


@pytest.mark.parametrize(
    "parent",
    [
        None,
        "",
        "nonsense",
        PARENT.upper(),
        PARENT.replace("00-", "ff-"),
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01",
        f"{PARENT}-extra",
    ],
)
def test_what_is_none_is_passed_over(parent: str | None) -> None:
    assert read_trace(parent, STATE) is None


def test_a_state_that_is_too_long_is_left_out() -> None:
    trace = read_trace(PARENT, "a" * 513)
    assert trace == (PARENT, None)


def test_with_opentelemetry_publishes_waits_and_deliveries_are_spans(
    own_nats: NatsServer,
    start_bridge: Callable[..., BridgeProcess],
    agents_on: Callable[[BridgeProcess], Agents],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    bridge = start_bridge(own_nats.url)
    agent = agents_on(bridge)()
    agent.http.post("/events/task", json={}, headers={"traceparent": PARENT}).raise_for_status()
    [event] = agent.events("task", timeout=10)
    _, trace, span, _ = event["traceparent"].split("-")
    assert trace == PARENT.split("-")[1], "it is in the publisher's trace"
    assert span != PARENT.split("-")[2], "behind the bridge's span"
    eventually(lambda: '"name": "deliver"' in bridge.log, what="the spans")
    spans = {found["name"]: found for found in _spans(bridge.log)}
    assert spans.keys() == {"publish task", "receive task", "deliver"}
    assert spans["publish task"]["context"]["span_id"] == f"0x{span}"
    assert spans["publish task"]["parent_id"] == f"0x{PARENT.split('-')[2]}"
    assert [link["context"]["span_id"] for link in spans["deliver"]["links"]] == [f"0x{span}"]
    assert spans["deliver"]["resource"]["attributes"]["service.name"] == "agent-event-bridge"


def _spans(log: str) -> list[dict[str, Any]]:
    """Read what the exporter to the console wrote among the lines of the log."""
    decoder, found, at = json.JSONDecoder(), [], log.find("{")
    while at >= 0:
        content, end = decoder.raw_decode(log, at)
        found += [content] if "context" in content else []
        at = log.find("{", end)
    return found
