"""One request and its answer on raw ASGI, for the endpoints that must be fast."""

import asyncio
import time
from collections.abc import Sequence
from random import Random
from typing import Any

import orjson
from starlette.types import Message, Receive, Scope, Send

from bridge.errors import BridgeError, EventTooLarge
from bridge.tokens import Principal

REQUEST_ID_LIMIT = 128
MAX_DISCARDED_BYTES = 33_554_432
"""How much of a body that is too large is read all the same, so that its sender gets the answer."""

RawHeaders = Sequence[tuple[bytes, bytes]]

_JSON = (b"content-type", b"application/json")
_NO_STORE = (b"cache-control", b"no-store")
_CLOSE = (b"connection", b"close")
_REFERENCE = "publish a reference to large data (a path, a URL) instead of the data"

CUT = "bridge.cut"
"""Where the server notes in a request's state that its connection was cut."""


class ClientGone(Exception):
    """The client closed its connection before it had the answer."""


class Exchange:
    """A request with its identity, and the one way to answer it.

    `started` is on the clock of `time.perf_counter`; `route` names the endpoint in metrics.
    """

    __slots__ = (
        "_headers",
        "_receive",
        "_send",
        "closing",
        "error",
        "extra_headers",
        "failed",
        "method",
        "path",
        "principal",
        "request_id",
        "route",
        "scope",
        "started",
        "status",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self._headers = dict(reversed(scope["headers"]))  # of several with one name, the first
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self._receive = receive
        self._send = send
        self.request_id = _request_id(self.header(b"x-request-id"))
        self.started = time.perf_counter()
        self.route = "other"
        self.status = 0
        self.closing = False
        self.error: BridgeError | None = None
        self.failed = False
        self.principal: Principal | None = None
        self.extra_headers: list[tuple[bytes, bytes]] = []

    def header(self, name: bytes) -> str | None:
        """Give a request header by its lower-case name."""
        value = self._headers.get(name)
        return None if value is None else str(value, "latin-1")

    def text_header(self, name: bytes) -> str | None:
        """Give a header that holds a text of its sender's, by its lower-case name.

        Clients write UTF-8 in it, although HTTP knows nothing but bytes here (RFC 9110 section
        5.5); what is none is read as Latin-1.
        """
        value = self._headers.get(name)
        if value is None:
            return None
        try:
            return str(value, "utf-8")
        except UnicodeDecodeError:
            return str(value, "latin-1")

    async def body(self, limit: int, remedy: str = _REFERENCE) -> bytes:
        """Read the whole body, at most `limit` bytes. Raises EventTooLarge or ClientGone.

        `remedy` says what to do about a larger one.
        """
        declared = self.header(b"content-length")
        if declared is not None and declared.isdigit() and int(declared) > limit:
            await self._discard(int(declared))
            raise _too_large(limit, remedy)
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > limit:
                if message.get("more_body"):
                    await self._discard(size)
                raise _too_large(limit, remedy)
            if not message.get("more_body"):
                return chunk if not chunks else b"".join((*chunks, chunk))
            chunks.append(chunk)

    async def _discard(self, size: int) -> None:
        """Read past a body that is refused; `size` is what is known of it in bytes.

        A connection that is closed while its client still writes is reset, and many clients then
        show that instead of the answer (RFC 9112 section 9.6). One that waits for `100 Continue`
        has not begun to write.
        """
        while size <= MAX_DISCARDED_BYTES and self.header(b"expect") is None:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            if not message.get("more_body"):
                return
            if self.header(b"content-length") is None:
                size += len(message.get("body", b""))
        self.closing = True

    async def disconnected(self) -> None:
        """Return when the client closes its connection; the body must have been read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    @property
    def was_cut(self) -> bool:
        """Whether the connection ended before its client can have read what was written."""
        return bool(self.scope.get("state", {}).get(CUT))

    async def skip_body(self) -> None:
        """Read past the body of a request that should have none."""
        await self.body(65_536)

    def own_headers(self) -> list[tuple[bytes, bytes]]:
        """Give the headers that every answer of the bridge has."""
        headers = [
            (b"x-request-id", self.request_id.encode("latin-1")),
            _NO_STORE,
            *self.extra_headers,
        ]
        if self.closing:
            headers.append(_CLOSE)
        return headers

    def elapsed(self) -> float:
        """Give the seconds since the request came in."""
        return time.perf_counter() - self.started

    async def answer(self, status: int, content: Any, headers: RawHeaders = ()) -> None:
        """Send a JSON answer."""
        await self._write(status, content, (_JSON, *headers), more=False)

    async def begin(self, status: int, content: Any, headers: RawHeaders = (_JSON,)) -> None:
        """Write the whole answer and leave it open, so that a closed connection still shows.

        `headers` name its type.
        """
        await self._write(status, content, headers, more=True)
        # The server holds back this second piece until the first has left its buffer.
        await self._send({"type": "http.response.body", "body": b"", "more_body": True})

    async def open(self, status: int, headers: RawHeaders) -> None:
        """Begin an answer of which nobody knows how long it will be."""
        self.status = status
        all_headers = [*self.own_headers(), *headers]
        await self._send({"type": "http.response.start", "status": status, "headers": all_headers})

    async def write(self, chunk: bytes) -> None:
        """Write on; returns once the server's buffer has room again."""
        await self._send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def finish(self) -> None:
        """End the answer that `begin` wrote."""
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _write(self, status: int, content: Any, headers: RawHeaders, *, more: bool) -> None:
        body = orjson.dumps(content)  # may fail, and then nothing has been said yet
        length = (b"content-length", b"%d" % len(body))
        self.status = status
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [length, *self.own_headers(), *headers],
            }
        )
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def pass_on(self, app: Any) -> None:
        """Let another ASGI application answer, with the bridge's headers.

        If it sets `error` or fails, what it sends then is dropped: the caller tells of the error.
        """

        async def send(message: Message) -> None:
            if self.error is not None or self.failed:
                return
            if message["type"] == "http.response.start":
                self.status = message["status"]
                message["headers"] = [*message.get("headers", []), *self.own_headers()]
            await self._send(message)

        self.scope["exchange"] = self
        await app(self.scope, self._receive, send)


async def settled() -> None:
    """Let the event loop look at its sockets, so that a connection closed by now is known to be."""
    for _ in range(3):
        await asyncio.sleep(0)


_random = Random()  # noqa: S311 - an ID is no secret; seeded by the operating system


def _request_id(given: str | None) -> str:
    if given and len(given) <= REQUEST_ID_LIMIT and given.isprintable() and given.isascii():
        return given
    return f"{_random.getrandbits(128):032x}"


def _too_large(limit: int, remedy: str) -> EventTooLarge:
    return EventTooLarge(
        f"the body is larger than the {limit} bytes that this bridge accepts; {remedy}",
        limit_bytes=limit,
    )
