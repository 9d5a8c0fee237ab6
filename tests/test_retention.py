"""What is no longer retained: gone for every reader, and told to those who had not read it yet."""

import asyncio
import itertools
import signal
from collections.abc import Callable
from typing import Any, TypeVar

import httpx
import nats
import pytest
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from tests.support import Agent, Agents, BridgeProcess, NatsServer, eventually, on_jetstream
from tests.support.bridges import HASTY

T = TypeVar("T")
Json = dict[str, Any]
Start = Callable[..., BridgeProcess]
AgentsOn = Callable[[BridgeProcess], Agents]


def numbers(events: list[Json]) -> list[int]:
    return [event["data"]["n"] for event in events]


@pytest.fixture
def small(own_nats: NatsServer, start_bridge: Start) -> BridgeProcess:
    """A bridge whose stream holds 100 events."""
    return start_bridge(own_nats.url, times=HASTY, stream_max_messages="100")


def fill(agent: Agent, first: int, last: int) -> list[Json]:
    """Publish numbered events, few enough at once for the bridge to read them before they go."""
    receipts = []
    for start in range(first, last + 1, 50):
        numbered = range(start, min(start + 50, last + 1))
        receipts += agent.publish_many(
            {"event_type": "filling", "data": {"n": n}} for n in numbered
        )
        agent.history(limit=1)
    return receipts


def test_an_expired_event_is_gone_for_every_reader(nats_url: str, agents: Agents) -> None:
    agent = agents()
    start = agent.wait("short", since="now")["next_cursor"]
    short = agent.publish("short", ttl_seconds=1, correlation_id="c-1", topic="testing")
    assert short["ttl_seconds"] == 1
    kept = agent.publish("short", {"correlation_id": "c-1"}, topic="testing")["event_id"]
    assert len(agent.history(type="short")["events"]) == 2
    subject = f"events.{agent.project}.testing.short.c-1"

    async def count(js: JetStreamContext) -> int:
        info = await js.stream_info("EVENTS", subjects_filter=subject)
        return (info.state.subjects or {}).get(subject, 0)

    eventually(lambda: on_jetstream(nats_url, count) == 1, what="the expiry")

    def only_the_other(events: list[Json]) -> None:
        assert [event["event_id"] for event in events] == [kept]

    only_the_other(agent.events("short", timeout=2))
    only_the_other(agent.events("short", timeout=2, filter="correlation_id:c-1"))
    only_the_other(agent.events("short", since="earliest"))
    only_the_other(agent.events("short", since=start))
    only_the_other(agent.history(type="short")["events"])
    only_the_other(agent.history(correlation_id="c-1")["events"])


def test_an_expired_event_cannot_be_got_from_nats(nats_url: str, agents: Agents) -> None:
    agent = agents()
    agent.publish("short", ttl_seconds=1, topic="testing")
    subject = f"events.{agent.project}.testing.short._"

    async def gone(js: JetStreamContext) -> bool:
        try:
            await js.get_last_msg("EVENTS", subject, direct=True)
        except NotFoundError:
            return True
        return False

    assert on_jetstream(nats_url, gone) is False
    eventually(lambda: on_jetstream(nats_url, gone), what="the expiry")


def test_both_places_of_an_event_with_two_correlation_ids_expire(
    nats_url: str, agents: Agents
) -> None:
    agent = agents()
    agent.publish("short", {"correlation_id": "in"}, correlation_id="out", ttl_seconds=1)
    subjects = f"events.{agent.project}.>"

    async def left(js: JetStreamContext) -> dict[str, int]:
        return (await js.stream_info("EVENTS", subjects_filter=subjects)).state.subjects or {}

    assert len(on_jetstream(nats_url, left)) == 2
    eventually(lambda: not on_jetstream(nats_url, left), what="the expiry")
    assert agent.history()["events"] == []
    for correlation in ("in", "out"):
        assert agent.events("short", filter=f"correlation_id:{correlation}") == []
        assert agent.events("short", filter=f"correlation_id:{correlation}", since="earliest") == []


