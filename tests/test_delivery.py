"""Delivery: each event once, in order, acknowledged when its answer was written."""

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlparse

import pytest

from tests.support import Agent, Agents, BridgeProcess, NatsServer, asking, eventually

Start = Callable[..., BridgeProcess]
AgentsOn = Callable[[BridgeProcess], Agents]


def numbers(events: list[dict[str, object]]) -> list[int]:
    return [event["data"]["n"] for event in events]  # type: ignore[index]


def waiting(agent: Agent) -> int:
    """Count the pulls that are open on the agent's subscriptions."""
    return sum(found["waiting"] for found in agent.subscriptions())


def open_wait(url: str, agent: Agent, query: str) -> socket.socket:
    """Send a wait on a bare connection, which the test may close at any moment."""
    where = urlparse(url)
    connection = socket.create_connection((where.hostname, where.port))
    connection.sendall(
        f"GET /api/events/wait/{query} HTTP/1.1\r\nHost: bridge\r\n"
        f"Authorization: Bearer {agent.token}\r\n\r\n".encode()
    )
    return connection


def test_a_reply_published_before_its_waiter_asks_is_not_lost(agents: Agents) -> None:
    agents("replier").publish("reply", {"n": 1}, correlation_id="c-1")
    [event] = agents("asker").events("reply", filter="correlation_id:c-1")
    assert event["data"] == {"n": 1}
    assert event["delivery_count"] == 1


def test_each_event_comes_once_and_in_order(agents: Agents) -> None:
    publisher, reader = agents("publisher"), agents("reader")
    publisher.publish_many({"event_type": "step", "data": {"n": n}} for n in range(250))
    seen: list[int] = []
    while True:
        batch = reader.wait("step", limit=100)
        seen += numbers(batch["events"])
        assert batch["more_available"] is (len(seen) < 250)
        if not batch["events"]:
            break
    assert seen == list(range(250))


def test_what_was_just_published_is_there(agent: Agent) -> None:
    """nats-server acknowledges a message some time before its consumers know of it."""
    for number in range(100):
        agent.publish("step", {"n": number})
        assert numbers(agent.events("step")) == [number]


def test_the_cursor_of_an_empty_answer_is_not_before_what_was_delivered(agents: Agents) -> None:
    """Nor before what a subscription to new events was to pass over."""
    publisher, reader = agents("publisher"), agents("reader")
    for number in range(50):
        receipt = publisher.publish("step", {"n": number})
        fresh = reader.wait("step", deliver="new", filter=f"n:>{number}")
        assert fresh["next_cursor"] >= receipt["cursor"]
        [event] = reader.events("step")
        assert reader.wait("step")["next_cursor"] >= event["cursor"]


def test_a_waiting_poll_is_answered_when_its_event_comes(agents: Agents) -> None:
    publisher, reader = agents("publisher"), agents("reader")
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(reader.wait, "late", timeout=100)
        eventually(lambda: waiting(reader) == 1, what="the pull")
        cursor = publisher.publish("late", {"n": 1})["cursor"]
        batch = answer.result()
    assert batch["timeout"] is False
    assert batch["next_cursor"] == batch["events"][0]["cursor"] == cursor


def test_a_timeout_has_a_cursor_and_nothing_falls_between_two_polls(agents: Agents) -> None:
    publisher, reader = agents("publisher"), agents("reader")
    before = reader.wait("gap", timeout=0.05)
    assert before["timeout"] is True
    assert before["events"] == []
    publisher.publish("gap", {"n": 1})
    assert numbers(reader.events("gap")) == [1]
    assert numbers(reader.events("gap", since=before["next_cursor"])) == [1]


def test_different_filters_are_different_subscriptions(agents: Agents) -> None:
    publisher, reader = agents("publisher"), agents("reader")
    for n in range(6):
        publisher.publish("mixed", {"n": n, "parity": "odd" if n % 2 else "even"})
    assert numbers(reader.events("mixed", filter="parity:odd")) == [1, 3, 5]
    assert numbers(reader.events("mixed", filter="parity:even")) == [0, 2, 4]
    assert numbers(reader.events("mixed")) == list(range(6))
    assert reader.events("mixed", filter=" parity : odd ") == []  # the same, spelt otherwise


