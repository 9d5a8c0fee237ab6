"""Print how long `/livez` takes at most while another client asks for the worst it can.

Run as `python -m tests.benchmarks.blocking`; wanted is less than 50 ms on a machine that has a core
for the bridge.
"""

import tempfile
import threading
import time
from pathlib import Path
from typing import Self

import httpx

from tests.support import BridgeProcess, NatsServer
from tests.support.agents import Agent

SIZE = 8 * 1024 * 1024
EVENT = 510_000


def _array(event: bytes) -> bytes:
    return b"[" + b",".join([event] * min(1000, SIZE // (len(event) + 1))) + b"]"


def _event(inside: bytes, size: int = EVENT) -> bytes:
    return b'{"event_type":"worst","data":{"x":[' + inside * (size // len(inside)) + b"0]}}"


BODIES = {
    "millions of objects": b"[" + b"{}," * (SIZE // 3 - 1) + b"{}]",
    "millions of pairs": b"[" + b"[[]]," * (SIZE // 5 - 1) + b"[]]",
    "long numbers": b"[" + b"1234567890123456789," * (SIZE // 20 - 1) + b"1]",
    "sixteen of objects": _array(_event(b"{},")),
    "sixteen of texts": _array(_event(b'"a",')),
    "sixteen of long numbers": _array(_event(b"1234567890123456789,")),
    "a thousand of text": _array(b'{"event_type":"worst","data":{"t":"' + b"x" * 8000 + b'"}}'),
    "a thousand unknown fields": _array(
        b'{"event_type":"worst",' + b",".join(b'"f%d":1' % n for n in range(600)) + b"}"
    ),
}
FILTER = ",".join(f"!t:*never{number}*x*" for number in range(60))
QUERIES = {
    "the whole history": {"limit": "1000"},
    "a filter that passes none": {"limit": "1000", "filter": f"nothing:1,{FILTER}"},
}


class Probe:
    """Asks `/livez` all the time, in a thread of its own."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/livez"
        self._begun, self._ends = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.longest = 0.0

    def _ask(self) -> None:
        with httpx.Client() as client:
            client.get(self._url)
            self._begun.set()
            while not self._ends.is_set():
                began = time.perf_counter()
                client.get(self._url)
                self.longest = max(self.longest, time.perf_counter() - began)

    def __enter__(self) -> Self:
        self._thread.start()
        self._begun.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()


def measure(bridge: BridgeProcess, agent: Agent, name: str, method: str, **request: object) -> None:
    """Ask once, and print the longest that the other client had to wait."""
    began = time.perf_counter()
    with Probe(bridge.url) as probe:
        answer = agent.http.request(method, "/events", timeout=120, **request)  # type: ignore[arg-type]
    took = time.perf_counter() - began
    longest = probe.longest * 1000
    print(f"{name:28} {answer.status_code}   {took:6.2f} s   longest {longest:6.1f} ms")


def main() -> None:
    """Measure on a nats-server and a bridge of its own, which do nothing else."""
    with tempfile.TemporaryDirectory() as name:
        server = NatsServer(Path(name)).start()
        bridge = BridgeProcess(Path(name, "bridge"), server.url).start()
        try:
            with Agent(bridge.url, "bench", "bench-blocking") as agent:
                for told, body in BODIES.items():
                    measure(bridge, agent, told, "POST", content=body)
                for told, query in QUERIES.items():
                    measure(bridge, agent, told, "GET", params=query)
        finally:
            bridge.stop()
            server.end()


if __name__ == "__main__":
    main()