def test_an_id_whose_event_has_gone_stores_it_again_once(agents: Agents) -> None:
    """What says published can be read, and repeats of it store nothing."""
    agent, waiter = agents(), agents("waiter")
    waiter.wait("work", filter="correlation_id:two")
    inside = {"correlation_id": "two"}
    for n in range(2):
        first = agent.publish("work", event_id="T", ttl_seconds=1, correlation_id=f"one-{n}")
        assert (first["duplicate"], "warnings" in first) == (False, n > 0)
        eventually(lambda: agent.history()["events"] == [], what="the end of its life")
    body = {"event_type": "work", "event_id": "T", "data": inside, "correlation_id": "one"}
    (again,) = agent.publish_many([body])
    assert again["duplicate"] is False
    assert "'T' was used a moment ago for an event that has expired" in again["warnings"][0]
    assert again["subscribers_notified"] == ["waiter"]
    for bodies in ([body], [body, body]):
        for repeat in agent.publish_many(bodies):
            assert repeat["duplicate"] is True
            assert repeat["cursor"] == again["cursor"]
            assert repeat["timestamp"] == again["timestamp"]
    (event,) = agent.history()["events"]
    assert event["cursor"] == again["cursor"]
    assert len(waiter.events("work", filter="correlation_id:two")) == 1


def test_an_id_whose_event_was_evicted_stores_it_again_once(
    own_nats: NatsServer, start_bridge: Start, agents_on: AgentsOn
) -> None:
    bridges = [start_bridge(own_nats.url, stream_max_messages="5") for _ in range(2)]
    agents = agents_on(bridges[0])
    one, two = agents(), agents(url=bridges[1].url)
    one.publish("work", {"n": 1}, event_id="T")
    one.publish_many([{"event_type": "noise"}] * 5)
    receipts = [agent.publish("work", {"n": 1}, event_id="T") for agent in (two, one, two)]
    assert [receipt["duplicate"] for receipt in receipts] == [False, True, True]
    assert len({receipt["cursor"] for receipt in receipts}) == 1


def test_an_id_is_free_again_though_the_bridge_has_yet_to_read_what_pushed_its_event_out(
    own_nats: NatsServer, start_bridge: Start, agents_on: AgentsOn
) -> None:
    """A bridge that nobody waits at reads what others store only now and then."""
    agent = agents_on(start_bridge(own_nats.url, stream_max_messages="5"))()
    first = agent.publish("work", event_id="T")
    assert len(agent.history()["events"]) == 1
    subject = f"events.{agent.project}.coordination.noise._"

    async def push_out(js: JetStreamContext) -> None:
        for _ in range(5):
            await js.publish(subject, b"{}")

    on_jetstream(own_nats.url, push_out)
    again = agent.publish("work", event_id="T")
    assert again["duplicate"] is False
    assert again["cursor"] != first["cursor"]
    assert agent.publish("work", event_id="T")["cursor"] == again["cursor"]


def test_a_ttl_that_ran_out_is_no_gap(agents: Agents) -> None:
    """Its publisher wanted it gone: nobody has lost anything."""
    agent = agents()
    start = agent.wait("short", since="now")["next_cursor"]
    agent.publish("short", ttl_seconds=1)
    agent.publish("long")
    eventually(lambda: len(agent.history()["events"]) == 1, what="the expiry")
    batch = agent.wait("*", since=start)
    assert [event["event_type"] for event in batch["events"]] == ["long"]
    assert "gap" not in batch


def test_one_event_too_many_evicts_the_first_and_a_reader_is_told(
    small: BridgeProcess, agents_on: AgentsOn
) -> None:
    agents = agents_on(small)
    agent = agents()
    start = agent.wait("filling", since="now")["next_cursor"]
    receipts = fill(agent, 1, 100)
    assert "gap" not in agent.wait("filling", since=start, limit=1000)

    fill(agent, 101, 101)
    batch = agent.wait("filling", since=start, limit=1000, timeout=5)

    assert batch["gap"] == {"reason": "evicted", "lost": 1}
    assert numbers(batch["events"]) == list(range(2, 102))
    assert "gap" not in agent.wait("filling", since=batch["next_cursor"])
    assert "gap" not in agent.wait("filling", since=receipts[0]["cursor"])
    assert numbers(agent.history(limit=1000, order="asc")["events"]) == list(range(2, 102))
    fill(agent, 102, 109)
    assert agent.wait("filling", since=start)["gap"] == {"reason": "evicted", "lost": 9}
    assert agent.wait("filling", since=receipts[4]["cursor"])["gap"]["lost"] == 4


