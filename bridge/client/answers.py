"""Answers: what the bridge tells, as value types. Fields that they do not know are left out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self, TypeVar

from bridge.client.replies import shapeless
from bridge.events import Event, Gap

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    D = TypeVar("D", bound=DataclassInstance)


@dataclass
class LeasedEvent(Event):
    """An event that is this agent's alone until `lease_expires_at` (RFC 3339 in UTC).

    It is done once it is acknowledged, with its `ack_id`; else it comes again. Its methods are the
    client's of the same names, on this one event: of the async client they are to be awaited.
    """

    ack_id: str = ""
    lease_expires_at: str = ""

    def held_by(self, client: Any) -> Self:
        """Name the client that settles it."""
        vars(self)["client"] = client
        return self

    def ack(self) -> Any:
        """Acknowledge it: it is done, and never comes again. Gives a Settlement."""
        return vars(self)["client"].ack(self)

    def extend(self, lease: float = 30.0) -> Any:
        """Begin its lease anew, for so many seconds. Gives a Settlement."""
        return vars(self)["client"].extend(self, lease=lease)

    def release(self, delay: float = 0.0) -> Any:
        """Give it back, for delivery after so many seconds. Gives a Settlement."""
        return vars(self)["client"].release(self, delay=delay)

    def reject(self, reason: str = "rejected") -> Any:
        """Make it a dead letter: it is not to be tried again. Gives a Settlement."""
        return vars(self)["client"].reject(self, reason=reason)


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of leases: those that are `done`, and those that `failed` with code and message.

    Of extended ones `done` has `was`, the new `ack_id` and `lease_expires_at`.
    """

    done: list[Any]
    failed: list[dict[str, str]]


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


@dataclass(slots=True)
class Batch:
    """What a wait brought; `timeout` if its time was up with fewer events than asked for.

    `next_cursor` is where to go on with `since`, also after a timeout. `ack_id` stands for all of
    its events where they are leased. `hints` say why nothing came: what each is `about`, and a
    `message`. It can be looped over, and is false without events.
    """

    events: list[Event]
    more_available: bool
    next_cursor: str
    timeout: bool
    gap: Gap | None = None
    ack_id: str | None = None
    ended_by: str = ""
    hints: Sequence[Mapping[str, Any]] = ()
    warnings: Sequence[str] = ()

    def __len__(self) -> int:
        """Count the events; a batch without any is false."""
        return len(self.events)

    def __iter__(self) -> Iterator[Event]:
        """Give the events."""
        return iter(self.events)


@dataclass(frozen=True, slots=True)
class Page:
    """Some retained events; the next page is behind `next_cursor`.

    Pass it as `until` (newest first, the default) or `since` (oldest first).
    """

    events: list[Event]
    more_available: bool
    next_cursor: str


@dataclass(frozen=True, slots=True)
class SubscriptionInfo:
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
    consumer: str | None = None
    dead: int = 0


@dataclass(frozen=True, slots=True)
class Token:
    """A signed token and what it says; `expires_at` is RFC 3339 in UTC, it is revoked by `jti`."""

    token: str = field(repr=False)
    agent_id: str
    agent_type: str | None
    project_id: str
    expires_at: str
    jti: str | None = None


def made(kind: "type[D]", content: Any, **more: Any) -> "D":
    """Make one of these from an answer's JSON; `more` takes precedence. Raises UnexpectedAnswer."""
    if not isinstance(content, dict):
        raise shapeless(content)
    known = {each.name for each in fields(kind)}
    try:
        return kind(**{**{key: content[key] for key in content if key in known}, **more})
    except TypeError:
        raise shapeless(content) from None


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that was published, and the replies that came."""

    published: Published
    reply: Batch


def events_of(content: Any, client: Any = None) -> list[Event]:
    """Read the events of an answer, those that are leased as such, to be settled by `client`.

    Raises UnexpectedAnswer.
    """
    found = within(content, "events")
    if not isinstance(found, list):
        raise shapeless(content)
    return [
        made(LeasedEvent, each).held_by(client)
        if isinstance(each, dict) and "ack_id" in each
        else made(Event, each)
        for each in found
    ]


def listed(kind: "type[D]", content: Any) -> "list[D]":
    """Make a list of these. Raises UnexpectedAnswer."""
    if not isinstance(content, list):
        raise shapeless(content)
    return [made(kind, item) for item in content]


def batch_of(content: Any, client: Any = None) -> Batch:
    """Read the answer to a wait; see `events_of`. Raises UnexpectedAnswer."""
    gap = within(content, "gap")
    events = events_of(content, client)
    return made(Batch, content, events=events, gap=None if gap is None else made(Gap, gap))


def page_of(content: Any) -> Page:
    """Read a page of the history. Raises UnexpectedAnswer."""
    return made(Page, content, events=events_of(content))


def within(content: Any, name: str) -> Any:
    """Give what an object has under a name, or None. Raises UnexpectedAnswer if it is none."""
    if not isinstance(content, dict):
        raise shapeless(content)
    return content.get(name)
