"""Answers: what the bridge tells, as value types. Fields that they do not know are left out."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

from bridge.client.errors import shapeless

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    D = TypeVar("D", bound=DataclassInstance)


@dataclass(frozen=True, slots=True)
class Event:
    """An event as it was published, with its place and its publisher's identity.

    `agent_id` and `agent_type` are from the publisher's token. `timestamp` is RFC 3339 in UTC and
    `ttl_seconds` counts from it. `cursor` is the event's place in the stream, good for `since`.
    `delivery_count` is above 1 when an earlier delivery was not completed.
    """

    event_id: str
    event_type: str
    publisher: str
    agent_id: str | None
    agent_type: str | None
    topic: str
    data: Mapping[str, Any]
    correlation_id: str | None
    priority: str
    timestamp: str
    ttl_seconds: int
    cursor: str
    delivery_count: int = 1

    def as_json(self) -> dict[str, Any]:
        """Give the event as it is on the wire, in the contract's order."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Published:
    """A stored event: where, when, and who has a durable subscription that matches it.

    `duplicate` tells that an event of this ID had been stored before this call, and nothing was
    stored now. At most 100 subscribers are named; `subscriber_count` is all of them.
    """

    event_id: str
    duplicate: bool
    topic: str
    ttl_seconds: int
    timestamp: str
    cursor: str
    subscribers_notified: Sequence[str]
    subscriber_count: int
    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Gap:
    """A position that is no longer retained: `evicted` or `stream_recreated`.

    `lost` counts the project's events that went with it, None if nobody knows. Reading went on at
    the oldest event there is.
    """

    reason: str
    lost: int | None


@dataclass(frozen=True, slots=True)
class Batch:
    """What a wait brought; `timeout` if its time was up with fewer events than asked for.

    `next_cursor` is where to go on with `since`, also after a timeout.
    """

    events: list[Event]
    more_available: bool
    next_cursor: str
    timeout: bool
    gap: Gap | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some retained events; the next page is behind `next_cursor`.

    Pass it as `until` (newest first, the default) or `since` (oldest first).
    """

    events: list[Event]
    more_available: bool
    next_cursor: str


@dataclass(frozen=True, slots=True)
class Subscription:
    """A durable subscription and how far it has come; `types` and `topics` are `*` for any.

    While no NATS server can tell how it stands, what follows its `filter` is None.
    """

    name: str
    agent: str
    agent_type: str | None
    group: str | None
    types: list[str]
    topics: list[str]
    filter: str
    created: str | None
    pending: int | None
    ack_pending: int | None
    redelivered: int | None
    waiting: int | None
    last_delivery: str | None
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Token:
    """A signed token and what it says; `expires_at` is RFC 3339 in UTC."""

    token: str = field(repr=False)
    agent_id: str
    agent_type: str | None
    project_id: str
    expires_at: str


def made(kind: "type[D]", content: Any, **more: Any) -> "D":
    """Make one of these from an answer's JSON; `more` takes precedence. Raises UnexpectedAnswer."""
    if not isinstance(content, dict):
        raise shapeless(content)
    known = {each.name for each in fields(kind)}
    try:
        return kind(**{**{key: content[key] for key in content if key in known}, **more})
    except TypeError:
        raise shapeless(content) from None


def listed(kind: "type[D]", content: Any) -> "list[D]":
    """Make a list of these. Raises UnexpectedAnswer."""
    if not isinstance(content, list):
        raise shapeless(content)
    return [made(kind, item) for item in content]


def batch_of(content: Any) -> Batch:
    """Read the answer to a wait. Raises UnexpectedAnswer."""
    if not isinstance(content, dict):
        raise shapeless(content)
    gap = content.get("gap")
    return made(
        Batch,
        content,
        events=listed(Event, content.get("events")),
        gap=None if gap is None else made(Gap, gap),
    )


def page_of(content: Any) -> Page:
    """Read a page of the history. Raises UnexpectedAnswer."""
    if not isinstance(content, dict):
        raise shapeless(content)
    return made(Page, content, events=listed(Event, content.get("events")))
