"""nats-py's client, but for what a bridge needs otherwise.

Written for nats-py 2.16 (`pyproject.toml` bounds it): it stops reading at subjects and headers that
are not text, tells of a forbidden subject in lower case, and takes every message through a queue
and a task of its subscription, which costs the bridge's own a tenth of a publish.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.protocol.parser import ERR_RE, PERMISSIONS_ERR

log = logging.getLogger("bridge.nats")

ID_HEADER = "Nats-Msg-Id"
NO_RESPONDERS = "503"
"""The status of a request that nobody is there for."""

_MESSAGE_ID = ID_HEADER.encode()

Take = Callable[[Msg], None]
"""Takes a message while it is read, and must not wait."""

Wants = Callable[[bytes], bool]
"""Tells by a message's reply subject whether it is to be taken."""


def header_block(headers: Mapping[str, str]) -> bytes:
    """Write headers as they are sent (NATS ADR-4); a value has no line break."""
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    return f"NATS/1.0\r\n{lines}\r\n".encode()


class NatsClient(Client):
    """One connection, which reads whatever is sent, and names forbidden subjects as they are."""

    def __init__(self) -> None:
        super().__init__()
        self._takes: dict[int, tuple[Wants, Take]] = {}

    @property
    def has_begun(self) -> bool:
        """Whether `connect` has come far enough for `close`, which fails otherwise."""
        return self._flush_queue is not None

    @property
    def server_id(self) -> str:
        """What the server calls itself, anew each time that it starts."""
        return str(self._server_info.get("server_id", ""))

    def take(self, subscription: Subscription, take: Take, wants: Wants = lambda _: True) -> None:
        """Give a subscription's messages to `take` instead, in order, those that it wants."""
        self._takes[subscription._id] = wants, take  # noqa: SLF001 - it has no other name

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        wants, take = self._takes.get(sid, (None, None))
        if wants is None or take is None or not wants(reply):
            await super()._process_msg(sid, subject, reply, data, headers)
            return
        read = await self._process_headers(headers) if headers else None
        try:
            take(self._build_message(sid, subject, reply, data, read))
        except Exception:
            # Nothing that is sent to an inbox may end the reading of everything else.
            log.exception("a message to %r cannot be read", subject)

    async def send(self, subject: str, payload: bytes, reply: str, headers: bytes) -> None:
        """Publish with headers as `header_block` writes them, or none.

        Raises ConnectionClosedError.
        """
        if self.is_closed or self.is_draining_pubs:
            raise nats.errors.ConnectionClosedError
        size = len(headers) + len(payload)
        if headers:
            head = f"HPUB {subject} {reply} {len(headers)} {size}\r\n".encode()
        else:
            head = f"PUB {subject} {reply} {size}\r\n".encode()
        await self._send_command(b"".join((head, headers, payload, b"\r\n")))
        if self._flush_queue is not None and self._flush_queue.empty():
            await self._flush_pending()

    @staticmethod
    def _parse_header_lines(raw: bytes) -> dict[str, str]:
        # Nearly every message has a message ID and nothing else, which takes no search.
        name, _, value = raw.partition(b": ")
        alone = value.endswith(b"\r\n\r\n") and value.find(b"\r\n") == len(value) - 4
        if alone and name == _MESSAGE_ID:
            return {ID_HEADER: value.strip().decode(errors="replace")}
        return dict(Client._parse_header_lines(raw))  # noqa: SLF001 - of this class's own base

    # To a server, subjects and headers are any bytes. An error here would end nats-py's reading,
    # and again on each new connection for as long as the message is retained.

    def _build_message(self, sid: int, subject: bytes, *rest: Any) -> Msg:
        if not subject.isascii():
            subject = subject.decode(errors="replace").encode()
        message: Msg = super()._build_message(sid, subject, *rest)
        return message

    async def _process_headers(self, headers: bytes) -> dict[str, str] | None:
        try:
            return await super()._process_headers(headers)
        except (ValueError, IndexError):
            return None

    async def _process_err(self, err_msg: str) -> None:
        # The parser gives the text in lower case, and still holds what it read.
        written = ERR_RE.match(self._ps.buf)
        if written is not None and PERMISSIONS_ERR in err_msg:
            await self._error_cb(nats.errors.Error(written[1].decode()))
        else:
            await super()._process_err(err_msg)
