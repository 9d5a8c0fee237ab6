"""Repeats: acknowledged is not given again, and what may have been given before says so."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support import Agents, BridgeProcess, NatsServer, eventually
from tests.support.jetstream import delete_consumer
from tests.test_delivery import numbers
from tests.test_lost_consumers import subscription

Start = Callable[..., BridgeProcess]
AgentsOn = Callable[[BridgeProcess], Agents]


def crash(server: NatsServer, *bridges: BridgeProcess) -> None:
    """Let the server die as a machine does, and wait until the bridges are on the next one."""
    server.kill()
    server.start()
    for bridge in bridges:
        eventually(bridge.ready, what="readiness")


@pytest.mark.parametrize("query", [{}, {"filter": "correlation_id:c-1"}])
def test_a_server_that_was_killed_repeats_nothing_that_its_bridge_acknowledged(
    own_nats: NatsServer, start_bridge: Start, agents_on: AgentsOn, query: dict[str, Any]
) -> None:
    """nats-server writes how a consumer stands later than it takes an acknowledgement."""
    bridge = start_bridge(own_nats.url, ack_wait_seconds="2")
    agents = agents_on(bridge)
    publisher, reader = agents("publisher"), agents("reader")
    reader.wait("work", **query)
    publisher.publish_many(
        {"event_type": "work", "data": {"n": n}, "correlation_id": "c-1"} for n in range(25)
    )
    assert numbers(reader.events("work", timeout=5, count=25, **query)) == list(range(25))
    crash(own_nats, bridge)
    assert reader.events("work", timeout=2.5, **query) == [], "again, or again after ack_wait"
    publisher.publish("work", {"n": 25}, correlation_id="c-1")
    [event] = reader.events("work", timeout=5, **query)
    assert (event["data"]["n"], event["delivery_count"]) == (25, 1)
    publisher.publish("work", {"n": 26}, correlation_id="c-1")
    assert numbers(reader.events("work", timeout=0, limit=1, **query)) == [26]


def test_what_another_bridge_may_have_given_says_so(
    own_nats: NatsServer, start_bridge: Start, agents_on: AgentsOn
) -> None:
    first, second = start_bridge(own_nats.url), start_bridge(own_nats.url)
    reader = agents_on(first)("reader", project_id="p")
    elsewhere = agents_on(second)("reader", project_id="p")
    reader.publish_many({"event_type": "work", "data": {"n": n}} for n in range(5))
    assert len(elsewhere.events("work")) == 5
    crash(own_nats, first, second)
    for event in reader.events("work", timeout=0.3):
        assert event["delivery_count"] >= 2, event
    reader.publish("work", {"n": 5})
    fresh = reader.events("work", timeout=5)[-1]
    assert (fresh["data"]["n"], fresh["delivery_count"]) == (5, 1)


def test_what_nobody_was_given_is_not_held_back(
    own_nats: NatsServer, start_bridge: Start, agents_on: AgentsOn
) -> None:
    """Of ten events, five were given before the crash, and the others never."""
    bridge = start_bridge(own_nats.url)
    reader = agents_on(bridge)("reader")
    reader.publish_many({"event_type": "work", "data": {"n": n}} for n in range(10))
    assert numbers(reader.events("work", limit=5)) == [0, 1, 2, 3, 4]
    crash(own_nats, bridge)
    assert numbers(reader.events("work", timeout=5, count=5)) == [5, 6, 7, 8, 9]


def test_a_subscription_that_was_deleted_elsewhere_begins_anew(
    own_nats: NatsServer, start_bridge: Start, agents_on: AgentsOn
) -> None:
    """This bridge knows of acknowledgements that count no longer."""
    first, second = start_bridge(own_nats.url), start_bridge(own_nats.url)
    reader = agents_on(first)("reader", project_id="p")
    elsewhere = agents_on(second)("reader", project_id="p")
    reader.publish_many({"event_type": "work", "data": {"n": n}} for n in range(3))
    assert len(reader.events("work")) == 3
    [found] = eventually(elsewhere.subscriptions, what="word of it on the other bridge")
    assert elsewhere.http.delete(f"/subscriptions/{found['name']}").status_code == 204
    assert elsewhere.events("work", limit=1)[0]["data"] == {"n": 0}
    assert numbers(reader.events("work")) == [1, 2]


def test_what_a_consumer_repeats_that_was_made_in_the_place_of_a_lost_one_says_so(
    own_nats: NatsServer, start_bridge: Start, agents_on: AgentsOn
) -> None:
    """How much of the rest the one before had given, and to whom, is not known."""
    agents = agents_on(start_bridge(own_nats.url))
    publisher, reader = agents("publisher"), agents("reader")
    for n in range(3):
        publisher.publish("work", {"n": n})
    assert numbers(reader.events("work", limit=1)) == [0]
    delete_consumer(own_nats.url, subscription(own_nats.url, reader.project))
    events = reader.events("work", timeout=5, count=2)
    assert numbers(events) == [1, 2]
    assert [event["delivery_count"] for event in events] == [2, 2]
    publisher.publish("work", {"n": 3})
    assert reader.events("work", timeout=5)[0]["delivery_count"] == 1
