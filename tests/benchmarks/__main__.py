"""Print the ratios: publishes against a bare echo, waits against raw NATS, pins against backlog.

Also what leases cost, and what it saves to ask in one call.
"""

import asyncio
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlparse

import nats
import uvloop

from tests.benchmarks.load import rate
from tests.cluster.fleet import Fleet
from tests.support import BridgeProcess, NatsServer, eventually
from tests.support.agents import Agent, make_token
from tests.support.cluster import NatsCluster
from tests.support.natsservers import free_port

CONNECTIONS = 32
SECONDS = 4.0
ROUNDS = 3
SAMPLES = 400
CROWD, CROWD_SAMPLES = 1000, 5
PINNED = (2500, 10_000)
EVENT = b'{"topic":"testing","data":{"issue_id":"issue-123","coverage":91.5,"duration_ms":1200}}'


def _request(path: str, body: bytes, token: str) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {token}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def publish_against_echo(nats_url: str, bridge: BridgeProcess) -> None:
    """Publishes a second through the bridge, against a bare echo under the same uvicorn.

    Beside them, a bare application that publishes what it echoes: the least that it takes.
    """
    token = make_token("bench", project_id="bench-publish")
    request = _request("/api/events/tests_passing", EVENT, token)
    bridge_port = urlparse(bridge.url).port
    assert bridge_port is not None

    def speed(port: int) -> float:
        return rate("127.0.0.1", port, request, connections=CONNECTIONS, seconds=SECONDS)

    with _yardstick() as echo, _yardstick(nats_url) as least:
        ours, bare_publish = [], []
        for _ in range(ROUNDS):
            bare, publish, floor = speed(echo), speed(bridge_port), speed(least)
            ours.append(publish / bare)
            bare_publish.append(floor / bare)
            print(f"  echo {bare:8.0f}/s   publish {publish:8.0f}/s   bare publish {floor:8.0f}/s")
    print(f"publish / bare echo:            {_middle(ours)}   (wanted: >= 0.30)")
    print(f"bare publish / bare echo:       {_middle(bare_publish)}")


def _middle(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.3f} ({min(ratios):.3f}-{max(ratios):.3f})"


@contextmanager
def _yardstick(*arguments: str) -> Iterator[int]:
    """Run a bare application, and give its port; see `tests.benchmarks.echo`."""
    port = free_port()
    command = [sys.executable, "-m", "tests.benchmarks.echo", str(port), *arguments]
    process = subprocess.Popen(command)
    try:
        eventually(lambda: _open(port), what="the yardstick")
        yield port
    finally:
        process.terminate()
        process.wait()


def _open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def _median(sample: Callable[[], Awaitable[float]], count: int) -> float:
    return statistics.median([await sample() for _ in range(count)]) * 1000


async def raw_latency(url: str) -> float:
    """Milliseconds from a publish to a waiting pull, with nats-py alone."""
    client = await nats.connect(url)
    jetstream = client.jetstream()
    await jetstream.add_stream(name="BENCH", subjects=["bench.>"])
    puller = await jetstream.pull_subscribe("bench.raw", durable="bench")

    async def sample() -> float:
        waiting = asyncio.create_task(puller.fetch(1, timeout=10))
        await asyncio.sleep(0.005)
        started = time.perf_counter()
        await jetstream.publish("bench.raw", EVENT)
        [message] = await waiting
        elapsed = time.perf_counter() - started
        await message.ack()
        return elapsed

    found = await _median(sample, SAMPLES)
    await jetstream.delete_stream("BENCH")
    await client.close()
    return found


class _Raw:
    """One keep-alive HTTP connection, with as little of a client as possible."""

    def __init__(self, url: str) -> None:
        self._url = urlparse(url)

    async def open(self) -> "_Raw":
        assert self._url.port is not None
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._url.port)
        return self

    async def exchange(self, request: bytes) -> bytes:
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        body = await self._reader.readexactly(length)
        assert head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 202")), head + body
        return body


