"""One address in front of several servers: a TCP proxy that takes whichever still listens."""

import contextlib
import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import Protocol, Self
from urllib.parse import urlparse

_CHUNK = 65_536


class Backend(Protocol):
    """Whatever listens at a URL: a bridge, a nats-server."""

    @property
    def url(self) -> str: ...


class Proxy:
    """Gives each new connection to the next backend that accepts it.

    `backends` may be changed at any time; with none that accepts, connections are closed at once.
    """

    def __init__(self, *backends: Backend) -> None:
        self.backends = list(backends)
        self.connections = 0
        self._sent = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._muted: set[socket.socket] = set()
        self._halving = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def api(self) -> str:
        return f"http://{self.address}/api"

    def sent(self, text: str) -> bool:
        """Whether a client has sent this."""
        with self._lock:
            return text.encode() in self._sent

    def mute(self) -> None:
        """Pass on no more answers on the connections there are."""
        with self._lock:
            self._muted |= self._open

    def cut_answers(self, count: int) -> None:
        """Pass on half of each of the next so many answers, and then nothing."""
        with self._lock:
            self._halving += count

    def cut(self) -> None:
        """Reset every connection there is."""
        with self._lock:
            connections = list(self._open)
        for each in connections:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            backend = self._next()
            if backend is None:
                return
            with backend:
                with self._lock:
                    self.connections += 1
                    self._open |= {client, backend}
                onward = threading.Thread(
                    target=_pump, args=(client, backend, self._noted), daemon=True
                )
                onward.start()
                _pump(backend, client, partial(self._unless_muted, client))
                onward.join()
                with self._lock:
                    self._open -= {client, backend}
                    self._muted -= {client, backend}

    def _next(self) -> socket.socket | None:
        for _ in range(len(self.backends)):
            self.backends.append(self.backends.pop(0))
            where = urlparse(self.backends[-1].url)
            with contextlib.suppress(OSError):
                backend = socket.create_connection((where.hostname, where.port), timeout=2)
                backend.settimeout(None)
                return backend
        return None

    def _noted(self, chunk: bytes) -> bytes:
        with self._lock:
            self._sent += chunk
        return chunk

    def _unless_muted(self, client: socket.socket, chunk: bytes) -> bytes:
        with self._lock:
            halve = self._halving > 0
            self._halving -= halve
            if client in self._muted:
                return b""
        if halve:
            client.sendall(chunk[: len(chunk) // 2])
            raise ConnectionAbortedError
        return chunk

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _pump(source: socket.socket, sink: socket.socket, passed: Callable[[bytes], bytes]) -> None:
    """Pass on what comes, and then that no more will; what breaks ends both directions."""
    try:
        while chunk := source.recv(_CHUNK):
            sink.sendall(passed(chunk))
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
