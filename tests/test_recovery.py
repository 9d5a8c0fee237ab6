"""Recovery: from messages nobody expects, a store that is gone, servers and clients that hang."""

import asyncio
import shutil
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
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
from tests.support.bridges import HASTY
from tests.support.jetstream import consumer_names
from tests.test_delivery import numbers, open_wait, waiting

Start = Callable[..., BridgeProcess]
AgentsOn = Callable[[BridgeProcess], Agents]


def publish_raw(server: NatsServer, subject: bytes, headers: bytes = b"") -> None:
    """Publish with nothing but the protocol, which lets anything be a subject or a header."""
    sizes = b"%d %d" % (len(headers), len(headers) + 2) if headers else b"2"
    operation = b"%s %s %s" % (b"HPUB" if headers else b"PUB", subject, sizes)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(b'CONNECT {"verbose":false,"headers":true}\r\n')
        connection.sendall(b"%s\r\n%s{}\r\nPING\r\n" % (operation, headers))
        received = b""
        while b"PONG" not in received:
            got = connection.recv(65_536)
            assert got, received
            received += got
    assert b"-ERR" not in received


@pytest.mark.parametrize(
    ("subject", "headers"),
    [
        (b"events.p.t.work.\xff\xfe", b""),
        (b"events.p.t.work._", b"x"),
        (b"events.p.t.work._", b"NATS/1.0 \xff\xfe\r\n\r\n"),
        (b"events.p.t.work._", b"NATS/1.0 100 x\r\nA: \xff\r\n\r\n"),
    ],
    ids=["subject", "no-headers", "status", "header"],
)
def test_a_message_that_is_no_text_wedges_no_bridge(
    own_nats: NatsServer,
    start_bridge: Start,
    agents_on: AgentsOn,
    subject: bytes,
    headers: bytes,
) -> None:
    """Neither one that is running nor one that starts on it."""
    running = agents_on(start_bridge(own_nats.url))("agent", project_id="p")
    publish_raw(own_nats, subject, headers)
    running.publish("work", {"n": 1})
    assert len(running.events("work", timeout=20, count=2)) == 2
    assert len(running.events("work", since="earliest", timeout=20, count=2)) == 2
    fresh = agents_on(start_bridge(own_nats.url))("other", project_id="p")
    assert len(fresh.events("work", timeout=20, count=2)) == 2


def test_what_comes_after_a_store_was_lost_reaches_a_wait_for_what_is_new(
    tmp_path: Path, start_bridge: Start, agents_on: AgentsOn
) -> None:
    """What is published before its consumer is made again is new as well."""
    folder = tmp_path / "lost"
    folder.mkdir()
    server = NatsServer(folder).start()
    agents = agents_on(start_bridge(server.url, publish_timeout_seconds="30"))
    publisher, reader = agents("publisher"), agents("reader")
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(reader.wait, "work", timeout=60, count=5, deliver="new")
        eventually(lambda: waiting(reader) == 1, what="the pull")
        server.kill()
        shutil.rmtree(folder / "store")
        published = [pool.submit(publisher.publish, "work", {"n": n}) for n in range(5)]
        server.start()
        for each in published:
            each.result()
        assert sorted(numbers(answer.result()["events"])) == list(range(5))
    server.stop()


def test_subscriptions_made_while_the_list_of_many_is_read_are_known(
    own_nats: NatsServer, start_bridge: Start, agents_on: AgentsOn
) -> None:
    """Names come in order: these are on a page that has been read by then."""
    agents = agents_on(start_bridge(own_nats.url))
    publisher = agents("publisher")

    async def make_many(js: JetStreamContext) -> None:
        names = (f"{agents.project}--owner--{n}" for n in range(600))
        await asyncio.gather(*(js.add_consumer("EVENTS", durable_name=name) for name in names))

    on_jetstream(own_nats.url, make_many)
    with ThreadPoolExecutor() as pool:
        own_nats.kill()  # which is fast: it stops for seconds with so many
        readers = [agents(f"a-reader-{n}") for n in range(5)]
        waits = [pool.submit(reader.wait, "fresh", timeout=60) for reader in readers]
        own_nats.start()
        eventually(lambda: all(waiting(reader) == 1 for reader in readers), what="the pulls")
        receipt = publisher.publish("fresh")
        assert receipt["subscribers_notified"] == [reader.name for reader in readers]
        for wait in waits:
            assert len(wait.result()["events"]) == 1
    own_nats.kill()