def test_an_evicted_event_as_a_position_is_a_gap(small: BridgeProcess, agents_on: AgentsOn) -> None:
    agent = agents_on(small)()
    [first, *_] = fill(agent, 1, 120)
    batch = agent.wait("filling", since=first["event_id"], limit=10)
    assert batch["gap"] == {"reason": "evicted", "lost": None}
    assert numbers(batch["events"]) == list(range(21, 31))


def test_a_gap_is_told_at_once_though_nothing_matches(
    small: BridgeProcess, agents_on: AgentsOn
) -> None:
    agents = agents_on(small)
    agent = agents()
    start = agent.wait("other", since="now")["next_cursor"]
    fill(agent, 1, 103)
    batch = agent.wait("other", since=start, timeout=30)
    assert batch["gap"] == {"reason": "evicted", "lost": 3}
    assert batch["events"] == []
    assert "gap" not in agent.wait("other", since=batch["next_cursor"])


def test_evictions_of_other_projects_are_not_counted(
    small: BridgeProcess, agents_on: AgentsOn
) -> None:
    agents = agents_on(small)
    agent, other = agents(), agents("other", project_id="another")
    fill(other, 1, 60)
    start = agent.wait("filling", since="now")["next_cursor"]
    fill(agent, 1, 10)
    fill(other, 61, 150)
    assert len(agent.history(limit=1000)["events"]) == 10
    assert "gap" not in agent.wait("filling", since=start)

    fill(other, 151, 153)
    batch = agent.wait("filling", since=start)
    assert batch["gap"] == {"reason": "evicted", "lost": 3}
    assert numbers(batch["events"]) == list(range(4, 11))


def test_what_the_bridge_never_saw_is_not_counted_as_kept(
    own_nats: NatsServer, small: BridgeProcess, agents_on: AgentsOn
) -> None:
    """Events that came and went while it stood still: their number is known, or said not to be."""
    agent = agents_on(small)()
    start = agent.wait("filling", since="now")["next_cursor"]
    subject = f"events.{agent.project}.testing.filling._"

    async def fill_beside(js: JetStreamContext) -> None:
        for n in range(1, 701):
            await js.publish(subject, b'{"n": %d}' % n)

    small.send(signal.SIGSTOP)
    on_jetstream(own_nats.url, fill_beside)
    small.send(signal.SIGCONT)
    eventually(lambda: numbers(agent.history(limit=1)["events"]) == [700], what="the last event")

    batch = agent.wait("filling", since=start, limit=1000)
    assert numbers(batch["events"]) == list(range(601, 701))
    assert batch["gap"]["reason"] == "evicted"
    assert batch["gap"]["lost"] in (600, None)


