"""Consumers that vanish under a subscription: what was delivered stays so, what is owed comes."""

import asyncio
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from bridge.jetstream.message import Message
from bridge.jetstream.progress import Progress
from tests.support import Agent, Agents, BridgeProcess, NatsServer, eventually, on_jetstream
from tests.support.jetstream import consumer_names, delete_consumer
from tests.test_delivery import numbers, open_wait, waiting


async def posted(subject: str, payload: bytes, *, keep: bool = True) -> None:
    assert keep
    assert subject.startswith("$JS.ACK.")
    assert payload == b"+ACK"


def seen(progress: Progress, *deliveries: tuple[int, int]) -> list[Message]:
    """Note deliveries, each a consumer's number for it and the message's sequence."""
    messages = []
    for number, sequence in deliveries:
        reply = f"$JS.ACK.EVENTS.c.1.{sequence}.{number}.1700000000000000000.0"
        message = Message(Msg(Client(), "events.p.t.e._", reply), posted)
        progress.note(message)
        messages.append(message)
    return messages


def acknowledged(messages: list[Message]) -> None:
    for message in messages:
        asyncio.run(message.ack())


def begun(number: int = 0, sequence: int = 0) -> Progress:
    progress = Progress()
    progress.learn("first", number, sequence)
    return progress


class TestWhereANewConsumerBegins:
    def test_where_nothing_is_known_at_the_beginning(self) -> None:
        assert Progress().resume_after is None

    def test_where_the_last_one_did_before_its_first_delivery(self) -> None:
        assert begun(0, 7).resume_after == 7

    @pytest.mark.parametrize(
        ("acked", "after"), [("", 9), ("0", 19), ("12", 9), ("01", 29), ("012", 30)]
    )
    def test_before_the_first_that_is_owed(self, acked: str, after: int) -> None:
        progress = begun()
        messages = seen(progress, (1, 10), (2, 20), (3, 30))
        acknowledged([messages[int(index)] for index in acked])
        assert progress.resume_after == after

    def test_no_further_than_what_another_bridge_has_in_hand(self) -> None:
        progress = begun()
        acknowledged(seen(progress, (1, 10), (3, 30), (4, 40)))
        assert progress.resume_after == 10
        progress.note_ack(2, 20)
        assert progress.resume_after == 40

    def test_behind_what_was_acknowledged_before_this_bridge_came(self) -> None:
        progress = begun(5, 50)
        progress.note_ack(7, 70)
        assert progress.resume_after == 50
        progress.note_ack(6, 60)
        assert progress.resume_after == 70

    def test_behind_a_redelivery_that_was_acknowledged(self) -> None:
        progress = begun()
        acknowledged(seen(progress, (1, 10), (2, 20))[1:])
        assert progress.resume_after == 9
        acknowledged(seen(progress, (3, 10)))
        assert progress.resume_after == 20

    def test_behind_one_that_was_given_back_and_acknowledged_elsewhere(self) -> None:
        progress = begun()
        seen(progress, (1, 10))
        progress.note_ack(2, 10)
        assert progress.resume_after == 10

    def test_on_from_where_another_consumer_of_the_name_began(self) -> None:
        progress = begun()
        acknowledged(seen(progress, (1, 10), (3, 30)))
        progress.learn("second", 0, 10)
        acknowledged(seen(progress, (1, 20), (2, 30)))
        assert progress.resume_after == 30

    def test_at_the_beginning_if_that_is_where_the_other_began(self) -> None:
        progress = begun()
        acknowledged(seen(progress, (1, 10), (2, 20)))
        progress.learn("second", 0, 0)
        assert progress.resume_after == 0

    def test_what_is_told_late_takes_nothing_back(self) -> None:
        progress = begun()
        acknowledged(seen(progress, (1, 10), (2, 20)))
        progress.learn("first", 1, 10)
        assert progress.resume_after == 20

    def test_behind_what_others_acknowledged_of_what_was_given_back_here(self) -> None:
        progress = begun()
        seen(progress, (1, 10))
        acknowledged(seen(progress, (2, 20)))
        assert progress.resume_after == 9
        progress.learn("first", 3, 20)
        assert progress.resume_after == 20

    def test_what_is_told_closes_a_gap(self) -> None:
        progress = begun()
        acknowledged(seen(progress, (1, 10), (4, 40)))
        before = progress.has_gap
        progress.learn("first", 3, 30)
        assert (before, progress.has_gap) == (True, False)
        assert progress.resume_after == 40

    def test_no_further_than_before_there_may_have_been_another_consumer(self) -> None:
        progress = begun(5, 5)
        progress.doubt()
        progress.note_ack(6, 11)
        progress.note_ack(1, 6)
        assert progress.resume_after == 5
        progress.learn("second", 0, 5)
        assert progress.resume_after == 6

    def test_behind_what_was_acknowledged_before_the_consumer_was_known(self) -> None:
        progress = Progress()
        progress.note_ack(1, 6)
        progress.note_ack(2, 7)
        assert progress.resume_after is None
        progress.learn("first", 0, 0)
        assert progress.resume_after == 7

    def test_behind_what_it_knew_if_the_consumer_was_no_other(self) -> None:
        progress = begun()
        progress.note_ack(1, 10)
        progress.doubt()
        progress.note_ack(2, 20)
        assert progress.resume_after == 10
        progress.learn("first", 1, 10)
        assert progress.resume_after == 20

    def test_behind_what_expired_in_hand(self) -> None:
        progress = begun()
        seen(progress, (1, 10))
        progress.forget_owed(lambda sequence: sequence == 10)
        assert progress.resume_after == 10


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
    assert numbers(reader.events("work", timeout=20, count=2)) == [2, 3]
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
