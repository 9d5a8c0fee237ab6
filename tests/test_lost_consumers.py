"""Consumers that vanish under a subscription: what was delivered stays so, what is owed comes."""

import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from nats.js import JetStreamContext

from tests.support import Agent, Agents, BridgeProcess, NatsServer, eventually, on_jetstream
from tests.support.jetstream import consumer_names, delete_consumer
from tests.test_delivery import numbers, open_wait, waiting


def subscription(nats_url: str, project: str) -> str:
    """Give the name of a project's only consumer, empty if there is none."""

    async def find(js: JetStreamContext) -> str:
        names = await consumer_names(js)
        [found] = [name for name in names if name.startswith(f"{project}--")] or [""]
        return found

    return on_jetstream(nats_url, find)


def in_hand(nats_url: str, name: str) -> int:
    async def ask(js: JetStreamContext) -> int:
        return (await js.consumer_info("EVENTS", name)).num_ack_pending or 0

    return on_jetstream(nats_url, ask)


def test_a_wait_in_hand_has_each_event_once(agents: Agents, nats_url: str) -> None:
    """The consumer is deleted while the wait has one of the two events that it asked for."""
    publisher, reader = agents("publisher"), agents("reader")
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(reader.wait, "work", timeout=30, count=2)
        name = eventually(lambda: subscription(nats_url, reader.project), what="the consumer")
        publisher.publish("work", {"n": 1})
        eventually(lambda: in_hand(nats_url, name) == 1, what="the delivery")
        delete_consumer(nats_url, name)
        publisher.publish("work", {"n": 2})
        assert numbers(answer.result()["events"]) == [1, 2]
    assert reader.events("work") == []


def test_what_a_client_did_not_get_is_delivered_by_the_next_consumer(
    agents: Agents, nats_url: str
) -> None:
    publisher, reader = agents("publisher"), agents("reader")
    publisher.publish("work", {"n": 1})
    assert numbers(reader.events("work")) == [1]
    gone = open_wait(agents.url, reader, "work?timeout=60000&count=2")
    publisher.publish("work", {"n": 2})
    name = subscription(nats_url, reader.project)
    eventually(lambda: in_hand(nats_url, name) == 1, what="the delivery")
    delete_consumer(nats_url, name)
    eventually(lambda: subscription(nats_url, reader.project), what="the next consumer")
    gone.close()
    publisher.publish("work", {"n": 3})
    # The bridge may notice that the client has gone only after it has delivered the third.
    assert sorted(numbers(reader.events("work", timeout=20, count=2))) == [2, 3]
    assert reader.events("work") == []


def test_an_open_wait_reads_a_stream_that_was_made_again_from_its_beginning(
    own_nats: NatsServer,
    start_bridge: Callable[..., BridgeProcess],
    agents_on: Callable[[BridgeProcess], Agents],
) -> None:
    agents = agents_on(start_bridge(own_nats.url))
    publisher, reader = agents("publisher"), agents("reader")
    publisher.publish_many({"event_type": "work", "data": {"n": n}} for n in range(20))
    assert len(reader.events("work")) == 20

    async def delete_stream(js: JetStreamContext) -> bool:
        return await js.delete_stream("EVENTS")

    with ThreadPoolExecutor() as pool:
        answer = pool.submit(reader.wait, "work", timeout=60)
        eventually(lambda: waiting(reader) == 1, what="the pull")
        assert on_jetstream(own_nats.url, delete_stream)
        eventually(lambda: published(publisher, 100), what="a stream to publish to")
        seen = numbers(answer.result()["events"])
    publisher.publish("work", {"n": 101})
    seen += numbers(reader.events("work", timeout=10, count=102 - 100 - len(seen)))
    assert seen == [100, 101]


def published(agent: Agent, number: int) -> bool:
    """Try to publish an event; its ID lets it be repeated."""
    body = {"data": {"n": number}, "event_id": f"n-{number}"}
    return agent.http.post("/events/work", json=body).status_code == 202


def test_what_was_published_before_a_new_subscription_lost_its_consumer_is_delivered(
    own_nats: NatsServer,
    start_bridge: Callable[..., BridgeProcess],
    agents_on: Callable[[BridgeProcess], Agents],
) -> None:
    """It hears what comes after it began, on a stream that never held anything before."""
    bridge, other = start_bridge(own_nats.url), start_bridge(own_nats.url)
    agents, elsewhere = agents_on(bridge), agents_on(other)
    reader = agents("reader", project_id="p")
    publisher = elsewhere("publisher", project_id="p")
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(reader.wait, "work", timeout=60, count=2, deliver="new")
        name = eventually(lambda: subscription(own_nats.url, "p"), what="the consumer")
        bridge.send(signal.SIGSTOP)
        delete_consumer(own_nats.url, name)
        publisher.publish("work", {"n": 1})
        bridge.send(signal.SIGCONT)
        publisher.publish("work", {"n": 2})
        assert numbers(answer.result()["events"]) == [1, 2]


def test_events_of_a_stream_that_was_made_again_are_other_events(
    own_nats: NatsServer,
    start_bridge: Callable[..., BridgeProcess],
    agents_on: Callable[[BridgeProcess], Agents],
) -> None:
    """A wait has some in hand when their stream goes; the new one counts from the beginning."""
    agents = agents_on(start_bridge(own_nats.url))
    publisher, reader = agents("publisher"), agents("reader")

    async def delete_stream(js: JetStreamContext) -> bool:
        return await js.delete_stream("EVENTS")

    with ThreadPoolExecutor() as pool:
        answer = pool.submit(reader.wait, "work", timeout=60, count=4)
        name = eventually(lambda: subscription(own_nats.url, reader.project), what="the consumer")
        for number in (1, 2):
            publisher.publish("work", {"n": number})
        eventually(lambda: in_hand(own_nats.url, name) == 2, what="the delivery")
        assert on_jetstream(own_nats.url, delete_stream)
        for number in (101, 102):
            eventually(partial(published, publisher, number), what="a stream")
        assert numbers(answer.result()["events"]) == [1, 2, 101, 102]


def test_an_open_wait_goes_on_though_an_event_once_came_for_nobody(
    agents: Agents, nats_url: str
) -> None:
    """A client leaves its pull behind, and what that brings is given back unread."""
    publisher, reader = agents("publisher"), agents("reader")
    gone = open_wait(agents.url, reader, "work?timeout=60000")
    eventually(lambda: waiting(reader) == 1, what="the pull")
    gone.close()
    for number in range(20):
        publisher.publish("work", {"n": number})
        assert numbers(reader.events("work", timeout=10)) == [number]
    name = subscription(nats_url, reader.project)
    eventually(lambda: in_hand(nats_url, name) == 0, what="the acknowledgements")
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(reader.wait, "work", timeout=30)
        eventually(lambda: waiting(reader) == 1, what="the pull")
        delete_consumer(nats_url, name)
        publisher.publish("work", {"n": 20})
        assert numbers(answer.result()["events"]) == [20]