def test_what_a_filter_rejects_does_not_stay_unacknowledged(agents: Agents) -> None:
    publisher, reader = agents("publisher"), agents("reader")
    publisher.publish_many({"event_type": "noise", "data": {"n": n}} for n in range(300))
    assert numbers(reader.events("noise", filter="n:>297", timeout=1)) == [298, 299]
    [subscription] = eventually(
        lambda: [s for s in reader.subscriptions() if s["ack_pending"] == 0], what="the acks"
    )
    assert subscription["pending"] == 0


def test_count_collects_until_there_are_enough(agents: Agents) -> None:
    publisher, reader = agents("publisher"), agents("reader")
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(reader.wait, "part", timeout=100, count=3)
        for n in range(3):
            eventually(lambda: waiting(reader) == 1, what="the pull")
            publisher.publish("part", {"n": n})
        batch = answer.result()
    assert numbers(batch["events"]) == [0, 1, 2]
    assert batch["timeout"] is False


def test_count_at_the_deadline_answers_what_there_is(agents: Agents) -> None:
    agents("publisher").publish("part", {"n": 1})
    batch = agents("reader").wait("part", timeout=0.2, count=3)
    assert numbers(batch["events"]) == [1]
    assert batch["timeout"] is True


def test_count_holds_events_for_longer_than_ack_wait_without_repeating(
    own_nats: NatsServer, start_bridge: Start
) -> None:
    bridge = start_bridge(own_nats.url, ack_wait_seconds="2")
    agents = Agents(bridge.url)
    publisher, reader = agents("publisher"), agents("reader")
    publisher.publish("part", {"n": 1})
    batch = reader.wait("part", timeout=5, count=2)
    assert [event["delivery_count"] for event in batch["events"]] == [1]
    assert reader.events("part", timeout=2.5) == []
    agents.close()


def test_concurrent_waits_on_one_subscription_share_its_events(agents: Agents) -> None:
    publisher, first, second = agents("publisher"), agents("reader"), agents("reader")
    with ThreadPoolExecutor() as pool:
        answers = [pool.submit(agent.wait, "shared", timeout=100) for agent in (first, second)]
        eventually(lambda: waiting(first) == 1, what="the pull")
        publisher.publish("shared", {"n": 0})
        publisher.publish("shared", {"n": 1})
        batches = [answer.result()["events"] for answer in answers]
    assert sorted(numbers(batches[0]) + numbers(batches[1])) == [0, 1]
    assert len(batches[0]) == len(batches[1]) == 1


def test_a_group_shares_one_subscription_among_agents(agents: Agents) -> None:
    publisher = agents("publisher")
    publisher.publish_many({"event_type": "job", "data": {"n": n}} for n in range(10))
    seen: list[int] = []
    for turn in range(10):
        seen += numbers(agents(f"worker-{turn}").events("job", group="workers", limit=1))
    assert seen == list(range(10))
    assert numbers(agents("other").events("job")) == list(range(10))
    receipt = publisher.publish("job", {"n": 10})
    assert receipt["subscribers_notified"] == ["group:workers", "other"]


def test_deliver_new_begins_behind_what_is_there(agents: Agents) -> None:
    publisher, reader = agents("publisher"), agents("reader")
    publisher.publish("fresh", {"n": 0})
    assert reader.events("fresh", deliver="new") == []
    publisher.publish("fresh", {"n": 1})
    assert numbers(reader.events("fresh", deliver="new", timeout=5)) == [1]


def test_a_wait_without_types_hears_the_topics_of_its_agent_type(agents: Agents) -> None:
    publisher = agents("publisher")
    for topic in ("architecture", "testing", "coordination", "error", "custom"):
        publisher.publish("note", {"n": 1}, topic=topic)

    def heard(**claims: str) -> list[str]:
        return [e["topic"] for e in agents(f"a-{claims}", **claims).events()]

    assert heard(agent_type="python-specialist") == ["architecture", "coordination", "error"]
    assert heard(agent_type="nobody-knows") == ["coordination", "error"]
    assert heard() == ["coordination", "error"]
    assert len(heard(agent_type="chief-architect")) == 5
    assert len(agents("star").events("*")) == 5
    assert len(agents("narrow").events("*", topic="testing,custom")) == 2
    assert len(agents("named").events("note,other")) == 5


