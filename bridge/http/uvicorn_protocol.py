"""One connection: what a client may do on it, how long it may take, and how it ended.

Written for uvicorn 0.34 to 0.54 (`pyproject.toml` bounds it): its HTTP/1.1 protocol gives a client
for ever to send a request and to take an answer, does not tell an application how a connection
ended, refuses in plain text, and writes an answer in two pieces, with a system call for each.
"""

import asyncio
import fcntl
import os
import socket
import struct
import sys
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

import orjson
from starlette.types import Message
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from bridge.errors import BridgeError, RequestInvalid, RequestTimeout
from bridge.http.exchange import CUT
from bridge.http.problem import tell

_START = "http.response.start"
_TIOCOUTQ = 0x5411
_TCP_CLOSE = b"\x07"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a client may take, in seconds: for a request's headers, its body, an answer."""

    headers: float = 15.0
    body: float = 60.0
    answer: float = 60.0


class _Awaited(Enum):
    """What the client has to send next; nothing while its request is answered."""

    NOTHING = 0
    HEADERS = 1
    BODY = 2


class _Cycle(RequestResponseCycle):
    """A request and its answer, which is written with its headers as soon as there is a body.

    The ASGI specification has a server hold back the headers until then.
    """

    _start: Message | None = None

    async def send(self, message: Any) -> None:
        """Take the next message of the answer."""
        start, self._start = self._start, None
        if start is None and not self.response_started and message["type"] == _START:
            self._start = message
        elif start is None:
            await super().send(message)
        elif not self._send_both(start, message):
            await super().send(start)  # type: ignore[arg-type]  # narrower there
            await super().send(message)

    def _send_both(self, start: Message, message: Message) -> bool:
        """Write headers and body as one; False, with nothing written, if there is more to it."""
        headers = [*self.default_headers, *start["headers"]]
        named = dict(headers)
        body, more = message.get("body", b""), message.get("more_body", False)
        left = int(named.get(b"content-length", -1)) - len(body)
        special = not self.keep_alive or b"connection" in named or b"transfer-encoding" in named
        if special or left < 0 or (left and not more) or self.scope["method"] == "HEAD":
            return False
        if self.flow.write_paused or self.disconnected:
            return False
        head = b"".join([b"%b: %b\r\n" % header for header in headers])
        if not head.count(b"\r") == head.count(b"\n") == len(headers):
            return False  # uvicorn refuses what would smuggle in a header
        self.response_started = True
        self.waiting_for_100_continue = self.chunked_encoding = False
        self.expected_content_length = left
        self.transport.write(b"".join((STATUS_LINE[start["status"]], head, b"\r\n", body)))
        if not more:
            self.response_complete = True
            self.message_event.set()
            self.on_response()
        return True


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 with limits of time, which notes how a connection ended."""

    def __init__(self, patience: Patience, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._patience = patience
        self._awaited = _Awaited.NOTHING
        self._timed = _Awaited.NOTHING
        self._begun = False
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)  # type: ignore[arg-type]  # narrower there
        self._awaited = _Awaited.HEADERS
        self._time_reading()

    def data_received(self, data: bytes) -> None:
        """Read on, and allow time for what is still missing of a request."""
        super().data_received(data)
        answered = self.cycle is None or self.cycle.response_complete
        if self._awaited is _Awaited.NOTHING and answered:
            self._awaited = _Awaited.HEADERS  # empty lines: they have ended the keep-alive timer
        if self._awaited is not self._timed:
            self._time_reading()

    def on_message_begin(self) -> None:
        """Note the first byte of a request."""
        super().on_message_begin()
        self._begun = True
        self._awaited = _Awaited.HEADERS

    def on_headers_complete(self) -> None:
        """Note the end of a request's headers."""
        self._awaited = _Awaited.BODY
        super().on_headers_complete()
        if self.cycle is not None:  # uvicorn makes it of its own class, and has not run it yet
            self.cycle.__class__ = _Cycle

    def on_message_complete(self) -> None:
        """Note the end of a request."""
        self._begun = False
        self._awaited = _Awaited.NOTHING
        super().on_message_complete()

    def _time_reading(self) -> None:
        """Set the timer for what the client has to send."""
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
        self._timed = self._awaited
        if self._awaited is not _Awaited.NOTHING and not self.transport.is_closing():
            in_headers = self._awaited is _Awaited.HEADERS
            seconds = self._patience.headers if in_headers else self._patience.body
            self._reading = self.loop.call_later(seconds, self._too_slow, seconds)

    def _too_slow(self, seconds: float) -> None:
        """End a connection whose client did not send what it had to."""
        answering = self.cycle is not None and not self.cycle.response_complete
        in_headers = self._awaited is _Awaited.HEADERS
        if self.flow.read_paused or (in_headers and answering):
            self._time_reading()  # it may have sent it, behind what is not answered yet
            return
        if self._begun and (in_headers or not self.cycle.response_started):
            what = "headers" if in_headers else "body"
            self._refuse(
                RequestTimeout(
                    f"the request's {what} did not come within {seconds:g} s; send the request "
                    "whole, and over a new connection",
                    timeout_seconds=seconds,
                )
            )
        else:
            self.transport.close()

    def pause_writing(self) -> None:
        """Allow time for a client to take what fills the connection's buffer."""
        super().pause_writing()
        if self._writing is None:
            self._writing = self.loop.call_later(self._patience.answer, self.transport.abort)

    def resume_writing(self) -> None:
        """Note that the client has taken nearly everything."""
        super().resume_writing()
        self._end_writing_timer()

    def _end_writing_timer(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection; one whose client has not taken the last answer would stay."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        super().timeout_keep_alive_handler()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note a connection that ended in a reset, before its answer, or with some of it unsent."""
        self._awaited = _Awaited.NOTHING
        if self._reading is not None:
            self._reading.cancel()
        self._end_writing_timer()
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
        self._refuse(
            RequestInvalid(
                f"{msg} Percent-encode what a URL cannot hold, spaces and non-ASCII letters among "
                "it (curl does with -G --data-urlencode), and keep it shorter than 64 KiB."
            )
        )

    def _refuse(self, error: BridgeError) -> None:
        """Answer with an error where no application can, and close."""
        request_id = os.urandom(16).hex()
        status, content, headers = tell(error, request_id)
        body = orjson.dumps(content)
        lines = [
            STATUS_LINE[status].rstrip(),
            b"content-type: application/json",
            b"content-length: %d" % len(body),
            b"cache-control: no-store",
            b"x-request-id: " + request_id.encode(),
            b"connection: close",
            *(name + b": " + value for name, value in headers),
        ]
        self.transport.write(b"\r\n".join((*lines, b"", body)))
        self.transport.close()


class _HasOptions(Protocol):
    """What is needed of a socket, which event loops show only in part."""

    def fileno(self) -> int:
        """Give its file descriptor."""

    def getsockopt(self, level: int, option: int, size: int = 0, /) -> int | bytes:
        """Read an option."""


def was_refused(connection: _HasOptions) -> bool:
    """Tell, when the other end has closed, whether it did so before taking all that was written.

    A program that reads its answer and closes has acknowledged every byte, and its end is an
    orderly one. One that had gone leaves bytes unacknowledged or answers them with a reset, which
    an event loop may report as an ordinary end of file all the same. Linux tells of both.
    """
    if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        return True
    if not sys.platform.startswith("linux"):
        return False
    state = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    unacknowledged = fcntl.ioctl(connection.fileno(), _TIOCOUTQ, struct.pack("i", 0))
    return state == _TCP_CLOSE or any(unacknowledged)
