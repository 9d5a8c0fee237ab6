"""Events: what agents exchange, as value types without behaviour of any transport."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    get_args,
    get_origin,
    get_type_hints,
)

# The value types here are not `frozen`: that makes each field cost a call when one is made, and
# one is made for each event that passes.

Priority = Literal["low", "normal", "high"]
PRIORITIES: tuple[str, ...] = get_args(Priority)
DELIVERY_FAILED = "delivery_failed"
"""The type of the event that tells of a dead letter."""

MAX_TTL_SECONDS = 86_400
MAX_CORRELATION_CHARACTERS = 256
MAX_ID_CHARACTERS = 128
MAX_CORRELATION_IDS = 8
"""More in one event would be stored as often, once under each."""


class Told(NamedTuple):
    """What readers are told of a field, and what limits its values, in JSON Schema's words."""

    description: str = ""
    limits: Mapping[str, Any] = {}


class Trace(NamedTuple):
    """A place in a trace: the headers `traceparent` and `tracestate` of W3C Trace Context."""

    parent: str
    state: str | None = None


_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)
MAX_TRACESTATE_CHARACTERS = 512


def read_trace(parent: str | None, state: str | None) -> Trace | None:
    """Read the headers of a trace; None for those that are none, which the standard passes over.

    >>> read_trace("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", None).state
    >>> read_trace("nonsense", "a=b")
    """
    if parent is None or not _TRACEPARENT.fullmatch(parent.strip()):
        return None
    usable = state if state and len(state) <= MAX_TRACESTATE_CHARACTERS else None
    return Trace(parent.strip(), usable)


@dataclass(slots=True)
class Event:
    """An event as it is read back from the stream; nothing changes it after it was made.

    The fields that are `Told` are what agents see, in the contract's order: lists of them are made
    of these. `timestamp` is RFC 3339 in UTC, and `ttl_seconds` counts from it. `agent_id` and
    `agent_type` were stamped from the publisher's token; they are None on a message that some
    other NATS client put on the stream. `sequence` is the event's place in the stream, and
    `correlation_ids` are all that it is found by; a client knows neither.
    """

    event_id: Annotated[str, Told()]
    event_type: Annotated[str, Told(limits={"examples": ["tests_passing"]})]
    publisher: Annotated[str, Told()]
    agent_id: Annotated[str | None, Told("From the publisher's token.")]
    agent_type: Annotated[str | None, Told("From the publisher's token.")]
    topic: Annotated[str, Told()]
    data: Annotated[dict[str, Any], Told()]
    correlation_id: Annotated[str | None, Told()]
    priority: Annotated[str, Told()]
    timestamp: Annotated[str, Told(limits={"examples": ["2026-01-31T12:00:00.000000Z"]})]
    ttl_seconds: Annotated[int, Told("Counted from `timestamp`.")]
    cursor: Annotated[
        str,
        Told(
            "Its place in the stream, good for `since`.",
            {"examples": ["c18d9f1a2b3c4d5e6-00000000002a"]},
        ),
    ]
    delivery_count: Annotated[int, Told("Above 1 when an earlier delivery was not completed.")] = 1
    project: str = ""
    sequence: int = 0
    correlation_ids: tuple[str, ...] = ()
    traceparent: str | None = None
    """The publisher's place in a trace, and `tracestate` (W3C Trace Context), where it sent one."""
    tracestate: str | None = None
    cloudevent: dict[str, Any] | None = None
    """What it has of a CloudEvent beside, where it was published as one."""

    def as_json(self) -> dict[str, Any]:
        """Give the event as agents see it: every public field, in the contract's order."""
        # Written out: made of the list of fields it takes three times as long, for each event of
        # each answer.
        told = {
            "event_id": self.event_id,
            "event_type": self.event_type,
            "publisher": self.publisher,
            "agent_id": self.agent_id,
            "agent_type": self.agent_type,
            "topic": self.topic,
            "data": self.data,
            "correlation_id": self.correlation_id,
            "priority": self.priority,
            "timestamp": self.timestamp,
            "ttl_seconds": self.ttl_seconds,
            "cursor": self.cursor,
            "delivery_count": self.delivery_count,
        }
        if self.traceparent is not None:
            told["traceparent"] = self.traceparent
            if self.tracestate is not None:
                told["tracestate"] = self.tracestate
        if self.cloudevent is not None:
            told["cloudevent"] = self.cloudevent
        return told


