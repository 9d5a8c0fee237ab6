"""Print what 2,000 streams on one bridge cost: memory, and the time until the last has an event.

Run as `python -m tests.benchmarks.streams`; wanted are at most 25 KB each, and at most twice the
time of as many `since` waits.
"""

import asyncio
import resource
import statistics
import tempfile
import time
from pathlib import Path
from urllib.parse import urlparse

import uvloop

from tests.support import BridgeProcess, NatsServer
from tests.support.agents import Agent, make_token

READERS = 2000
SAMPLES = 5
PROJECT = "bench-streams"

Pipe = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _open(bridge: BridgeProcess) -> list[Pipe]:
    port = urlparse(bridge.url).port
    return [await asyncio.open_connection("127.0.0.1", port) for _ in range(READERS)]


def _request(path: str) -> bytes:
    token = make_token("reader", project_id=PROJECT)
    return f"GET {path} HTTP/1.1\r\nhost: b\r\nauthorization: Bearer {token}\r\n\r\n".encode()


async def _event(pipe: Pipe) -> None:
    await pipe[0].readuntil(b'"bench_task"')


def _memory(bridge: BridgeProcess) -> int:
    pages = int(Path(f"/proc/{bridge.pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


async def _measure(bridge: BridgeProcess, path: str, *, again: bool) -> tuple[float, float]:
    """Milliseconds until the last of all readers has an event, and bytes of the bridge for each."""
    request = _request(path)
    publisher = Agent(bridge.url, "publisher", PROJECT)
    before = _memory(bridge)
    pipes = await _open(bridge)
    took = []
    for sample in range(SAMPLES):
        if again or sample == 0:
            for _, writer in pipes:
                writer.write(request)
        await asyncio.sleep(READERS / 500)  # until they wait
        each = (_memory(bridge) - before) / READERS
        reading = [asyncio.create_task(_event(pipe)) for pipe in pipes]
        started = time.perf_counter()
        await asyncio.to_thread(publisher.publish, "bench_task")
        await asyncio.gather(*reading)
        took.append((time.perf_counter() - started) * 1000)
    for _, writer in pipes:
        writer.close()
    return statistics.median(took), each


def main() -> None:
    """Measure both on bridges of their own, beside each other."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory() as name:
        Path(name, "nats").mkdir()
        nats = NatsServer(Path(name, "nats")).start()
        found = {}
        for kind, path, again in (
            ("since wait", "/api/events/wait/bench_task?since=now&timeout=60000", True),
            ("stream", "/api/events/stream/bench_task", False),
        ):
            bridge = BridgeProcess(Path(name, kind.split()[0]), nats.url).start()
            found[kind] = uvloop.run(_measure(bridge, path, again=again))
            bridge.stop()
        nats.stop()
    for kind, (took, each) in found.items():
        print(f"  {READERS} {kind}s   last after {took:8.1f} ms   {each / 1024:6.1f} KB each")
    ratio = found["stream"][0] / found["since wait"][0]
    print(f"stream / since wait, the last:  {ratio:.2f}    (wanted: <= 2)")
    print(f"memory of a stream:             {found['stream'][1] / 1024:.1f} KB (wanted: <= 25 KB)")


if __name__ == "__main__":
    main()