def test_since_moves_no_subscription_and_makes_none(agents: Agents) -> None:
    publisher, reader = agents("publisher"), agents("reader")
    receipts = [publisher.publish("replay", {"n": n}) for n in range(4)]
    assert numbers(reader.events("replay", since="earliest")) == [0, 1, 2, 3]
    assert numbers(reader.events("replay", since=receipts[1]["cursor"])) == [2, 3]
    assert numbers(reader.events("replay", since=receipts[1]["event_id"])) == [2, 3]
    assert numbers(reader.events("replay", since=receipts[1]["timestamp"])) == [1, 2, 3]
    assert reader.events("replay", since="now") == []
    assert reader.subscriptions() == []
    assert numbers(reader.events("replay")) == [0, 1, 2, 3]


def test_a_since_wait_is_answered_when_its_event_comes(agents: Agents) -> None:
    publisher, reader = agents("publisher"), agents("reader")
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(
            reader.wait, "late", timeout=100, since="now", filter="correlation_id:c|n:>5"
        )
        stop = threading.Event()

        def publish() -> None:
            publisher.publish("late", {"n": 1})
            publisher.publish("late", {"n": 2}, correlation_id="c")
            stop.wait(0.05)

        while not answer.done():
            publish()
        batch = answer.result()
    assert batch["events"][0]["correlation_id"] == "c"


def test_since_goes_on_through_pages_of_filtered_events(agents: Agents) -> None:
    publisher, reader = agents("publisher"), agents("reader")
    publisher.publish_many({"event_type": "page", "data": {"n": n}} for n in range(50))
    position, seen = "earliest", []
    while True:
        batch = reader.wait("page", since=position, limit=7, filter="n:>9")
        seen += numbers(batch["events"])
        position = batch["next_cursor"]
        if not batch["more_available"]:
            break
    assert seen == list(range(10, 50))


def test_a_client_gone_in_mid_wait_costs_the_next_poll_nothing(
    own_nats: NatsServer, start_bridge: Start, agents_on: AgentsOn
) -> None:
    agents = agents_on(start_bridge(own_nats.url, ack_wait_seconds="30"))
    publisher, reader = agents("publisher"), agents("reader")
    gone = open_wait(agents.url, reader, "mine?timeout=200000")
    eventually(lambda: waiting(reader) == 1, what="the pull")
    gone.close()
    publisher.publish("mine", {"n": 1})
    assert numbers(reader.events("mine", timeout=15)) == [1], "it comes by ack_wait, after 30 s"


def test_what_a_client_left_behind_is_counted(bridge: BridgeProcess, agents: Agents) -> None:
    """It went away with one of the two events that it asked for in the bridge's hands."""

    def given_back() -> int:
        return asking.metric(bridge.url, "bridge_events_given_back_total ")

    publisher, reader = agents("publisher"), agents("reader")
    before = given_back()
    gone = open_wait(agents.url, reader, "mine?timeout=200000&count=2")
    publisher.publish("mine", {"n": 1})
    eventually(
        lambda: [found for found in reader.subscriptions() if found["ack_pending"] == 1],
        what="the delivery",
    )
    gone.close()
    eventually(lambda: given_back() == before + 1, what="the event's return")
    assert numbers(reader.events("mine", timeout=5)) == [1]