class TestADurableSubscriptionThatWasPushedOut:
    """It goes on at the oldest retained event, and says how much it was not given."""

    @pytest.fixture
    def agents(self, small: BridgeProcess, agents_on: AgentsOn) -> Agents:
        return agents_on(small)

    @pytest.fixture
    def publisher(self, agents: Agents) -> Agent:
        return agents("publisher")

    @pytest.fixture
    def reader(self, agents: Agents) -> Agent:
        return agents("reader")

    def test_is_told_once_how_many_it_lost(self, publisher: Agent, reader: Agent) -> None:
        fill(publisher, 1, 10)
        assert len(reader.events("filling")) == 10
        fill(publisher, 11, 130)
        answer = reader.wait("filling", limit=50)
        assert answer["gap"] == {"reason": "evicted", "lost": 20}
        assert numbers(answer["events"]) == list(range(31, 81))
        answer = reader.wait("filling", limit=50)
        assert "gap" not in answer
        assert numbers(answer["events"]) == list(range(81, 131))

    def test_is_told_at_once_though_nothing_of_it_is_left(
        self, publisher: Agent, reader: Agent
    ) -> None:
        reader.wait("rare")
        publisher.publish("rare")
        fill(publisher, 1, 100)
        answer = reader.wait("rare", timeout=30)
        assert answer["gap"] == {"reason": "evicted", "lost": 1}
        assert (answer["events"], answer["timeout"]) == ([], False)
        answer = reader.wait("rare")
        assert "gap" not in answer
        assert answer["timeout"] is True

    @pytest.mark.parametrize("query", [{}, {"filter": "correlation_id:c-1"}])
    def test_is_told_after_a_burst_that_its_bridge_did_not_see_coming(
        self, publisher: Agent, reader: Agent, query: Json
    ) -> None:
        publisher.publish("filling", {"n": 0}, correlation_id="c-1")
        assert numbers(reader.events("filling", **query)) == [0]
        publisher.publish_many(
            {"event_type": "filling", "data": {"n": n}, "correlation_id": "c-1"}
            for n in range(1, 151)
        )
        answer = reader.wait("filling", **query)
        got = numbers(answer["events"])
        while len(got) < 100:  # consumers hear of the newest a moment later
            got += numbers(reader.events("filling", timeout=5, **query))
        assert got == list(range(51, 151))
        assert answer["gap"]["reason"] == "evicted"
        assert answer["gap"]["lost"] in (50, None)
        assert "gap" not in reader.wait("filling", **query)

    @pytest.mark.parametrize("query", [{}, {"filter": "correlation_id:c-1"}])
    def test_is_told_once_by_a_bridge_that_was_not_there(
        self, own_nats: NatsServer, start_bridge: Start, agents_on: AgentsOn, query: Json
    ) -> None:
        first = start_bridge(own_nats.url, stream_max_messages="100")
        agent = agents_on(first)(project_id="p")
        agent.publish("filling", {"n": 0}, correlation_id="c-1")
        assert numbers(agent.events("filling", **query)) == [0]
        for start in (1, 76):
            agent.publish_many(
                {"event_type": "filling", "data": {"n": n}, "correlation_id": "c-1"}
                for n in range(start, start + 75)
            )
        second, third = (start_bridge(own_nats.url, stream_max_messages="100") for _ in range(2))
        later = agents_on(second)(project_id="p")
        answer = later.wait("filling", limit=10, **query)
        assert answer["gap"] == {"reason": "evicted", "lost": None}
        assert numbers(answer["events"]) == list(range(51, 61))
        assert "gap" not in later.wait("filling", limit=10, **query)
        eventually(
            lambda: "gap" not in agents_on(third)(project_id="p").wait("filling", limit=1, **query),
            what="word of it on the third bridge",
        )

    def test_has_lost_nothing_by_being_quiet_while_a_bridge_looks(
        self, own_nats: NatsServer, start_bridge: Start, agents_on: AgentsOn
    ) -> None:
        """Nothing was for it, which is noted in JetStream, so that the next bridge knows too."""
        bridge = start_bridge(own_nats.url, stream_max_messages="100")
        agent = agents_on(bridge)(project_id="p")
        agent.wait("rare")
        for start in range(0, 300, 50):
            fill(agent, start, start + 49)
            assert "gap" not in agent.wait("rare")
        assert bridge.stop() == 0
        again = agents_on(start_bridge(own_nats.url, stream_max_messages="100"))(project_id="p")
        assert "gap" not in again.wait("rare")

    @pytest.mark.parametrize("query", [{}, {"filter": "correlation_id:c-1"}])
    def test_is_told_that_its_stream_was_made_again(
        self, own_nats: NatsServer, reader: Agent, query: Json
    ) -> None:
        reader.publish("filling", {"n": 0}, correlation_id="c-1")
        assert numbers(reader.events("filling", **query)) == [0]

        async def delete_stream(js: JetStreamContext) -> bool:
            return await js.delete_stream("EVENTS")

        assert on_jetstream(own_nats.url, delete_stream)
        again = {"data": {"n": 1}, "correlation_id": "c-1", "event_id": "one"}
        eventually(
            lambda: reader.http.post("/events/filling", json=again).status_code == 202,
            what="a stream to publish to",
        )
        answer = eventually(
            lambda: reader.http.get("/events/wait/filling", params={"timeout": 5000, **query}),
            what="an answer",
        )
        assert answer.json()["gap"] == {"reason": "stream_recreated", "lost": None}
        assert numbers(answer.json()["events"]) == [1]
        assert "gap" not in reader.wait("filling", **query)

    def test_does_not_know_what_its_filter_would_have_passed(
        self, publisher: Agent, reader: Agent
    ) -> None:
        reader.wait("filling", filter="n:>3")
        fill(publisher, 1, 120)
        answer = reader.wait("filling", filter="n:>3", limit=100)
        assert answer["gap"] == {"reason": "evicted", "lost": None}
        assert numbers(answer["events"]) == list(range(21, 121))

    def test_has_lost_nothing_that_it_did_not_wait_for(
        self, publisher: Agent, reader: Agent
    ) -> None:
        waits: list[tuple[str, Json]] = [
            ("rare", {}),
            ("filling", {"topic": "testing"}),
            ("filling", {"filter": "correlation_id:c-1"}),
        ]
        for types, query in waits:
            reader.wait(types, **query)
        fill(publisher, 1, 120)
        for types, query in waits:
            assert "gap" not in reader.wait(types, **query)

    def test_has_lost_nothing_that_was_there_before_it(
        self, publisher: Agent, reader: Agent
    ) -> None:
        fill(publisher, 1, 120)
        assert "gap" not in reader.wait("filling", limit=10)

    def test_has_lost_nothing_that_another_bridge_delivered(
        self,
        publisher: Agent,
        reader: Agent,
        own_nats: NatsServer,
        start_bridge: Start,
        agents: Agents,
    ) -> None:
        other = start_bridge(own_nats.url, stream_max_messages="100")
        reader.wait("filling")
        fill(publisher, 1, 50)
        elsewhere = agents("reader", url=other.url)
        assert len(elsewhere.events("filling", timeout=10, count=50)) == 50
        fill(publisher, 51, 120)
        answer = reader.wait("filling", limit=100)
        assert "gap" not in answer
        assert numbers(answer["events"]) == list(range(51, 121))


