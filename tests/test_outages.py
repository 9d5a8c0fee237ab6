"""Outages: NATS restarted, killed, paused; bridges killed; several bridges on one NATS."""

import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from nats.js import JetStreamContext

from tests.support import (
    Agent,
    Agents,
    BridgeProcess,
    NatsServer,
    asking,
    eventually,
    on_jetstream,
)
from tests.support.answers import assert_problem
from tests.support.bridges import HASTY
from tests.support.jetstream import delete_consumer
from tests.support.proxy import Proxy
from tests.test_delivery import numbers, open_wait, waiting

Start = Callable[..., BridgeProcess]
AgentsOn = Callable[[BridgeProcess], Agents]


@pytest.fixture
def own(own_nats: NatsServer, start_bridge: Start) -> Iterator[tuple[NatsServer, Agents]]:
    """Agents on a bridge and a nats-server that the test may break."""
    agents = Agents(start_bridge(own_nats.url, times=HASTY, ack_wait_seconds="2").url)
    yield own_nats, agents
    agents.close()


@pytest.fixture
def pair(own_nats: NatsServer, start_bridge: Start) -> Iterator[tuple[Agents, BridgeProcess]]:
    """Agents on one bridge, and a second bridge on the same NATS."""
    first, second = (start_bridge(own_nats.url, ack_wait_seconds="30") for _ in range(2))
    agents = Agents(first.url)
    yield agents, second
    agents.close()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("query", [{}, {"since": "now"}, {"filter": "correlation_id:c-1"}])
def test_a_wait_outlives_a_restart_of_nats(
    own: tuple[NatsServer, Agents], how: signal.Signals, query: dict[str, Any]
) -> None:
    server, agents = own
    publisher, reader = agents("publisher"), agents("reader")
    publisher.publish("work", {"n": 0}, correlation_id="c-1")
    if "since" not in query:
        assert numbers(reader.events("work", **query)) == [0]
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(reader.wait, "work", timeout=100, **query)
        eventually(lambda: asking.open_waits(agents.url) == 1, what="the wait")
        if "since" not in query:
            eventually(lambda: waiting(reader) == 1, what="the pull")
        server.stop(how)
        eventually(lambda: not _ready(agents.url), what="unreadiness")
        assert asking.answers(f"{agents.url}/livez")
        server.start()
        eventually(lambda: _ready(agents.url), what="readiness")
        publisher.publish("work", {"n": 1}, correlation_id="c-1")
        assert numbers(answer.result()["events"]) == [1]


def test_nothing_is_repeated_or_lost_over_a_restart(own: tuple[NatsServer, Agents]) -> None:
    server, agents = own
    publisher, reader = agents("publisher"), agents("reader")
    pinned: dict[str, Any] = {"filter": "correlation_id:c-1"}
    publisher.publish("work", {"n": 0}, correlation_id="c-1")
    assert numbers(reader.events("work")) == numbers(reader.events("work", **pinned)) == [0]
    publisher.publish("work", {"n": 1}, correlation_id="c-1")
    server.stop()
    server.start()
    eventually(lambda: _ready(agents.url), what="readiness")
    assert numbers(reader.events("work")) == numbers(reader.events("work", **pinned)) == [1]


def test_a_publish_in_an_outage_is_refused_and_safe_to_repeat(
    own_nats: NatsServer, start_bridge: Start
) -> None:
    bridge = start_bridge(own_nats.url, publish_timeout_seconds="0.5")
    agents = Agents(bridge.url)
    agent = agents()
    own_nats.stop()
    refused = agent.http.post("/events/work", json={"data": {"n": 1}})
    assert refused.status_code == 503
    assert refused.json()["code"] == "EVT_001"
    assert int(refused.headers["retry-after"]) >= 1
    event_id = refused.json()["details"]["event_id"]
    array = agent.http.post("/events", json=[{"event_type": "work"}] * 2).json()
    assert len(array["details"]["event_ids"]) == 2
    assert agent.http.get("/events/wait/work", params={"timeout": 100}).status_code == 503
    own_nats.start()
    eventually(bridge.ready, what="readiness")
    agent.publish("work", {"n": 1}, event_id=event_id)
    assert agent.publish("work", {"n": 1}, event_id=event_id)["duplicate"] is True
    assert numbers(agent.events("work")) == [1]
    agents.close()


