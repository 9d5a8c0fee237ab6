"""One address in front of several bridges: a TCP proxy that takes whichever still listens."""

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self

from tests.support.bridges import BridgeProcess

_CHUNK = 65_536


class Proxy:
    """Gives each new connection to the next backend that accepts it.

    `backends` may be changed at any time; with none that accepts, connections are closed at once.
    """

    def __init__(self, *backends: BridgeProcess) -> None:
        self.backends = list(backends)
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/api"

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
                onward = threading.Thread(target=_pump, args=(client, backend), daemon=True)
                onward.start()
                _pump(backend, client)
                onward.join()
                with self._lock:
                    self._open -= {client, backend}

    def _next(self) -> socket.socket | None:
        for _ in range(len(self.backends)):
            self.backends.append(self.backends.pop(0))
            host, port = self.backends[-1].url.removeprefix("http://").split(":")
            with contextlib.suppress(OSError):
                backend = socket.create_connection((host, int(port)), timeout=2)
                backend.settimeout(None)
                return backend
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Pass on what comes, and then that no more will; what breaks ends both directions."""
    try:
        while chunk := source.recv(_CHUNK):
            sink.sendall(chunk)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
