"""Races: what lies between two requests, two waits, or a bridge and its stream."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from nats.js import JetStreamContext

from tests.support import Agents, BridgeProcess, NatsServer, eventually, on_jetstream
from tests.support.answers import assert_problem
from tests.test_delivery import numbers, open_wait, waiting

Start = Callable[..., BridgeProcess]
AgentsOn = Callable[[BridgeProcess], Agents]


def test_a_bridge_starts_on_a_stream_whose_newest_event_has_expired(
    own_nats: NatsServer, start_bridge: Start, agents_on: AgentsOn
) -> None:
    first = start_bridge(own_nats.url)
    agents = agents_on(first)
    agent = agents()
    agent.publish("work", {"n": 1})
    cursor = agent.publish("work", {"n": 2}, ttl_seconds=1)["cursor"]
    eventually(lambda: len(agent.history()["events"]) == 1, what="the expiry")
    first.stop()
    second = start_bridge(own_nats.url)
    batch = agents("other", url=second.url).wait("work", since=cursor)
    assert batch["events"] == []
    assert "gap" not in batch


def test_a_wait_that_takes_over_a_pull_outlives_it(agents: Agents) -> None:
    """A client leaves a short pull behind; the next wait is longer than what is left of it."""
    publisher, reader = agents("publisher"), agents("reader")
    gone = open_wait(agents.url, reader, "mine?timeout=1500")
    eventually(lambda: waiting(reader) == 1, what="the pull")
    ends = time.monotonic() + 1.5
    gone.close()
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(reader.wait, "mine", timeout=100)
        eventually(lambda: time.monotonic() > ends, what="the end of the pull that was left")
        eventually(lambda: waiting(reader) == 1, what="a pull of its own")
        publisher.publish("mine", {"n": 1})
        assert numbers(answer.result()["events"]) == [1]


def test_a_wait_beside_one_that_does_not_wait_has_its_pull(agents: Agents) -> None:
    publisher = agents("publisher")
    for turn in range(10):
        readers = [agents(f"reader-{turn}") for _ in range(2)]
        with ThreadPoolExecutor() as pool:
            long = pool.submit(readers[0].wait, f"mine-{turn}", timeout=100)
            pool.submit(readers[1].wait, f"mine-{turn}").result()
            eventually(lambda: waiting(readers[1]) == 1, what="the pull")  # noqa: B023
            publisher.publish(f"mine-{turn}", {"n": turn})
            assert numbers(long.result()["events"]) == [turn]


def test_clients_that_leave_while_their_answer_is_made_lose_nothing(agents: Agents) -> None:
    """Their polls have a filter and more behind it, so that the answer takes a look at the rest."""
    publisher, reader = agents("publisher"), agents("reader")
    total = 300
    publisher.publish_many({"event_type": "many", "data": {"n": n}} for n in range(total))
    for turn in range(150):
        connection = open_wait(agents.url, reader, "many?filter=n:%3E=0&limit=1&timeout=1000")
        connection.settimeout((turn % 12) / 2000 + 0.0005)
        with connection:
            try:
                connection.recv(65536)
            except TimeoutError:
                continue

    def settled() -> bool:
        reader.events("many", filter="n:>=0", limit=1000)
        [subscription] = reader.subscriptions()
        return bool(subscription["ack_pending"] == subscription["pending"] == 0)

    eventually(settled, within=40, what="every event acknowledged")
    assert reader.events("many", filter="n:>=0") == []


def test_a_repeat_with_another_correlation_id_stores_nothing(agents: Agents) -> None:
    agent = agents()
    agent.publish("work", {"n": 1}, event_id="same", correlation_id="one")
    data = {"n": 2, "correlation_id": "two"}
    assert agent.publish("work", data, event_id="same", correlation_id="one")["duplicate"] is True
    queries: dict[str, dict[str, Any]] = {"a": {}, "b": {"since": "earliest"}}
    for name, query in queries.items():
        found = agents(name).events("work", filter="correlation_id:two", **query)
        assert found == []


def test_an_array_keeps_its_order_whatever_its_correlation_ids(agents: Agents) -> None:
    agent = agents()
    events = [
        {"event_type": "work", "data": {"n": n, "correlation_id": f"in-{n}"}, "correlation_id": "c"}
        if n % 3 == 0
        else {"event_type": "work", "data": {"n": n}}
        for n in range(30)
    ]
    agent.publish_many(events)
    assert numbers(agent.events("work")) == list(range(30))


def test_an_array_that_is_stored_in_part_names_every_event(
    own_nats: NatsServer, start_bridge: Start, agents_on: AgentsOn
) -> None:
    """NATS comes back and takes less than it did when the sizes were looked at."""
    bridge = start_bridge(own_nats.url, publish_timeout_seconds="30")
    agent = agents_on(bridge)()
    agent.publish("work")
    own_nats.stop()
    own_nats.configure("max_payload: 65536")
    events = [{"event_type": "work", "data": {"text": "x" * size}} for size in (1, 100_000, 2)]
    with ThreadPoolExecutor() as pool:
        posting = pool.submit(agent.http.post, "/events", json=events)
        eventually(lambda: "sending it again" in bridge.log, what="a try that fails")
        own_nats.start()
        answer = posting.result()
    told = assert_problem(answer, "EVT_005", says="1 of 3 events were not confirmed")
    ids = told["details"]["event_ids"]
    assert len(set(ids)) == 3
    stored = agent.history(order="asc")["events"][1:]
    assert [event["event_id"] for event in stored] == [ids[0], ids[2]]


@pytest.mark.parametrize("retained", [True, False])
def test_a_stream_made_again_does_not_lend_its_events_to_an_id(
    own_nats: NatsServer, start_bridge: Start, agents_on: AgentsOn, retained: bool
) -> None:
    """JetStream names a sequence of the new stream while the bridge still has the old one."""
    agent = agents_on(start_bridge(own_nats.url))()
    agent.publish("other", ttl_seconds=86_400 if retained else 1)
    agent.publish("other", {"n": 2})
    if not retained:
        eventually(lambda: len(agent.history()["events"]) == 1, what="the end of the first")
    subject = f"events.{agent.project}.coordination.work._"

    async def make_again(js: JetStreamContext) -> None:
        info = await js.stream_info("EVENTS")
        await js.delete_stream("EVENTS")
        await js.add_stream(info.config)
        headers = {"Nats-Msg-Id": f"{agent.project}/{agent.name}/T"}
        assert (await js.publish(subject, b"{}", headers=headers)).seq == 1

    on_jetstream(own_nats.url, make_again)
    answer = agent.http.post("/events/work", json={"event_id": "T"})
    told = answer.json()
    if answer.status_code == 202:
        assert told["event_id"].endswith("T")
        assert told["duplicate"] is True
    else:
        assert_problem(answer, "EVT_001")


def test_a_bridge_that_is_behind_says_so_and_not_that_the_stream_is_another(
    own_nats: NatsServer, start_bridge: Start, agents_on: AgentsOn
) -> None:
    agents = agents_on(start_bridge(own_nats.url))
    agent = agents()
    epoch, _, sequence = agent.publish("work")["cursor"].partition("-")
    own_nats.stop()
    beyond = f"{epoch}-{int(sequence, 16) + 5:012x}"
    answer = agent.http.get("/events/wait/work", params={"since": beyond, "timeout": 0})
    assert (answer.status_code, answer.json()["code"]) == (503, "EVT_001")


def test_what_an_agent_stored_it_sees_at_once_even_while_others_wait(agents: Agents) -> None:
    publisher, watcher = agents("publisher"), agents("watcher")
    with ThreadPoolExecutor() as pool:
        watching = pool.submit(watcher.wait, "end", timeout=100, since="now")
        for n in range(100):
            publisher.publish("work", {"n": n})
            assert publisher.history(limit=1)["events"][0]["data"] == {"n": n}
        publisher.publish("end")
        assert watching.result()["timeout"] is False


def test_a_full_house_refuses_subscriptions_and_leaves_room_for_bridges(
    own_nats: NatsServer, start_bridge: Start, agents_on: AgentsOn
) -> None:
    bridge = start_bridge(own_nats.url, max_consumers="6")
    agent = agents_on(bridge)()
    for n in range(3):
        agent.wait(f"type-{n}")
    refused = agent.http.get("/events/wait/one-more", params={"timeout": 0})
    assert (refused.status_code, refused.json()["code"]) == (400, "REQ_001")
    assert "since" in refused.json()["message"]
    start_bridge(own_nats.url, max_consumers="6")
    assert agent.wait("one-more", since="earliest")["events"] == []


def test_a_wait_ends_though_rejected_events_keep_coming(agents: Agents) -> None:
    publisher, reader = agents("publisher"), agents("reader")
    enough = threading.Event()

    def flood() -> None:
        while not enough.is_set():
            publisher.publish_many({"event_type": "noise", "data": {"n": n}} for n in range(50))

    with ThreadPoolExecutor() as pool:
        flooding = pool.submit(flood)
        try:
            batch = pool.submit(reader.wait, "noise", timeout=1, filter="n:never").result(40)
            assert flooding.running()
        finally:
            enough.set()
    assert batch["timeout"] is True
    assert httpx.get(f"{agents.url}/readyz").status_code == 200