@pytest.mark.parametrize("stored", [True, False])
def test_a_publish_during_a_short_restart_is_stored_once(
    own_nats: NatsServer, start_bridge: Start, agents_on: AgentsOn, stored: bool
) -> None:
    """NATS was sent all of them, has told of none whether it is stored, and is gone."""
    ids = [f"in-flight-{n}" for n in range(4)]
    with Proxy(own_nats) as road, ThreadPoolExecutor() as pool:
        login = NatsServer.login_of(own_nats.url)
        url = f"nats://{road.address}"
        bridge = start_bridge(url, publish_timeout_seconds="30", **login)
        agents = agents_on(bridge)
        publishers = [agents(event_id) for event_id in ids]
        if stored:
            road.mute()
        else:
            own_nats.pause()
        receipts = [pool.submit(each.publish, "work", event_id=each.name) for each in publishers]
        eventually(lambda: all(map(road.sent, ids)), what="the publishes on their way")
        if stored:
            eventually(lambda: on_jetstream(own_nats.url, _stored) == len(ids), what="the storing")
        assert not any(receipt.done() for receipt in receipts)
        own_nats.kill()
        own_nats.start()
        assert [receipt.result()["event_id"] for receipt in receipts] == ids
        assert not any(receipt.result()["duplicate"] for receipt in receipts)
        eventually(bridge.ready, what="readiness")
        found = publishers[0].history(type="work")["events"]
    assert sorted(event["event_id"] for event in found) == ids


async def _stored(js: JetStreamContext) -> int:
    return (await js.stream_info("EVENTS")).state.messages


def test_a_paused_nats_is_survived(own: tuple[NatsServer, Agents]) -> None:
    """A server that hangs and comes back, as in a partition: the wait goes on."""
    server, agents = own
    publisher, reader = agents("publisher"), agents("reader")
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(reader.wait, "work", timeout=100)
        eventually(lambda: waiting(reader) == 1, what="the pull")
        server.pause()
        eventually(lambda: not _ready(agents.url), within=40, what="unreadiness")
        server.resume()
        eventually(lambda: _ready(agents.url), what="readiness")
        publisher.publish("work", {"n": 1})
        assert numbers(answer.result()["events"]) == [1]


def test_a_subscription_deleted_under_its_wait_is_made_again(
    own: tuple[NatsServer, Agents],
) -> None:
    server, agents = own
    publisher, reader = agents("publisher"), agents("reader")
    publisher.publish("work", {"n": 0})
    assert numbers(reader.events("work")) == [0]
    [subscription] = reader.subscriptions()
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(reader.wait, "work", timeout=100)
        eventually(lambda: waiting(reader) == 1, what="the pull")
        delete_consumer(server.url, subscription["name"])
        eventually(lambda: waiting(reader) == 1, what="the pull on the new one")
        publisher.publish("work", {"n": 1})
        assert numbers(answer.result()["events"]) == [1], "what was delivered before came again"


def test_a_bridge_killed_with_events_in_hand_has_them_delivered_again(
    own_nats: NatsServer, start_bridge: Start
) -> None:
    doomed, other = (start_bridge(own_nats.url, ack_wait_seconds="2") for _ in range(2))
    agents = Agents(doomed.url)
    reader, elsewhere = agents("reader"), agents("reader", url=other.url)
    agents("publisher").publish("work", {"n": 1})
    with open_wait(doomed.url, reader, "work?timeout=200000&count=2"):
        eventually(lambda: _held(elsewhere) == 1, what="the hold")
        doomed.kill()
        [event] = elsewhere.events("work", timeout=60)
    assert event["data"] == {"n": 1}
    assert event["delivery_count"] >= 2
    agents.close()


def test_an_agent_may_change_bridges_between_polls(pair: tuple[Agents, BridgeProcess]) -> None:
    agents, second = pair
    readers = [agents("reader"), agents("reader", url=second.url)]
    publisher = agents("publisher")
    seen: list[int] = []
    for n in range(20):
        publisher.publish("work", {"n": n})
        seen += numbers(readers[n % 2].events("work", timeout=30))
    assert seen == list(range(20))


