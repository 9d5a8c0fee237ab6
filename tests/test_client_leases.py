"""The client's leases: work that survives its worker."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from bridge import errors
from bridge.client import AsyncEventClient, Event, EventClient, LeasedEvent
from bridge.client.patterns import fan_out
from tests.support import Agents, BridgeProcess, eventually
from tests.support.agents import make_token
from tests.support.clients import KINDS


@pytest.fixture
def client(bridge: BridgeProcess, agents: Agents) -> Iterator[EventClient]:
    token = make_token("worker", project_id=agents.project)
    with EventClient(bridge.api, token) as found:
        yield found


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_acknowledged_by_the_next_wait(
    bridge: BridgeProcess, agents: Agents, kind: str
) -> None:
    with KINDS[kind](bridge.api, make_token("worker", project_id=agents.project)) as client:
        for n in range(3):
            client.call("publish", "task", {"n": n})
        batch = client.call("wait", "task", count=2, limit=2, lease=1, timeout=10)
        assert [event.data["n"] for event in batch] == [0, 1]
        batch = client.call("wait", "task", lease=1, timeout=10, done=[batch])
        assert [event.data["n"] for event in batch] == [2]
        assert client.call("ack", batch).done == [batch.ack_id]
        assert not client.call("wait", "task", lease=1, timeout=4)


def test_an_event_is_extended_released_and_rejected(client: EventClient) -> None:
    client.publish("task")
    [event] = client.wait("task", lease=30, timeout=10)
    assert isinstance(event, LeasedEvent)
    was = event.ack_id
    [extended] = client.extend(event, lease=60).done
    assert (extended["was"], extended["ack_id"]) == (was, event.ack_id)
    client.release(event)
    [again] = client.wait("task", lease=30, timeout=10)
    assert again.delivery_count == 2
    client.reject(again, reason="no good")
    [failure] = client.wait("delivery_failed", timeout=10)
    assert failure.data["reason"] == "no good"
    client.redrive(failure.data["subscription"], event.event_id)
    [redriven] = client.wait("task", lease=30, timeout=10)
    assert redriven.event_id == event.event_id
    client.ack(redriven)


def test_a_lease_that_ended_is_told_of(client: EventClient) -> None:
    client.publish("task")
    [event] = client.wait("task", lease=1, timeout=10)
    [again] = client.wait("task", lease=30, timeout=20)
    with pytest.raises(errors.LeaseEnded, match="may be another's"):
        client.ack(event)
    client.ack(again)
    with pytest.raises(ValueError, match="wait with `lease`"):
        client.ack(client.wait("task", timeout=0.1))


def test_what_a_subscriber_had_in_hand_when_it_ended_comes_again(client: EventClient) -> None:
    for n in range(3):
        client.publish("task", {"n": n})
    for event in client.subscribe("task", lease=1):  # outside of `with`, as a process that dies
        if event.data["n"] == 1:
            break
    [again] = client.wait("task", lease=30, limit=1, timeout=0.5)
    assert again.data["n"] == 2
    [again] = client.wait("task", lease=30, limit=1, timeout=20)
    assert (again.data["n"], again.delivery_count) == (1, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_subscriber_settles_by_how_its_block_is_left(
    bridge: BridgeProcess, agents: Agents, kind: str
) -> None:
    """Done at its end, given back by what it raises; what waited behind it comes at once."""
    token = make_token("worker", project_id=agents.project)
    with KINDS[kind](bridge.api, token) as client:
        for n in range(4):
            client.call("publish", "task", {"n": n})
        with client.subscribe("task") as events:
            assert [next(events).data["n"] for _ in range(2)] == [0, 1]

        def fail() -> None:
            with client.subscribe("task", limit=2) as events:
                assert next(events).data["n"] == 2
                raise RuntimeError("not yet")

        with pytest.raises(RuntimeError):
            fail()
        got = client.call("wait", "task", count=2, lease=30, timeout=20).events
        assert sorted((event.data["n"], event.delivery_count) for event in got) == [(2, 2), (3, 2)]
        assert got[0].data["n"] == 3, "the one that failed rests a little"


def test_ctrl_c_gives_back_at_once(client: EventClient) -> None:
    client.publish("task")

    def interrupted() -> None:
        with client.subscribe("task") as events:
            next(events)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    [again] = client.wait("task", lease=30, timeout=0.5)
    assert again.delivery_count == 2


def test_an_event_settles_itself(client: EventClient, bridge: BridgeProcess) -> None:
    client.publish("task")
    [event] = client.wait("task", lease=30, timeout=10)
    assert isinstance(event, LeasedEvent)
    was = event.ack_id
    event.extend(lease=60)
    assert event.ack_id != was
    event.release()
    [event] = client.wait("task", lease=30, timeout=10)
    assert isinstance(event, LeasedEvent)
    event.ack()
    with pytest.raises(errors.LeaseEnded):
        event.reject("too late")

    async def awaiting() -> None:
        async with AsyncEventClient(bridge.api, client.token) as other:
            await other.publish("task")
            batch = await other.wait("task", lease=30, timeout=10)
            [event] = batch
            assert isinstance(event, LeasedEvent)
            await other.extend(batch, lease=60)
            await event.reject("no good")
            [failure] = await other.wait("delivery_failed", timeout=10)
            assert failure.data["reason"] == "no good"

    asyncio.run(awaiting())


def test_what_a_handler_raises_on_is_tried_again(client: EventClient) -> None:
    tried: list[int] = []
    over = threading.Event()

    def handle(event: Event) -> None:
        tried.append(event.delivery_count)
        if len(tried) < 3:
            raise RuntimeError("not yet")
        over.set()

    client.publish("task")
    with client.on("task", handle, lease=30):
        assert over.wait(30)
    assert tried == [1, 2, 3]
    assert not client.wait("task", lease=30, timeout=1)


def test_a_handler_may_take_longer_than_its_lease(client: EventClient) -> None:
    begun: list[str] = []
    ended = threading.Event()

    def handle(event: Event) -> None:
        begun.append(event.event_id)
        threading.Event().wait(6)
        ended.set()

    client.publish("task")
    with client.work("task", handle, group="g", lease=1, concurrency=2):
        assert ended.wait(60)
    assert len(begun) == 1, "it was nobody else's meanwhile"
    assert not client.wait("task", group="g", lease=30, timeout=4)


@pytest.mark.parametrize("kind", KINDS)
def test_workers_stop_once_what_they_have_in_hand_is_done(
    bridge: BridgeProcess, agents: Agents, kind: str
) -> None:
    token = make_token("worker", project_id=agents.project)
    begun, done = threading.Event(), threading.Event()

    def handle(_: Event) -> None:
        begun.set()
        threading.Event().wait(0.5)
        done.set()

    with KINDS[kind](bridge.api, token) as client, EventClient(bridge.api, token) as other:
        other.publish("task")
        workers: Any = client.work("task", handle, group="g", lease=30)
        assert begun.wait(30)
        client.stop(workers)
        assert done.is_set()
        assert not other.wait("task", group="g", lease=30, timeout=1)


def test_a_worker_that_dies_leaves_its_task_to_another(
    bridge: BridgeProcess, agents: Agents, client: EventClient
) -> None:
    done: list[int] = []
    client.publish("task")
    [event] = client.wait("task", group="g", lease=2, timeout=10)  # and is never heard of again
    token = make_token("other", project_id=agents.project)
    with (
        EventClient(bridge.api, token) as other,
        other.work("task", lambda given: done.append(given.delivery_count), group="g"),
    ):
        eventually(lambda: bool(done), what="the work")
    assert done == [2]
    assert event.delivery_count == 1


@pytest.mark.parametrize("kind", KINDS)
def test_what_hears_in_the_background_leases_by_itself(
    bridge: BridgeProcess, agents: Agents, kind: str
) -> None:
    """What its handler raises on comes again; what was done does not, nor what is not leased."""
    token = make_token("worker", project_id=agents.project)
    heard: list[tuple[int, int]] = []

    def handle(event: Event) -> None:
        heard.append((event.data["n"], event.delivery_count))
        if event.data["n"] == 1 and event.delivery_count == 1:
            raise RuntimeError("not yet")

    with EventClient(bridge.api, token) as other:
        for n in range(3):
            other.publish("task", {"n": n})
        with KINDS[kind](bridge.api, token) as client:
            listener: Any = client.on("task", handle)
            eventually(lambda: len(heard) == 4, what="every event, one of them twice")
            client.stop(listener)
        assert sorted(heard) == [(0, 1), (1, 1), (1, 2), (2, 1)]
        assert not other.wait("task", lease=30, timeout=1)


def test_events_of_one_answer_stay_leased_while_they_wait_for_their_turn(
    client: EventClient,
) -> None:
    heard: list[tuple[int, int]] = []

    def handle(event: Event) -> None:
        heard.append((event.data["n"], event.delivery_count))
        threading.Event().wait(2)

    client.publish_many({"event_type": "task", "data": {"n": n}} for n in range(3))
    with client.on("task", handle, limit=3, lease=1):
        eventually(lambda: len(heard) == 3, what="the events", within=60)
    assert heard == [(0, 1), (1, 1), (2, 1)]
    assert not client.wait("task", lease=30, timeout=4)


def test_tasks_that_are_handed_out_are_done_though_a_worker_dies(
    bridge: BridgeProcess, agents: Agents, client: EventClient
) -> None:
    """The one that dies has taken a task, and is never heard of again."""

    def do(event: Event) -> None:
        done = {"task_id": event.data["task_id"], "status": "success"}
        other.publish("agent_completed", done, correlation_id=event.correlation_id)

    token = make_token("other", project_id=agents.project)
    with EventClient(bridge.api, token) as other, ThreadPoolExecutor() as pool:
        handing_out = pool.submit(fan_out, other, ["API", "CLI", "docs"], timeout=60)
        [taken] = client.wait("task_assigned", group="g", lease=2, limit=1, timeout=30)
        with other.work("task_assigned", do, group="g"):
            gathered = handing_out.result()
    assert gathered.missing == []
    told = [event.data["task_id"] for event in gathered.results]
    assert sorted(told) == [1, 2, 3]
    assert told[-1] == taken.data["task_id"], "the others did not wait for it"