@pytest.mark.parametrize("asked", ["work", "work?since=now"])
def test_a_bridge_stops_properly_while_nats_hangs(
    own_nats: NatsServer, start_bridge: Start, agents_on: AgentsOn, asked: str
) -> None:
    bridge = start_bridge(own_nats.url, times=HASTY, drain_seconds="0")
    agent = agents_on(bridge)()
    waiting_client = open_wait(bridge.url, agent, asked)
    eventually(lambda: asking.open_waits(bridge.url) == 1, what="the wait")
    own_nats.pause()
    try:
        assert bridge.stop() == 0, bridge.log
        assert "Traceback" not in bridge.log
    finally:
        own_nats.resume()
        waiting_client.close()


def test_a_client_that_takes_no_more_of_its_answer_keeps_no_events(
    own_nats: NatsServer, start_bridge: Start, agents_on: AgentsOn
) -> None:
    bridge = start_bridge(own_nats.url, answer_timeout_seconds="1")
    agents = agents_on(bridge)
    publisher, slow, other = agents("publisher"), agents("slow"), agents("other")
    assert other.events("work", group="g") == []
    for number in range(40):
        publisher.publish("work", {"n": number, "text": "x" * 200_000})
    with _narrow(bridge, slow, "work?group=g&limit=1000&timeout=0"):
        eventually(lambda: other.subscriptions() and _in_hand(other) > 0, what="the delivery")
        seen: set[int] = set()

        def all_seen() -> bool:
            seen.update(numbers(other.events("work", group="g", timeout=1)))
            return len(seen) == 40

        eventually(all_seen, within=60, what="all events for the other member")


def test_something_else_than_nats_is_waited_out(
    tmp_path: Path, start_bridge: Start, agents_on: AgentsOn
) -> None:
    """A port may be somebody else's for a while: what that says ends no bridge."""
    folder = tmp_path / "nats"
    folder.mkdir()
    server = NatsServer(folder)
    told = [b"x" * 200_000, b"INFO{}\r\n", b"INFO []\r\n", b"HTTP/1.1 502 Bad Gateway\r\n\r\n"]
    with socket.create_server(("127.0.0.1", server.port)) as listener:
        bridge = start_bridge(server.url, ready=False)
        for text in told:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(text)
        assert asking.get(f"{bridge.url}/livez").status_code == 200
        assert asking.get(f"{bridge.url}/readyz").status_code == 503
    server.start()
    eventually(bridge.ready, what="readiness")
    assert agents_on(bridge)().publish("work")["published"] is True
    assert bridge.stop() == 0, bridge.log
    server.stop()


def _in_hand(agent: Agent) -> int:
    return sum(found["ack_pending"] for found in agent.subscriptions())


@contextmanager
def _narrow(bridge: BridgeProcess, agent: Agent, query: str) -> Iterator[None]:
    """Send a wait on a connection with little room, and read nothing of the answer."""
    where = httpx.URL(bridge.url)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((where.host, where.port))
        connection.sendall(
            f"GET /api/events/wait/{query} HTTP/1.1\r\nHost: bridge\r\n"
            f"Authorization: Bearer {agent.token}\r\n\r\n".encode()
        )
        yield


def test_subscriptions_follow_settings_that_change(
    own_nats: NatsServer, start_bridge: Start, agents_on: AgentsOn
) -> None:
    """One that goes when idle for as long as events were kept before would repeat everything."""
    bridge = start_bridge(
        own_nats.url,
        ack_wait_seconds="30",
        stream_max_age_seconds="60",
        duplicate_window_seconds="60",
    )
    reader = agents_on(bridge)("reader", project_id="p")
    reader.publish("work", {"n": 1}, correlation_id="c-1")
    assert numbers(reader.events("work")) == [1]
    assert numbers(reader.events("work", filter="correlation_id:c-1")) == [1]
    assert bridge.stop() == 0

    async def settings(js: JetStreamContext) -> list[tuple[float | None, float | None]]:
        found = [await js.consumer_info("EVENTS", name) for name in await consumer_names(js)]
        durable = [each.config for each in found if each.config.durable_name]
        return sorted((each.ack_wait, each.inactive_threshold) for each in durable)

    assert on_jetstream(own_nats.url, settings) == [(30, 60), (30, 3600)]
    again = agents_on(start_bridge(own_nats.url, ack_wait_seconds="5"))("reader", project_id="p")
    eventually(
        lambda: on_jetstream(own_nats.url, settings) == [(5, 3600), (5, 86_400)],
        what="the new settings",
    )
    assert again.events("work") == again.events("work", filter="correlation_id:c-1") == []
