"""A load generator: keep-alive connections that repeat one request, in a process of its own.

Run as `python -m tests.benchmarks.load URL-HOST PORT CONNECTIONS SECONDS`, the request on stdin;
it prints the answers per second.
"""

import asyncio
import subprocess
import sys
import time
from typing import cast

import uvloop

OK = (b"HTTP/1.1 200", b"HTTP/1.1 202")


class Connection(asyncio.Protocol):
    """Sends the request again whenever the answer is complete."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._buffer = b""
        self.answers = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(rest) < length:
            return
        assert head.startswith(OK), self._buffer[:500]
        self._buffer = b""
        self.answers += 1
        if self._transport is not None:
            self._transport.write(self._request)


async def generate(
    host: str, port: int, request: bytes, *, connections: int, seconds: float
) -> float:
    """Repeat the request on every connection for some seconds; answers per second."""
    loop = asyncio.get_running_loop()
    opened = [
        await loop.create_connection(lambda: Connection(request), host, port)
        for _ in range(connections)
    ]
    await asyncio.sleep(0.5)  # warm up; nothing is waited for
    before = sum(protocol.answers for _, protocol in opened)
    started = time.perf_counter()
    await asyncio.sleep(seconds)
    rate = (sum(p.answers for _, p in opened) - before) / (time.perf_counter() - started)
    for transport, _ in opened:
        transport.abort()
    return rate


def rate(host: str, port: int, request: bytes, *, connections: int, seconds: float) -> float:
    """Generate load from another process; answers per second."""
    arguments = [host, str(port), str(connections), str(seconds)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.load", *arguments],
        input=request,
        capture_output=True,
        check=True,
    )
    return float(done.stdout)


if __name__ == "__main__":
    where, number, many, long = sys.argv[1:]
    print(
        uvloop.run(
            generate(
                where,
                int(number),
                sys.stdin.buffer.read(),
                connections=int(many),
                seconds=float(long),
            )
        )
    )
