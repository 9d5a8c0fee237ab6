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
from functools import partial
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from bridge.errors import StartError
from bridge.http.uvicorn_protocol import HttpProtocol, Patience

log = logging.getLogger("bridge.http")

KEEP_ALIVE_SECONDS = 75
BACKLOG = 2048
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Server(uvicorn.Server):
    """uvicorn that calls `on_drain` at the first signal and stops `drain_seconds` later."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        on_drain: Callable[[], None],
        drain_seconds: float,
        shutdown_timeout: int,
        patience: Patience,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=partial(HttpProtocol, patience),  # type: ignore[arg-type]  # it is only called
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


def bind(host: str, port: int, chosen: str = "--host and --port") -> socket.socket:
    """Listen on an address; port 0 takes a free one.

    `chosen` says how another one is chosen. Raises StartError.
    """
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
            f"cannot listen on {host}:{port}: {reason}; choose another with {chosen}"
        ) from error
    return listener
