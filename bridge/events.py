"""Events: what agents exchange, as value types without behaviour of any transport."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

# The value types here are not `frozen`: that makes each field cost a call when one is made, and
# one is made for each event that passes.

PRIORITIES = ("low", "normal", "high")
MAX_TTL_SECONDS = 86_400
MAX_CORRELATION_CHARACTERS = 256


@dataclass(slots=True)
class Event:
    """An event as it is read back from the stream; nothing changes it after it was made.

    `timestamp` is RFC 3339 in UTC, `ttl_seconds` counts from it, `sequence` is the event's place
    in the stream and `cursor` the same as an opaque text that clients may hold. `agent_id` and
    `agent_type` were stamped from the publisher's token; they are None on a message that some
    other NATS client put on the stream.
    """

    event_id: str
    event_type: str
    publisher: str
    agent_id: str | None
    agent_type: str | None
    project: str
    topic: str
    data: Mapping[str, Any]
    correlation_id: str | None
    priority: str
    timestamp: str
    ttl_seconds: int
    sequence: int
    cursor: str
    delivery_count: int = 1
    correlation_ids: tuple[str, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """Give the event as agents see it: every public field, in the contract's order."""
        return {
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


@dataclass(slots=True)
class NewEvent:
    """An event to publish, validated, before it is stamped with its publisher and its time.

    None stands for what the publisher left to the bridge. `warnings` says what is odd about the
    request without being wrong.
    """

    event_type: str
    topic: str | None = None
    publisher: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    correlation_id: str | None = None
    ttl_seconds: int = MAX_TTL_SECONDS
    priority: str = "normal"
    event_id: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def correlation_ids(self) -> tuple[str, ...]:
        """Every correlation ID, the one beside `data` first, then one inside it if it differs."""
        return correlation_ids(self.correlation_id, self.data)


def correlation_ids(beside: str | None, data: Mapping[str, Any]) -> tuple[str, ...]:
    """Give an event's different correlation IDs, at most two: beside its data, and inside."""
    inside = correlation_in(data)
    if beside is None or inside is None or beside == inside:
        found = beside or inside
        return (found,) if found else ()
    return (beside, inside)


def correlation_in(data: Mapping[str, Any]) -> str | None:
    """Give the correlation ID inside an event's data: a text of 1 to 256 characters, or a number.

    The Event System Guide's patterns put it there. Anything else under that name is plain data.
    """
    found = data.get("correlation_id")
    if isinstance(found, int | float) and not isinstance(found, bool):
        return str(found)
    if isinstance(found, str) and 0 < len(found) <= MAX_CORRELATION_CHARACTERS:
        return found
    return None


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
