"""The HTTP server: uvicorn, with a drain that begins at the signal.

uvicorn by itself closes its listener at SIGTERM and then waits for open requests, which long polls
would make it do for minutes. Here the first signal ends every wait and turns readiness off while
the listener stays open a little longer; a second signal exits now.
"""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import orjson
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bridge.errors import RequestInvalid, StartError
from bridge.http.exchange import CUT
from bridge.http.problem import tell
from bridge.http.sockets import was_refused

log = logging.getLogger("bridge.http")

KEEP_ALIVE_SECONDS = 75
BACKLOG = 2048
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Protocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1, which also says how a connection ended and refuses in JSON."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Note a connection that ended in a reset, before its answer, or with some of it unsent."""
        cycle = self.cycle
        if cycle is not None and (
            exc is not None or self.flow.write_paused or not cycle.response_started
        ):
            cycle.scope.setdefault("state", {})[CUT] = True
        super().connection_lost(exc)

    def eof_received(self) -> None:
        """Note a client that closed before it had taken its answer."""
        if self.cycle is not None and was_refused(self.transport.get_extra_info("socket")):
            self.cycle.scope.setdefault("state", {})[CUT] = True
        super().eof_received()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP in the form of every other error, and close."""
        error = RequestInvalid(
            f"{msg} Percent-encode what a URL cannot hold, spaces and non-ASCII letters among it "
            "(curl does with -G --data-urlencode), and keep it shorter than 64 KiB."
        )
        request_id = os.urandom(16).hex()
        status, content, headers = tell(error, request_id)
        body = orjson.dumps(content)
        lines = [
            b"HTTP/1.1 %d Bad Request" % status,
            b"content-type: application/json",
            b"content-length: %d" % len(body),
            b"cache-control: no-store",
            b"x-request-id: " + request_id.encode(),
            b"connection: close",
            *(name + b": " + value for name, value in headers),
        ]
        self.transport.write(b"\r\n".join((*lines, b"", body)))
        self.transport.close()


class Server(uvicorn.Server):
    """uvicorn that calls `on_drain` at the first signal and stops `drain_seconds` later."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        on_drain: Callable[[], None],
        drain_seconds: float,
        shutdown_timeout: int,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=Protocol,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=shutdown_timeout,
            )
        )
        self._on_drain = on_drain
        self._drain_seconds = drain_seconds
        self._draining = False

    def drain(self) -> None:
        """Begin to stop: end the waits, and the listener after a while."""
        if not self._draining:
            self._draining = True
            log.info("shutting down: waits end now, the listener in %g s", self._drain_seconds)
            self._on_drain()
            asyncio.get_running_loop().call_later(self._drain_seconds, self._stop)

    def _stop(self) -> None:
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals without raising them again afterwards: a drained bridge exits with 0."""
        loop = asyncio.get_running_loop()

        def handle(number: int, _: FrameType | None) -> None:
            if self._draining:
                os._exit(128 + number)
            loop.call_soon_threadsafe(self.drain)

        before = {number: signal.signal(number, handle) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def bind(host: str, port: int) -> socket.socket:
    """Listen on an address; port 0 takes a free one. Raises StartError."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        reason = error.strerror or str(error)
        raise StartError(
            f"cannot listen on {host}:{port}: {reason}; choose another with --host and --port"
        ) from error
    return listener
