"""Messages: what NATS carries, as events and back."""

import base64
from collections.abc import Callable
from types import NoneType
from typing import Any, Protocol

import orjson
from nats.aio.msg import Msg
from nats.errors import NotJSMessageError

from bridge import subjects
from bridge.cursors import write_cursor
from bridge.events import MAX_TTL_SECONDS, Event, correlation_ids, rfc3339

TTL_HEADER = "Nats-TTL"
ALIAS_HEADER = "Bridge-Alias"
"""Marks the second copy of an event, stored under its second correlation ID."""

ID_HEADER = "Nats-Msg-Id"
FOREIGN_PUBLISHER = "nats"
SURELY_FLAT = 100
"""With so few brackets, JSON is not nested deeper than orjson writes; it reads more than that."""

ACK = b"+ACK"
NAK = b"-NAK"
IN_PROGRESS = b"+WPI"

_ENVELOPE: dict[str, type | tuple[type, ...]] = {
    "event_id": str,
    "publisher": str,
    "agent_id": (str, NoneType),
    "agent_type": (str, NoneType),
    "data": dict,
    "correlation_id": (str, NoneType),
    "priority": str,
    "timestamp": str,
    "ttl_seconds": int,
}


class Post(Protocol):
    """Publishes without waiting for anything; `keep` says whether an outage only delays it."""

    async def __call__(self, subject: str, payload: bytes, *, keep: bool = True) -> None:
        """Publish to a subject."""


class Message:
    """One delivery of a stored message to a consumer.

    `stored_at` is the server's time in Unix seconds, `pending` how many more the consumer has;
    `on_ack` is called with the sequence when the message is acknowledged.
    """

    __slots__ = (
        "_post",
        "_reply",
        "consumer",
        "consumer_sequence",
        "data",
        "delivered",
        "headers",
        "on_ack",
        "pending",
        "sequence",
        "stored_at",
        "subject",
    )

    def __init__(self, msg: Msg, post: Post) -> None:
        # $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<ns>.<pending>, or
        # with domain and account hash before the stream and perhaps a token at the end (ADR-15).
        tokens = msg.reply.split(".")
        fields = tokens[3:9] if len(tokens) == 9 else tokens[5:11]
        if len(fields) != 6 or not msg.reply.startswith("$JS.ACK."):
            raise NotJSMessageError
        self.subject = msg.subject
        self.data = msg.data
        self.headers: dict[str, str] = msg.headers or {}
        self.consumer = fields[0]
        self.delivered, self.sequence, self.consumer_sequence = map(int, fields[1:4])
        self.stored_at = int(fields[4]) / 1e9
        self.pending = int(fields[5])
        self.on_ack: Callable[[int], None] | None = None
        self._reply = msg.reply
        self._post = post

    async def ack(self) -> None:
        """Say that this message is done with."""
        await self._post(self._reply, ACK)
        if self.on_ack is not None:
            self.on_ack(self.sequence)

    async def nak(self) -> None:
        """Give this message back: it is delivered again at once to whoever pulls."""
        await self._post(self._reply, NAK)

    async def in_progress(self) -> None:
        """Ask for another `ack_wait` before this message counts as unanswered."""
        await self._post(self._reply, IN_PROGRESS, keep=False)

    @property
    def alias(self) -> str | None:
        """The second correlation ID of an event that this message is the second copy of."""
        return self.address.correlation if ALIAS_HEADER in self.headers else None

    @property
    def address(self) -> subjects.Address:
        """What the subject says."""
        return subjects.parse_subject(self.subject)

    def event(self, epoch: int) -> Event:
        """Read the event in this message, whoever published it."""
        return read_event(
            self.subject,
            self.data,
            self.headers,
            sequence=self.sequence,
            stored_at=self.stored_at,
            epoch=epoch,
            delivered=self.delivered,
        )


def envelope(event: Event) -> bytes:
    """Serialise an event for the stream: what is public and not a matter of its place there."""
    content = event.as_json()
    del content["cursor"], content["delivery_count"]
    return orjson.dumps(content)


def read_event(
    subject: str,
    payload: bytes,
    headers: dict[str, str],
    *,
    sequence: int,
    stored_at: float,
    epoch: int,
    delivered: int = 1,
) -> Event:
    """Read a stored message as an event.

    Project, topic, type and correlation come from the subject, which is what the server filters
    by; a payload that is not an envelope is wrapped, so that a message which some other NATS
    client published is delivered like any other.
    """
    address = subjects.parse_subject(subject)
    content = _decode(payload)
    enveloped = _is_envelope(content, address)
    if not enveloped:
        content = _wrap(content, payload, headers, sequence, stored_at)
    return Event(
        event_id=content["event_id"],
        event_type=address.event_type,
        publisher=content["publisher"],
        agent_id=content["agent_id"],
        agent_type=content["agent_type"],
        project=address.project,
        topic=address.topic,
        data=content["data"],
        correlation_id=content["correlation_id"] or (None if enveloped else address.correlation),
        priority=content["priority"],
        timestamp=content["timestamp"],
        ttl_seconds=content["ttl_seconds"],
        sequence=sequence,
        cursor=write_cursor(epoch, sequence),
        delivery_count=delivered,
        correlation_ids=_correlation_ids(content) if enveloped else _own(address.correlation),
    )


def _correlation_ids(content: dict[str, Any]) -> tuple[str, ...]:
    return correlation_ids(content["correlation_id"], content["data"])


def _own(correlation: str | None) -> tuple[str, ...]:
    return () if correlation is None else (correlation,)


def _decode(payload: bytes) -> Any:
    try:
        content = orjson.loads(payload)
        if payload.count(b"[") + payload.count(b"{") > SURELY_FLAT:
            orjson.dumps([[[[content]]]])  # as deep as it is in an answer
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return None
    return content


def _is_envelope(content: Any, address: subjects.Address) -> bool:
    return (
        isinstance(content, dict)
        and content.get("event_type") == address.event_type
        and all(isinstance(content.get(name), kind) for name, kind in _ENVELOPE.items())
    )


def _wrap(
    content: Any, payload: bytes, headers: dict[str, str], sequence: int, stored_at: float
) -> dict[str, Any]:
    """Make an envelope around what a foreign client wrote: JSON as it is, else Base64."""
    if isinstance(content, dict):
        data = content
    elif content is not None or payload == b"null":
        data = {"value": content}
    else:
        data = {"base64": base64.b64encode(payload).decode("ascii")}
    return {
        "event_id": headers.get(ID_HEADER) or f"nats-{sequence}",
        "publisher": FOREIGN_PUBLISHER,
        "agent_id": None,
        "agent_type": None,
        "data": data,
        "correlation_id": None,
        "priority": "normal",
        "timestamp": rfc3339(stored_at),
        "ttl_seconds": _ttl(headers),
    }


def _ttl(headers: dict[str, str]) -> int:
    text = headers.get(TTL_HEADER, "").removesuffix("s")
    return int(text) if text.isdigit() else MAX_TTL_SECONDS