def test_a_client_gone_from_one_bridge_is_served_by_the_other_at_once(
    pair: tuple[Agents, BridgeProcess],
) -> None:
    agents, second = pair
    reader, elsewhere = agents("reader"), agents("reader", url=second.url)
    gone = open_wait(agents.url, reader, "work?timeout=200000")
    eventually(lambda: waiting(reader) == 1, what="the pull")
    gone.close()
    eventually(lambda: asking.open_waits(agents.url) == 0, what="the end of the wait")
    agents("publisher").publish("work", {"n": 1})
    assert numbers(elsewhere.events("work", timeout=15)) == [1], "it comes by ack_wait, after 30 s"


def test_waits_on_two_bridges_share_a_subscription(pair: tuple[Agents, BridgeProcess]) -> None:
    agents, second = pair
    publisher = agents("publisher")
    readers = [agents("reader"), agents("reader", url=second.url)]
    with ThreadPoolExecutor() as pool:
        answers = [pool.submit(reader.wait, "work", timeout=100) for reader in readers]
        eventually(lambda: waiting(readers[0]) == 2, what="both pulls")
        publisher.publish_many({"event_type": "work", "data": {"n": n}} for n in range(2))
        found = [numbers(answer.result()["events"]) for answer in answers]
    assert sorted(found) == [[0], [1]]


def test_a_subscription_that_one_bridge_deletes_ends_the_waits_on_the_other(
    pair: tuple[Agents, BridgeProcess],
) -> None:
    agents, second = pair
    reader, elsewhere = agents("reader"), agents("reader", url=second.url)
    agents("publisher").publish("work", {"n": 0})
    assert numbers(reader.events("work")) == [0]
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(elsewhere.http.get, "/events/wait/work", params={"timeout": 60_000})
        eventually(lambda: waiting(reader) == 1, what="the pull")
        [found] = reader.subscriptions()
        assert reader.http.delete(f"/subscriptions/{found['name']}").status_code == 204
        assert_problem(answer.result(), "REQ_002", says="deleted while you waited")
    eventually(lambda: not elsewhere.subscriptions(), what="the advisory of its deletion")
    assert numbers(elsewhere.events("work")) == [0]


def test_every_bridge_knows_who_subscribes(pair: tuple[Agents, BridgeProcess]) -> None:
    agents, second = pair
    agents("reader").wait("work", filter="n:>1")
    publisher = agents("publisher", url=second.url)
    eventually(
        lambda: publisher.publish("work", {"n": 2})["subscribers_notified"] == ["reader"],
        what="the news of the subscription",
    )
    assert publisher.publish("work", {"n": 1})["subscriber_count"] == 0
    [subscription] = agents("reader").subscriptions()
    assert agents("reader").http.delete(f"/subscriptions/{subscription['name']}").status_code == 204
    eventually(
        lambda: publisher.publish("work", {"n": 2})["subscriber_count"] == 0,
        what="the news of its end",
    )


def test_a_cursor_of_one_bridge_means_the_same_on_another(
    pair: tuple[Agents, BridgeProcess],
) -> None:
    agents, second = pair
    publisher, elsewhere = agents("publisher"), agents("reader", url=second.url)
    for n in range(20):
        cursor = publisher.publish("work", {"n": n})["cursor"]
        assert elsewhere.events("work", since=cursor) == []
        publisher.publish("work", {"n": 100 + n})
        assert numbers(elsewhere.events("work", since=cursor, timeout=30)) == [100 + n]


