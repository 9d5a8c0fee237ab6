"""Messages: what NATS carries, as events and back, and how long each lives."""

import base64
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache
from math import inf
from types import UnionType
from typing import Any, Protocol, get_args, get_origin

import orjson
from nats.aio.msg import Msg
from nats.errors import NotJSMessageError

from bridge import subjects
from bridge.cursors import write_cursor
from bridge.events import (
    MAX_TTL_SECONDS,
    OF_DELIVERY,
    Event,
    correlation_ids,
    read_trace,
    rfc3339,
    told,
)
from bridge.jetstream.natspy import ID_HEADER

ALIAS_HEADER = "Bridge-Alias"
"""Marks the second copy of an event, stored under its second correlation ID."""

ONLY_HEADER = "Bridge-Only"
"""Marks a copy of an event that is for one subscription alone: a dead letter, once more."""

TRACE_HEADERS = ("traceparent", "tracestate")
TTL_HEADER = "Nats-TTL"
"""How long the message lives, which nats-server reads as `seconds` does (NATS ADR-43)."""

FOREIGN_PUBLISHER = "nats"
SURELY_FLAT = 100
"""With so few brackets, JSON is not nested deeper than orjson writes; it reads more than that."""

ACK = b"+ACK"
NAK = b"-NAK"
TERM = b"+TERM"
IN_PROGRESS = b"+WPI"

_FROM_SUBJECT = ("event_type", "topic")
_ENVELOPE: dict[str, type | tuple[type, ...]] = {
    name: get_args(kind) if isinstance(kind, UnionType) else get_origin(kind) or kind
    for name, (kind, _) in told(Event).items()
    if name not in (*_FROM_SUBJECT, *OF_DELIVERY)
}
"""What a payload has that is an event's own, each of this type."""

_UNITS: Mapping[str, Decimal] = {
    "ns": Decimal("1e-9"),
    **dict.fromkeys(("us", "\u00b5s", "\u03bcs"), Decimal("1e-6")),
    "ms": Decimal("1e-3"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
}
_PART = rf"([0-9]+\.?[0-9]*|\.[0-9]+)({'|'.join(_UNITS)})"
_PARTS = re.compile(_PART)
_DURATION = re.compile(rf"\+?(?:{_PART})+")


class Post(Protocol):
    """Publishes without waiting for anything; `keep` says whether an outage only delays it."""

    async def __call__(self, subject: str, payload: bytes, *, keep: bool = True) -> None:
        """Publish to a subject."""


RECORD_BYTES = 30
HEADER_BYTES = 16
"""Around a message in a stream's file: its record, and if it has headers their frame."""


class Message:
    """One delivery of a stored message to a consumer.

    `stored_at` is the server's time in Unix seconds, `pending` how many more the consumer has;
    `on_ack` is called with the sequence when the message is acknowledged.
    """

    __slots__ = (
        "_post",
        "consumer",
        "consumer_sequence",
        "data",
        "delivered",
        "headers",
        "on_ack",
        "pending",
        "reply",
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
        self.reply = msg.reply
        self._post = post

    async def ack(self) -> None:
        """Say that this message is done with."""
        await self._post(self.reply, ACK)
        if self.on_ack is not None:
            self.on_ack(self.sequence)

    async def nak(self) -> None:
        """Give this message back: it is delivered again at once to whoever pulls."""
        await self._post(self.reply, NAK)

    async def in_progress(self) -> None:
        """Ask for another `ack_wait` before this message counts as unanswered."""
        await self._post(self.reply, IN_PROGRESS, keep=False)

    @property
    def stored_bytes(self) -> int:
        """What the server counts for this message in a file, by its `fileStoreMsgSize`."""
        size = RECORD_BYTES + len(self.subject) + len(self.data)
        if self.headers:
            size += HEADER_BYTES + sum(len(k) + len(v) + 4 for k, v in self.headers.items())
        return size

    @property
    def alias(self) -> str | None:
        """The second correlation ID of an event that this message is the second copy of.

        Empty for a copy that is for one subscription alone: nobody is pinned to that.
        """
        if ONLY_HEADER in self.headers:
            return ""
        return self.address.correlation if ALIAS_HEADER in self.headers else None

    def is_for(self, subscription: str, pin: str | None) -> bool:
        """Tell whether a subscription that is pinned to a correlation ID is to be given this copy.

        See `Selection.is_for`.
        """
        only = self.headers.get(ONLY_HEADER)
        return only == subscription if only is not None else self.alias in (None, pin)

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
    for name in OF_DELIVERY:
        del content[name]
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
    trace = read_trace(*map(headers.get, TRACE_HEADERS))
    ids = _own(address.correlation)
    if enveloped:
        ids = correlation_ids(content["correlation_id"], content["data"])
    return Event(
        event_id=content["event_id"],
        event_type=address.event_type,
        publisher=content["publisher"],
        agent_id=content["agent_id"],
        agent_type=content["agent_type"],
        project=address.project,
        topic=address.topic,
        data=content["data"],
        correlation_id=ids[0] if ids else None,
        priority=content["priority"],
        timestamp=content["timestamp"],
        ttl_seconds=content["ttl_seconds"],
        sequence=sequence,
        cursor=write_cursor(epoch, sequence),
        delivery_count=delivered,
        correlation_ids=ids,
        traceparent=trace and trace.parent,
        tracestate=trace and trace.state,
        cloudevent=kept if isinstance(kept := content.get("cloudevent"), dict) else None,
    )


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
    own = ttl(headers)
    return {
        "event_id": headers.get(ID_HEADER) or f"nats-{sequence}",
        "publisher": FOREIGN_PUBLISHER,
        "agent_id": None,
        "agent_type": None,
        "data": data,
        "correlation_id": None,
        "priority": "normal",
        "timestamp": rfc3339(stored_at),
        "ttl_seconds": MAX_TTL_SECONDS if own in (None, inf) else own,
    }


def ttl(headers: Mapping[str, str]) -> float | None:
    """Give a message's TTL in whole seconds, infinity if it never goes, None if it has none."""
    return seconds(headers.get(TTL_HEADER, ""))


def life(headers: Mapping[str, str], max_age: float) -> float:
    """Give in how many seconds a message goes, in a stream of this age (0 for no limit).

    A TTL makes it shorter and not longer, but for `never`, which outlives the age as well.
    """
    own = ttl(headers)
    if own is None or (max_age and max_age < own < inf):
        return max_age or inf
    return own


@lru_cache(1024)
def seconds(text: str) -> float | None:
    """Read the header: whole seconds, a duration as Go writes it, or `never`.

    What is left of a second is cut off, as nats-server does.

    >>> seconds("90"), seconds("1m0s"), seconds("1.5s"), seconds("never"), seconds("")
    (90, 60, 1, inf, None)
    """
    if text.lower() == "never":
        return inf
    if text.isascii() and text.isdigit():
        return int(text)
    if not _DURATION.fullmatch(text):
        return None
    return int(sum(Decimal(count) * _UNITS[unit] for count, unit in _PARTS.findall(text)))