def _get(path: str, token: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: b\r\nauthorization: Bearer {token}\r\n\r\n".encode()


async def bridge_latency(bridge: BridgeProcess, query: str, project: str) -> float:
    """Milliseconds from a publish to the answer of one waiting agent."""
    publisher, waiter = await _Raw(bridge.url).open(), await _Raw(bridge.url).open()
    token = make_token("bench", project_id=project)
    publish = _request("/api/events/bench_latency", EVENT, token)
    wait = _get(f"/api/events/wait/bench_latency?timeout=10000{query}", token)

    async def sample() -> float:
        waiting = asyncio.create_task(waiter.exchange(wait))
        await asyncio.sleep(0.005)
        started = time.perf_counter()
        await publisher.exchange(publish)
        await waiting
        return time.perf_counter() - started

    return await _median(sample, SAMPLES)


def wait_against_raw(nats_url: str, bridge: BridgeProcess) -> None:
    """The latency of one waiting agent, against nats-py's publish to pull."""
    for kind, query in (("durable", ""), ("since", "&since=now")):
        ratios = []
        for turn in range(ROUNDS):
            raw = uvloop.run(raw_latency(nats_url))
            ours = uvloop.run(bridge_latency(bridge, query, f"bench-{kind}-{turn}"))
            ratios.append(ours / raw)
            print(f"  raw {raw:6.3f} ms   {kind} wait {ours:6.3f} ms   ratio {ours / raw:.2f}")
        name = f"{kind} wait / raw publish to pull:"
        print(f"{name:<32}{statistics.median(ratios):.2f}    (wanted: <= 5)")


class _Waiter:
    """An agent that waits again and again: a careful one acknowledges with each wait the last."""

    def __init__(self, connection: _Raw, name: str, project: str, *, careful: bool) -> None:
        self._connection = connection
        self._token = make_token(name, project_id=project)
        self._lease = "&ack=explicit&lease=60000" if careful else ""
        self._done = ""

    async def wait(self) -> None:
        path = f"/api/events/wait/bench_task?timeout=30000{self._lease}{self._done}"
        answer = json.loads(await self._connection.exchange(_get(path, self._token)))
        assert len(answer["events"]) == 1
        if self._lease:
            self._done = f"&done={answer['ack_id']}"


async def _waiting(bridge: BridgeProcess, project: str, waiters: int, *, careful: bool) -> float:
    """Milliseconds from a publish until all of so many agents have it."""
    publisher = await _Raw(bridge.url).open()
    publish = _request("/api/events/bench_task", EVENT, make_token("bench", project_id=project))
    all_of_them = [
        _Waiter(await _Raw(bridge.url).open(), f"waiter-{n}", project, careful=careful)
        for n in range(waiters)
    ]

    async def sample() -> float:
        waiting = [asyncio.create_task(each.wait()) for each in all_of_them]
        await asyncio.sleep(0.005 + waiters / 500)  # until they wait
        started = time.perf_counter()
        await publisher.exchange(publish)
        await asyncio.gather(*waiting)
        return time.perf_counter() - started

    await sample()  # makes the consumers
    return await _median(sample, SAMPLES if waiters == 1 else CROWD_SAMPLES)


def careful_against_careless(bridge: BridgeProcess) -> None:
    """A wait that leases and acknowledges the last answer, against one done when written."""
    for waiters in (1, CROWD):
        ratios = []
        for turn in range(ROUNDS):
            careless, careful = (
                uvloop.run(_waiting(bridge, f"bench-{waiters}-{turn}-{how}", waiters, careful=how))
                for how in (False, True)
            )
            ratios.append(careful / careless)
            print(
                f"  {waiters} waiters   durable {careless:8.3f} ms   explicit {careful:8.3f} ms"
                f"   ratio {careful / careless:.2f}"
            )
        name = f"explicit / durable wait, {waiters}:"
        print(f"{name:<32}{statistics.median(ratios):.2f}    (wanted: <= 1.3)")


async def _asking(bridge: BridgeProcess, project: str, *, at_once: bool) -> float:
    """Milliseconds from a question to its answer, which another agent gives at once."""
    asker, replier = await _Raw(bridge.url).open(), await _Raw(bridge.url).open()
    asking, replying = (make_token(name, project_id=project) for name in ("asker", "replier"))

    async def reply() -> None:
        path = "/api/events/wait/bench_question?timeout=30000&limit=1"
        while True:
            answer = json.loads(await replier.exchange(_get(path, replying)))
            for event in answer["events"]:
                body = b'{"correlation_id":"%s"}' % event["correlation_id"].encode()
                await replier.exchange(_request("/api/events/bench_answer", body, replying))

    async def sample() -> float:
        name = f"ask-{uuid.uuid4()}"
        body = b'{"correlation_id":"%s"}' % name.encode()
        path = "/api/events/bench_question"
        started = time.perf_counter()
        if at_once:
            path += "?reply=bench_answer&timeout=10000"
            found = json.loads(await asker.exchange(_request(path, body, asking)))["reply"]
        else:
            await asker.exchange(_request(path, body, asking))
            wait = f"/api/events/wait/bench_answer?timeout=10000&filter=correlation_id:{name}"
            found = json.loads(await asker.exchange(_get(wait, asking)))
        assert len(found["events"]) == 1
        return time.perf_counter() - started

    replies = asyncio.create_task(reply())
    await sample()  # makes the replier's consumer
    took = await _median(sample, SAMPLES)
    replies.cancel()
    return took


def ask_against_publish_and_wait(bridge: BridgeProcess) -> None:
    """A question in one call, against a publish and a wait for the reply."""
    ratios = []
    for turn in range(ROUNDS):
        two, one = (
            uvloop.run(_asking(bridge, f"bench-ask-{turn}-{at_once}", at_once=at_once))
            for at_once in (False, True)
        )
        ratios.append(one / two)
        print(f"  publish, then wait {two:6.3f} ms   ask {one:6.3f} ms   ratio {one / two:.2f}")
    print(f"ask / publish then wait:        {statistics.median(ratios):.2f}    (wanted: <= 0.7)")


async def _pinned(bridge: BridgeProcess, project: str, count: int) -> float:
    """Milliseconds of a wait pinned to a correlation ID that finds its event among others."""
    client = await _Raw(bridge.url).open()
    token = make_token("bench", project_id=project)
    samples = []
    for _ in range(count):
        pin = f"pin-{uuid.uuid4()}"
        body = b'{"correlation_id":"%s"}' % pin.encode()
        await client.exchange(_request("/api/events/bench_reply", body, token))
        wait = _get(f"/api/events/wait/bench_reply?timeout=5000&filter=correlation_id:{pin}", token)
        started = time.perf_counter()
        answer = await client.exchange(wait)
        samples.append(time.perf_counter() - started)
        assert answer.count(b'"event_id"') == 1
    return statistics.median(samples) * 1000


def pinned_against_backlog(few: BridgeProcess, many: BridgeProcess) -> None:
    """A pinned wait with 10 retained events, and with 10,000."""
    project = "bench-pinned"
    for bridge, backlog in ((few, 10), (many, 10_000)):
        with Agent(bridge.url, "filler", project) as filler:
            for start in range(0, backlog, 1000):
                filler.publish_many(
                    {"event_type": "bench_reply", "correlation_id": f"other-{start + i}"}
                    for i in range(min(backlog, 1000))
                )
    ratios = []
    for _ in range(ROUNDS):
        short, long = (uvloop.run(_pinned(bridge, project, 100)) for bridge in (few, many))
        ratios.append(long / short)
        print(
            f"  10 retained {short:6.3f} ms   10,000 retained {long:6.3f} ms   {long / short:.2f}"
        )
    print(f"pinned wait, 10,000 / 10:       {statistics.median(ratios):.2f}    (wanted: <= 1.3)")


async def _publishing(bridge: BridgeProcess, project: str, event_type: str) -> float:
    """Milliseconds of a publish."""
    client = await _Raw(bridge.url).open()
    request = _request(f"/api/events/{event_type}", EVENT, make_token("bench", project_id=project))

    async def sample() -> float:
        started = time.perf_counter()
        await client.exchange(request)
        return time.perf_counter() - started

    return await _median(sample, SAMPLES)


async def _subscribe(bridge: BridgeProcess, project: str, start: int, end: int) -> None:
    token = make_token("bench", project_id=project)

    async def some(first: int) -> None:
        client = await _Raw(bridge.url).open()
        for n in range(first, end, CONNECTIONS):
            path = f"/api/events/wait/bench_asked?timeout=0&filter=correlation_id:pin-{n}"
            await client.exchange(_get(path, token))

    await asyncio.gather(*(some(start + n) for n in range(CONNECTIONS)))


def publish_beside_pinned(bridge: BridgeProcess) -> None:
    """A publish beside thousands of subscriptions to its type, each pinned to another ID."""
    project, before = "bench-beside", 0
    for count in PINNED:
        uvloop.run(_subscribe(bridge, project, before, count))
        before = count
        ratios = []
        for _ in range(ROUNDS):
            none, some = (
                uvloop.run(_publishing(bridge, project, kind)) for kind in ("other", "bench_asked")
            )
            ratios.append(some / none)
            print(f"  another type {none:6.3f} ms   {count} pinned of the type {some:6.3f} ms")
        name = f"publish, beside {count} pinned / none:"
        print(f"{name:<40}{statistics.median(ratios):.2f}    (wanted: <= 1.2)")


async def _full(bridge: BridgeProcess, project: str, count: int) -> float:
    """Milliseconds of a wait that its events fill, one after the other."""
    client = await _Raw(bridge.url).open()
    token = make_token("bench", project_id=project)
    wait = _get("/api/events/wait/bench_full?timeout=5000&limit=1", token)
    events = b"[" + b",".join([b'{"event_type":"bench_full"}'] * count) + b"]"
    await client.exchange(_request("/api/events", events, token))
    samples = []
    for _ in range(count):
        started = time.perf_counter()
        answer = await client.exchange(wait)
        samples.append(time.perf_counter() - started)
        assert answer.count(b'"event_id"') == 1
    return statistics.median(samples[1:]) * 1000  # the first makes the consumer


def full_on_three_servers(folder: Path, single: BridgeProcess) -> None:
    """Waits that fill their limit, with consumers on three servers and on one."""
    fleet = Fleet(folder, NatsCluster(folder / "nats"))
    try:
        replicated = fleet.start().bridges[0]
        ratios = []
        for turn in range(ROUNDS):
            one, three = (
                uvloop.run(_full(bridge, f"bench-full-{turn}", 100))
                for bridge in (single, replicated)
            )
            ratios.append(three / one)
            print(f"  one server {one:6.3f} ms   three {three:6.3f} ms   ratio {three / one:.2f}")
    finally:
        fleet.stop()
    print(f"full wait, 3 servers / 1:       {statistics.median(ratios):.2f}    (wanted: <= 5)")


@contextmanager
def _bridge(folder: Path) -> Iterator[tuple[str, BridgeProcess]]:
    folder.mkdir()
    server = NatsServer(folder).start()
    bridge = BridgeProcess(folder / "bridge", server.url).start()
    try:
        yield server.url, bridge
    finally:
        bridge.stop()
        server.kill()  # stopping takes a minute where there are 10,000 consumers


def main() -> None:
    """Run every benchmark on nats-servers and bridges of their own."""
    with tempfile.TemporaryDirectory() as name:
        with _bridge(Path(name, "a")) as (_, few), _bridge(Path(name, "b")) as (_, many):
            pinned_against_backlog(few, many)
        with _bridge(Path(name, "c")) as (nats_url, bridge):
            full_on_three_servers(Path(name, "three"), bridge)
            wait_against_raw(nats_url, bridge)
            careful_against_careless(bridge)
            ask_against_publish_and_wait(bridge)
            publish_against_echo(nats_url, bridge)
            publish_beside_pinned(bridge)


if __name__ == "__main__":
    main()