def test_events_on_two_bridges_under_load_come_once_each(
    pair: tuple[Agents, BridgeProcess],
) -> None:
    agents, second = pair
    total = 200

    def publish(url: str, lane: int) -> None:
        publisher = agents(f"publisher-{lane}", url=url)
        for n in range(total // 2):
            publisher.publish("work", {"n": lane * total // 2 + n})

    def read(urls: list[str]) -> list[int]:
        readers: list[Agent] = [agents("reader", url=url) for url in urls]
        seen: list[int] = []
        turn = 0
        while len(seen) < total:
            batch = readers[turn % 2].events("work", timeout=30)
            assert batch, f"only {len(seen)} of {total} came"
            seen += numbers(batch)
            turn += 1
        return seen

    with ThreadPoolExecutor() as pool:
        reading = pool.submit(read, [agents.url, second.url])
        list(pool.map(publish, [agents.url, second.url], range(2)))
        assert sorted(reading.result()) == list(range(total))


def test_a_flood_does_not_look_like_another_stream(own: tuple[NatsServer, Agents]) -> None:
    """The stream is looked at every half second, while events come in faster than that."""
    _, agents = own
    publishers = [agents(f"publisher-{n}") for n in range(4)]
    until = time.monotonic() + 5 * HASTY["look"]

    def flood(agent: Agent) -> int:
        count = 0
        while count < 250 or time.monotonic() < until:
            agent.publish("flood")
            count += 1
        return count

    with ThreadPoolExecutor() as pool:
        assert sum(pool.map(flood, publishers)) >= 1000
    assert asking.metric(agents.url, "bridge_nats_reconnects_total ") == 0


def _held(agent: Agent) -> int:
    return sum(found["ack_pending"] for found in agent.subscriptions())


def _ready(url: str) -> bool:
    return asking.get(f"{url}/readyz").status_code == 200


def test_a_nats_without_room_says_so_and_takes_the_event_once_there_is_some(
    tmp_path: Path, start_bridge: Start, agents_on: AgentsOn
) -> None:
    limits = "jetstream { max_memory: 10Mb, max_file: 1Mb }"
    account = f"accounts {{ A {{ {limits}, users: [ {{ user: a, password: a }} ] }} }}"
    folder = tmp_path / "full"
    folder.mkdir()
    server = NatsServer(folder, config=f"{account}\nno_auth_user: a").start()
    publisher = agents_on(start_bridge(server.url))()
    body = {"data": {"text": "x" * 100_000}}
    answers = [publisher.http.post("/events/big", json=body) for _ in range(20)]
    refused = next(answer for answer in answers if answer.status_code == 503).json()
    assert refused["code"] == "EVT_001"
    event_id = refused["details"]["event_id"]
    assert "NATS has room again" in refused["message"]
    assert event_id in refused["message"]

    async def purge(js: JetStreamContext) -> bool:
        return await js.purge_stream("EVENTS")

    assert on_jetstream(server.url, purge)
    assert publisher.publish("big", event_id=event_id)["duplicate"] is False
    server.stop()


@pytest.fixture
def reader_beside(own_nats: NatsServer) -> Iterator[Callable[[Agents], None]]:
    """Lets another agent wait for events as they come, until the test ends."""
    others: list[Agents] = []
    with ThreadPoolExecutor(1) as pool:

        def read(agents: Agents) -> None:
            others.append(agents)
            since_now = {"since": "now", "timeout": "60000"}
            pool.submit(agents().http.get, "/events/wait/never", params=since_now)
            eventually(lambda: asking.open_waits(agents.url) == 1, what="the wait beside")
            agents().publish("another")  # read by a tail that waits for it
            assert len(agents().events("another", since="earliest", timeout=5)) == 1

        yield read
        for agents in others:
            agents().publish("never")


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside"])
@pytest.mark.parametrize("query", [{}, {"since": "now"}], ids=["durable", "since"])
def test_a_nats_that_hangs_does_not_hold_short_waits(
    own_nats: NatsServer,
    start_bridge: Start,
    agents_on: AgentsOn,
    query: dict[str, str],
    reader_beside: Callable[[Agents], None],
    beside: bool,
) -> None:
    agents = agents_on(start_bridge(own_nats.url))
    if beside:
        reader_beside(agents)
    agent = agents()
    agent.publish("before")
    assert len(agent.events("before", timeout=5)) == 1
    assert len(agent.events("before", timeout=5, since="earliest")) == 1
    own_nats.pause()
    began = time.monotonic()
    answer = agent.http.get("/events/wait/before", params={"timeout": 500, **query})
    took = time.monotonic() - began
    own_nats.resume()
    assert (answer.status_code, answer.json()["code"]) == (503, "EVT_001")
    assert took < 5

    def taken() -> bool:
        after = {"event_id": "after"}
        return agent.http.post("/events/before", json=after).status_code == 202

    eventually(taken, what="an event that is taken")
    assert [event["event_id"] for event in agent.events("before", timeout=20)] == ["after"]
