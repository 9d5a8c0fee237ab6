"""Print the ratios: publishes against a bare echo, waits against raw NATS, pins against backlog."""

import asyncio
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
from tests.support import BridgeProcess, NatsServer, eventually
from tests.support.agents import Agent, make_token
from tests.support.natsservers import free_port

CONNECTIONS = 32
SECONDS = 4.0
ROUNDS = 3
SAMPLES = 400
EVENT = b'{"topic":"testing","data":{"issue_id":"issue-123","coverage":91.5,"duration_ms":1200}}'


def _request(path: str, body: bytes, token: str) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {token}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def publish_against_echo(bridge: BridgeProcess) -> None:
    """Publishes a second through the bridge, against a bare echo under the same uvicorn."""
    port = free_port()
    echo = subprocess.Popen([sys.executable, "-m", "tests.benchmarks.echo", str(port)])
    token = make_token("bench", project_id="bench-publish")
    request = _request("/api/events/tests_passing", EVENT, token)
    bridge_port = urlparse(bridge.url).port
    assert bridge_port is not None
    try:
        eventually(lambda: _open(port), what="the echo")
        ratios = []
        for _ in range(ROUNDS):
            bare = rate("127.0.0.1", port, request, connections=CONNECTIONS, seconds=SECONDS)
            ours = rate("127.0.0.1", bridge_port, request, connections=CONNECTIONS, seconds=SECONDS)
            ratios.append(ours / bare)
            print(f"  echo {bare:8.0f}/s   publish {ours:8.0f}/s   ratio {ours / bare:.3f}")
    finally:
        echo.terminate()
        echo.wait()
    print(f"publish / bare echo:            {statistics.median(ratios):.3f}   (wanted: >= 0.25)")


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


@contextmanager
def _bridge(folder: Path) -> Iterator[tuple[str, BridgeProcess]]:
    folder.mkdir()
    server = NatsServer(folder).start()
    bridge = BridgeProcess(folder / "bridge", server.url).start()
    try:
        yield server.url, bridge
    finally:
        bridge.stop()
        server.stop()


def main() -> None:
    """Run every benchmark on nats-servers and bridges of their own."""
    with tempfile.TemporaryDirectory() as name:
        with _bridge(Path(name, "a")) as (_, few), _bridge(Path(name, "b")) as (_, many):
            pinned_against_backlog(few, many)
        with _bridge(Path(name, "c")) as (nats_url, bridge):
            wait_against_raw(nats_url, bridge)
            publish_against_echo(bridge)


if __name__ == "__main__":
    main()