@pytest.mark.parametrize("query", ["", "&group=workers"])
def test_what_a_client_left_behind_comes_again_in_order(agents: Agents, query: str) -> None:
    """Each event once more: the pull that its wait left would take the first, for nobody."""
    publisher, reader = agents("publisher"), agents("reader")
    gone = open_wait(agents.url, reader, f"mine?timeout=200000&count=10{query}")
    for n in range(3):
        publisher.publish("mine", {"n": n})
    eventually(
        lambda: [found for found in reader.subscriptions() if found["ack_pending"] == 3],
        what="the deliveries",
    )
    gone.close()
    group = {"group": "workers"} if query else {}
    events = reader.events("mine", timeout=5, count=3, **group)
    assert numbers(events) == [0, 1, 2]
    assert [event["delivery_count"] for event in events] == [2, 2, 2]


def test_clients_that_give_up_again_and_again_leave_one_pull(agents: Agents) -> None:
    publisher, reader = agents("publisher"), agents("reader")
    for _ in range(20):
        open_wait(agents.url, reader, "mine?timeout=200000").close()
    publisher.publish("mine", {"n": 1})
    assert numbers(reader.events("mine", timeout=5)) == [1]
    assert waiting(reader) <= 1


def test_an_answer_to_a_client_that_stopped_reading_is_not_acknowledged(agents: Agents) -> None:
    """A reader that dies with its answer in flight is given the events again, at once."""
    publisher, reader = agents("publisher"), agents("reader")
    big = "x" * 100_000
    publisher.publish_many({"event_type": "big", "data": {"n": n, "x": big}} for n in range(60))
    stuck = open_wait(agents.url, reader, "big?timeout=1000")
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    eventually(lambda: any(s["ack_pending"] for s in reader.subscriptions()), what="the delivery")
    stuck.close()
    events: list[dict[str, Any]] = []
    deadline = time.monotonic() + 60
    while len(events) < 60 and time.monotonic() < deadline:
        events += reader.events("big", timeout=3)
    assert numbers(events) == list(range(60))
    assert all(event["delivery_count"] >= 2 for event in events)


def test_a_half_written_request_and_a_reset_do_no_harm(agents: Agents) -> None:
    publisher, reader = agents("publisher"), agents("reader")
    where = urlparse(agents.url)
    for part in (
        b"GET /api/events/wa",
        b"POST /api/events/x HTTP/1.1\r\nContent-Length: 9\r\n\r\n{",
    ):
        with socket.create_connection((where.hostname, where.port)) as connection:
            connection.sendall(part)
    publisher.publish("still", {"n": 1})
    assert numbers(reader.events("still")) == [1]


def test_many_agents_at_once_each_get_everything_once(agents: Agents) -> None:
    """Eight readers poll while four publishers publish; nobody misses, nobody repeats."""
    total, readers = 4 * 25, [agents(f"reader-{n}") for n in range(8)]

    def publish(lane: int) -> None:
        publisher = agents(f"publisher-{lane}")
        for n in range(25):
            publisher.publish("storm", {"n": lane * 25 + n})

    def read(agent: Agent) -> list[int]:
        seen: list[int] = []
        while len(seen) < total:
            batch = agent.events("storm", timeout=30)
            assert batch, f"only {len(seen)} of {total} came"
            seen += numbers(batch)
        return seen + numbers(agent.events("storm"))

    with ThreadPoolExecutor(16) as pool:
        results = [pool.submit(read, agent) for agent in readers]
        list(pool.map(publish, range(4)))
        for result in results:
            assert sorted(result.result()) == list(range(total))


def test_delivery_is_told_in_metrics(agents: Agents, bridge: BridgeProcess) -> None:
    def value(name: str) -> int:
        return asking.metric(bridge.url, f"{name} ")

    before = (
        value("bridge_events_published_total"),
        value('bridge_events_delivered_total{kind="durable"}'),
    )
    agents("publisher").publish("counted")
    agents("reader").wait("counted")
    assert value("bridge_events_published_total") == before[0] + 1
    assert value('bridge_events_delivered_total{kind="durable"}') == before[1] + 1


@pytest.mark.parametrize("query", ["", "since=now", "count=5"])
def test_timeout_zero_answers_at_once(agents: Agents, query: str) -> None:
    fields: dict[str, Any] = dict([query.split("=")]) if query else {}
    batch = agents("reader").wait("nothing", **fields)
    assert batch["timeout"] is True
    assert batch["events"] == []