@dataclass(slots=True)
class NewEvent:
    """An event to publish, validated, before it is stamped with its publisher and its time.

    The fields that are `Told` are those of a request's body. None stands for what the publisher
    left to the bridge. `warnings` says what is odd about the request without being wrong.
    """

    event_type: Annotated[str, Told("If given it equals the path's.")]
    publisher: Annotated[
        str | None, Told("Default: the token's agent. Must be that or its type.")
    ] = None
    topic: Annotated[
        str | None,
        Told("Default: the catalogue's topic for a standard type, else coordination."),
    ] = None
    data: Annotated[
        dict[str, Any], Told(limits={"examples": [{"issue_id": "issue-123", "coverage": 91.5}]})
    ] = field(default_factory=dict)
    correlation_id: Annotated[
        str | None, Told(limits={"min_length": 1, "max_length": MAX_CORRELATION_CHARACTERS})
    ] = None
    ttl_seconds: Annotated[int, Told(limits={"ge": 1, "le": MAX_TTL_SECONDS})] = MAX_TTL_SECONDS
    priority: Annotated[Priority, Told()] = "normal"
    event_id: Annotated[
        str | None,
        Told("For idempotent retries.", {"min_length": 1, "max_length": MAX_ID_CHARACTERS}),
    ] = None
    warnings: tuple[str, ...] = ()
    trace: Trace | None = None
    cloudevent: dict[str, Any] | None = None

    @property
    def correlation_ids(self) -> tuple[str, ...]:
        """Every correlation ID, the one beside `data` first, then those inside it that differ."""
        return correlation_ids(self.correlation_id, self.data)


def told(kind: type[Event | NewEvent]) -> dict[str, tuple[Any, Told]]:
    """Give the fields of an event that agents see or send, each with its type."""
    hints = get_type_hints(kind, include_extras=True)
    return {
        name: (hint.__origin__, hint.__metadata__[0])
        for name, hint in hints.items()
        if get_origin(hint) is Annotated
    }


EVENT_FIELDS = tuple(told(Event))
"""What an event in an answer has."""

OF_DELIVERY = ("cursor", "delivery_count")
"""Those of them that it has by where it is and how it came: it is stored without."""

BODY_FIELDS = tuple(told(NewEvent))
"""What an event in a request's body may have."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Events that a reader was not given and never will be.

    `reason` is `evicted` or `stream_recreated`, `lost` how many of its project's, None if unknown.
    """

    reason: str
    lost: int | None

    def as_json(self) -> dict[str, object]:
        """Give the gap as agents see it."""
        return {"reason": self.reason, "lost": self.lost}


def correlation_ids(beside: str | None, data: Mapping[str, Any]) -> tuple[str, ...]:
    """Give an event's different correlation IDs: the one beside its data, then those inside."""
    inside = data.get("correlation_id")
    if inside is None:
        return (beside,) if beside else ()
    found = dict.fromkeys((beside,) if beside else ())
    return tuple(found | dict.fromkeys(_correlations_in(inside)))


def _correlations_in(inside: Any) -> Iterator[str]:
    """Give the IDs in what `data` has as `correlation_id`: 1 to 256 characters, or a number.

    The Event System Guide's patterns put one there. An array is as good as each of its elements,
    as it is to a filter; anything else under that name is plain data.
    """
    waiting = [inside]
    while waiting:
        found = waiting.pop()
        if isinstance(found, list):
            waiting += reversed(found)
        elif isinstance(found, str):
            if 0 < len(found) <= MAX_CORRELATION_CHARACTERS:
                yield found
        elif isinstance(found, int | float) and not isinstance(found, bool):
            yield str(found)


def rfc3339(moment: float) -> str:
    """Write a Unix time in seconds as RFC 3339 in UTC with microseconds.

    >>> rfc3339(0)
    '1970-01-01T00:00:00.000000Z'
    """
    second, fraction = divmod(round(moment * 1_000_000), 1_000_000)
    return f"{_second(second)}.{fraction:06d}Z"


@lru_cache(1024)
def _second(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat()[:-6]