def test_a_stream_that_was_made_again_is_told_and_used(
    own_nats: NatsServer, start_bridge: Start, agents_on: AgentsOn
) -> None:
    bridge = start_bridge(own_nats.url, times=HASTY)
    agents = agents_on(bridge)
    agent = agents()
    for n in range(3):
        agent.publish("before", {"n": n})
    assert len(agent.events("before")) == 3
    assert agent.events("after") == []
    old = agent.wait("*", since="earliest")["next_cursor"]

    on_jetstream(own_nats.url, lambda js: js.delete_stream("EVENTS"))
    # The bridge makes the stream again by itself; until then a publish is refused, not lost.
    eventually(lambda: agent.http.post("/events/probe", json={}).status_code == 202)
    eventually(bridge.ready, what="readiness")
    agent.publish("before", {"n": 10})
    agent.publish("after", {"n": 11})

    batch = agent.wait("before,after", since=old, timeout=5)
    assert batch["gap"] == {"reason": "stream_recreated", "lost": None}
    assert numbers(batch["events"]) == [10, 11]
    assert "gap" not in agent.wait("*", since=batch["next_cursor"])
    assert numbers(agent.events("before", timeout=5)) == [10]
    assert numbers(agent.events("after", timeout=5)) == [11]
    assert [event["event_type"] for event in agent.history(order="asc")["events"]][-2:] == [
        "before",
        "after",
    ]
    assert {tuple(each["types"]) for each in agent.subscriptions()} == {("before",), ("after",)}


def test_waits_that_are_open_when_the_stream_is_made_again(
    own_nats: NatsServer, start_bridge: Start, agents_on: AgentsOn
) -> None:
    """A durable wait gets the first new event; a `since` wait is told of the gap at once."""
    bridge = start_bridge(own_nats.url, times=HASTY)
    agents = agents_on(bridge)
    agent = agents()
    agent.publish("before")

    async def wait(client: httpx.AsyncClient, **query: str) -> Json:
        answer = await client.get("/events/wait/after", params={"timeout": "60000", **query})
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    async def main() -> list[Json]:
        headers = {"Authorization": f"Bearer {agent.token}"}
        async with httpx.AsyncClient(base_url=bridge.api, headers=headers, timeout=70) as client:
            waits = [
                asyncio.create_task(wait(client)),
                asyncio.create_task(wait(client, since="now")),
            ]
            metrics = f"{bridge.url}/metrics"
            while "\nbridge_waiting_polls 2.0\n" not in (await client.get(metrics)).text:  # noqa: ASYNC110 - a state of another process
                await asyncio.sleep(0.01)
            connection = await nats.connect(own_nats.url)
            await connection.jetstream().delete_stream("EVENTS")
            await connection.close()
            told = await waits[1]
            while (await client.post("/events/after", json={"data": {"n": 1}})).status_code != 202:  # noqa: ASYNC110 - the same
                await asyncio.sleep(0.1)
            return [await waits[0], told]

    durable, since = asyncio.run(main())

    assert since["gap"] == {"reason": "stream_recreated", "lost": None}
    assert numbers(durable["events"]) == [1]
    assert numbers(agent.events("after", since=since["next_cursor"])) == [1]


def test_readers_see_nothing_of_a_purged_stream(
    own_nats: NatsServer, start_bridge: Start, agents_on: AgentsOn
) -> None:
    bridge = start_bridge(own_nats.url, times=HASTY)
    agents = agents_on(bridge)
    agent = agents()
    start = agent.wait("purged", since="now")["next_cursor"]
    fill(agent, 1, 5)
    on_jetstream(own_nats.url, lambda js: js.purge_stream("EVENTS"))

    assert agent.events("filling", timeout=0.2) == []
    eventually(lambda: agent.history()["events"] == [], what="an empty history")
    assert agent.events("filling", since="earliest") == []
    assert agent.events("filling", since=start) == []
    fill(agent, 6, 6)
    assert numbers(agent.events("filling", timeout=5)) == [6]
    assert numbers(agent.events("filling", timeout=5, since="earliest")) == [6]


def test_readers_see_nothing_of_a_purged_subject(nats_url: str, agents: Agents) -> None:
    """A part of the stream, as an operator would purge one workflow."""
    agent = agents()
    agent.publish("step", {"n": 1}, correlation_id="keep")
    agent.publish("step", {"n": 2}, correlation_id="purge")
    agent.publish("step", {"n": 3}, correlation_id="keep")
    subject = f"events.{agent.project}.*.*.purge"
    on_jetstream(nats_url, lambda js: js.purge_stream("EVENTS", subject=subject))

    eventually(lambda: len(agent.history()["events"]) == 2, what="the purge")
    assert numbers(agent.events("step", timeout=5)) == [1, 3]
    assert numbers(agent.events("step", since="earliest")) == [1, 3]
    assert agent.events("step", filter="correlation_id:purge") == []


def test_cursors_sort_as_text_in_stream_order(agents: Agents) -> None:
    """Also where their numbers grow a digit, and those of positions between events."""
    agent = agents()
    receipts = agent.publish_many({"event_type": "ordered", "data": {"n": n}} for n in range(300))
    cursors = [receipt["cursor"] for receipt in receipts]

    events = agent.events("ordered", since="earliest", limit=1000)
    in_order = [event["cursor"] for event in events]
    assert in_order == sorted(cursors)
    assert len(set(in_order)) == 300
    assert [event["cursor"] for event in agent.events("ordered", limit=1000)] == in_order
    for earlier, later in itertools.pairwise(in_order):
        batch = agent.wait("ordered", since=earlier, limit=1)
        assert batch["events"][0]["cursor"] == later
        assert batch["next_cursor"] == later
        if later == in_order[20]:
            break
    end = agent.wait("ordered", since="now")["next_cursor"]
    assert end >= in_order[-1]


def test_the_largest_events_fill_a_bridge_no_further_than_its_stream(
    own_nats: NatsServer, start_bridge: Start, agents_on: AgentsOn
) -> None:
    """Its size is what the server says it is, of whatever size the events are."""
    bridge = start_bridge(own_nats.url, stream_max_bytes="2000000")
    agent = agents_on(bridge)()
    for number in range(30):
        agent.publish("large", {"n": number, "text": "x" * 7 ** (number % 7)})

    def told() -> tuple[float, float]:
        text = httpx.get(f"{bridge.url}/metrics").text
        found = dict(line.split(" ") for line in text.splitlines() if line.startswith("bridge_st"))
        return float(found["bridge_stream_bytes"]), float(found["bridge_stream_max_bytes"])

    async def stored(js: JetStreamContext) -> int:
        return (await js.stream_info("EVENTS")).state.bytes

    agent.history()
    assert told() == (on_jetstream(own_nats.url, stored), 2_000_000)
    for number in range(10):
        agent.publish("large", {"n": number, "text": "x" * 500_000})
    agent.history()
    held, limit = told()
    assert held <= 1.05 * limit
