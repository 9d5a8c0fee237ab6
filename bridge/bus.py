"""The use cases: publish, wait, replay. Who may do it, what it means, and nothing of HTTP or NATS.

publish   authorise, stamp, default the topic; stored when JetStream has acknowledged it
wait      a durable subscription: fetch, filter, hold until the answer was written
          or `since`: read the mirror from a position that the client holds
history   read the mirror, either way
"""

import asyncio
import contextlib
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from bridge.catalog import Catalog
from bridge.cursors import write_cursor
from bridge.errors import Forbidden, NotFound, RequestInvalid, Unavailable
from bridge.events import Event, NewEvent, rfc3339
from bridge.interest import Interest, Subscription
from bridge.jetstream import Held, JetStream, Message, Stored
from bridge.positions import Gap, locate
from bridge.subjects import DEFAULT_TOPIC
from bridge.tokens import Principal

MAX_NAMED_SUBSCRIBERS = 100
CATCH_UP_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a published event; `subscribers` are those with a matching subscription."""

    event: Event
    cursor: str
    duplicate: bool
    subscribers: Sequence[str]
    warnings: Sequence[str]


@dataclass(frozen=True, slots=True)
class WaitQuery:
    """What a wait asks for; `timeout` in seconds, None for whatever was not asked.

    `types` None with `any_type` false means the topics that the agent's type subscribes to.
    """

    types: tuple[str, ...] | None = None
    any_type: bool = False
    topics: tuple[str, ...] | None = None
    filter: str = ""
    timeout: float = 30.0
    limit: int = 100
    count: int = 1
    since: str | None = None
    only_new: bool = False
    group: str | None = None


@dataclass(slots=True)
class Batch:
    """The answer to a wait.

    The events of a durable subscription are held until `accept` (the answer was written) or
    `give_back` (the client has gone) is called, exactly one of them.
    """

    events: list[Event]
    next_cursor: str
    more_available: bool
    timed_out: bool
    gap: Gap | None = None
    held: Held | None = None

    async def accept(self) -> None:
        """Acknowledge the events."""
        if self.held is not None:
            await self.held.accept()

    async def give_back(self) -> None:
        """Make the events available to the next wait at once."""
        if self.held is not None:
            await self.held.give_back()


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """What of the retained events to show."""

    interest: Interest
    since: str | None = None
    until: str | None = None
    newest_first: bool = True
    limit: int = 20


@dataclass(frozen=True, slots=True)
class Page:
    """Some retained events; `next_cursor` is where the next page begins."""

    events: list[Event]
    more_available: bool
    next_cursor: str


@dataclass(frozen=True, slots=True)
class Health:
    """How the bridge stands, for probes and metrics."""

    connected: bool
    stream_problem: str
    draining: bool
    reconnects: int
    subscriptions: int
    retained: int

    @property
    def problem(self) -> str:
        """Why events cannot be served right now, in words; empty when they can."""
        return "shutting down" if self.draining else self.stream_problem


class Bus:
    """The event bus: what an authenticated agent may do with events.

    `strict_publishers` refuses a `publisher` that is not the token's agent or its type.
    """

    def __init__(
        self, jetstream: JetStream, catalog: Catalog, *, strict_publishers: bool = True
    ) -> None:
        self._jetstream = jetstream
        self._catalog = catalog
        self._strict = strict_publishers
        self._draining = False
        self._newest_stored = 0

    def drain(self) -> None:
        """End every wait now, with what it has; later ones do not wait."""
        self._draining = True
        self._jetstream.wake_waits()

    @property
    def draining(self) -> bool:
        """Whether the bridge is about to stop."""
        return self._draining

    def health(self) -> Health:
        """Say how the bridge stands. Asks nobody."""
        jetstream = self._jetstream
        return Health(
            connected=jetstream.connected,
            stream_problem=jetstream.problem(),
            draining=self._draining,
            reconnects=jetstream.reconnects,
            subscriptions=len(jetstream.subscriptions),
            retained=jetstream.retained,
        )

    async def publish(self, principal: Principal, new: NewEvent) -> Receipt:
        """Store an event and say who subscribes to it.

        Raises Forbidden, Unavailable (it may or may not be stored) or EventTooLarge.
        """
        self._authorise(principal, new)
        return await self._publish(principal, new)

    async def publish_all(self, principal: Principal, events: Sequence[NewEvent]) -> list[Receipt]:
        """Store events in order, none unless all are allowed.

        Raises as `publish` does; Unavailable then names every event's ID, so that the whole can be
        repeated without storing any twice.
        """
        for new in events:
            self._authorise(principal, new)
        named = [new if new.event_id else replace(new, event_id=_new_id()) for new in events]
        stored = await asyncio.gather(
            *(self._publish(principal, new) for new in named), return_exceptions=True
        )
        failures = [each for each in stored if isinstance(each, BaseException)]
        for failure in failures:
            if isinstance(failure, Unavailable):
                raise Unavailable(
                    f"{len(failures)} of {len(named)} events were not confirmed; publish all of "
                    "them again with the event_id of each from `details`, which cannot store any "
                    "of them twice",
                    retry_after=failure.retry_after,
                    event_ids=[new.event_id for new in named],
                ) from failure
            raise failure
        return [each for each in stored if isinstance(each, Receipt)]

    async def wait(self, principal: Principal, query: WaitQuery) -> Batch:
        """Wait for events: a durable subscription's next, or those behind a position.

        Raises RequestInvalid, CursorInvalid or Unavailable.
        """
        topics = query.topics
        if query.types is None and not query.any_type and topics is None:
            topics = self._topics_of(principal)
        interest = Interest(principal.project, query.types, topics, query.filter)
        deadline = asyncio.get_running_loop().time() + query.timeout
        if query.since is not None:
            return await self._wait_since(interest, query, deadline)
        return await self._wait_durable(principal, interest, query, deadline)

    async def history(self, query: HistoryQuery) -> Page:
        """Show retained events. Touches no subscription. Raises CursorInvalid or Unavailable."""
        await self._see_own_writes()
        project = query.interest.project
        lower = upper = None
        if query.since is not None:
            lower = (await locate(self._jetstream, project, query.since)).sequence
        if query.until is not None:
            upper = (await locate(self._jetstream, project, query.until)).sequence
        mirror, now = self._jetstream.mirror, self._jetstream.now()
        first = mirror.first_sequence - 1 if lower is None else lower
        last = mirror.last_sequence if upper is None else upper
        if query.newest_first:
            entries = mirror.backwards(query.interest, now)
        else:
            entries = mirror.forwards(query.interest, first, now)
        found = (entry.event for entry in entries if first < entry.event.sequence <= last)
        events = list(islice(found, query.limit + 1))
        more = len(events) > query.limit
        del events[query.limit :]
        if query.newest_first:
            edge = events[-1].sequence - 1 if events else first
        else:
            edge = events[-1].sequence if more else last
        return Page(events, more, write_cursor(mirror.epoch, edge))

    async def subscriptions(self, principal: Principal) -> list[dict[str, Any]]:
        """List the agent's durable subscriptions, or the project's if it may spawn agents."""
        names = [
            name
            for name, found in self._jetstream.subscriptions.of_project(principal.project)
            if principal.can_spawn or found.agent == principal.agent_id
        ]
        states = await self._jetstream.subscription_states(names)
        return [
            {
                "name": state.name,
                "agent": state.subscription.agent,
                "agent_type": state.subscription.agent_type,
                "group": state.subscription.group,
                "types": list(state.subscription.interest.types or ["*"]),
                "topics": list(state.subscription.interest.topics or ["*"]),
                "filter": state.subscription.interest.filter,
                "created": state.created,
                "pending": state.pending,
                "ack_pending": state.ack_pending,
                "redelivered": state.redelivered,
                "waiting": state.waiting,
                "last_delivery": state.last_delivery,
                "cursor": write_cursor(self._jetstream.epoch, state.delivered_sequence),
            }
            for state in states
        ]

    async def delete_subscription(self, principal: Principal, name: str) -> None:
        """Delete one of the subscriptions that `subscriptions` lists. Raises NotFound."""
        found = self._jetstream.subscriptions.get(name)
        mine = (
            found is not None
            and found.interest.project == principal.project
            and (principal.can_spawn or found.agent == principal.agent_id)
        )
        if not mine or not await self._jetstream.delete_subscription(name):
            raise NotFound(
                f"there is no subscription {name!r} of yours; GET /api/subscriptions lists them",
                name=name,
            )

    def status(self, principal: Principal) -> dict[str, Any]:
        """Sum up what the project's events and subscriptions are like right now."""
        mirror, now = self._jetstream.mirror, self._jetstream.now()
        topics: dict[str, int] = {}
        types: dict[str, int] = {}
        agents: dict[str, str] = {}
        newest = oldest = None
        for entry in mirror.forwards(Interest(principal.project), 0, now):
            event = entry.event
            topics[event.topic] = topics.get(event.topic, 0) + 1
            types[event.event_type] = types.get(event.event_type, 0) + 1
            oldest, newest = oldest or event.timestamp, event.timestamp
            if event.agent_id:
                agents[event.agent_id] = event.agent_type or "unknown"
        subscriptions = self._jetstream.subscriptions.of_project(principal.project)
        for _, found in subscriptions:
            agents.setdefault(found.agent, found.agent_type or "unknown")
        by_type: dict[str, int] = {}
        for kind in agents.values():
            by_type[kind] = by_type.get(kind, 0) + 1
        return {
            "project": principal.project,
            "events": {
                "retained": sum(topics.values()),
                "by_topic": topics,
                "by_type": types,
                "oldest": oldest,
                "newest": newest,
            },
            "queue": {"depth": sum(topics.values()), "capacity": mirror.max_messages},
            "subscriptions": len(subscriptions),
            "agents": {"total": len(agents), "by_type": by_type},
        }

    # -- publish -----------------------------------------------------------------------------------

    def _authorise(self, principal: Principal, new: NewEvent) -> None:
        if not principal.can_publish:
            raise Forbidden(
                "this token may not publish: its permissions lack `publish_events`",
                missing="publish_events",
            )
        own = (None, principal.agent_id, principal.agent_type)
        if self._strict and new.publisher not in own:
            allowed = [name for name in own if name]
            raise Forbidden(
                f"publisher {new.publisher!r} is not this token's agent: leave `publisher` out, or "
                f"use {' or '.join(map(repr, allowed))}",
                allowed=allowed,
            )

    async def _publish(self, principal: Principal, new: NewEvent) -> Receipt:
        event = self._stamp(principal, new)
        message_id = f"{event.project}/{principal.agent_id}/{event.event_id}"
        stored = await self._jetstream.publish(event, message_id=message_id)
        self._newest_stored = max(self._newest_stored, stored.sequence)
        duplicate, warnings = False, [*new.warnings]
        if stored.duplicate:
            event, duplicate = await self._original(event, stored)
            if duplicate and not _same(event, new):
                warnings.append(
                    f"event_id {event.event_id!r} was used a moment ago for another event, which "
                    "this answer describes; nothing was stored. Use a new event_id for a new event"
                )
        warnings += self._catalog.warnings(event.event_type, event.topic, event.data)
        return Receipt(
            event,
            write_cursor(self._jetstream.epoch, stored.sequence),
            duplicate,
            self._jetstream.subscriptions.owners(event),
            warnings,
        )

    def _stamp(self, principal: Principal, new: NewEvent) -> Event:
        """Complete an event with what its publisher cannot choose and what it left out."""
        topic = new.topic or self._catalog.topic_of(new.event_type) or DEFAULT_TOPIC
        return Event(
            event_id=new.event_id or _new_id(),
            event_type=new.event_type,
            publisher=new.publisher or principal.agent_id,
            agent_id=principal.agent_id,
            agent_type=principal.agent_type,
            project=principal.project,
            topic=topic,
            data=new.data,
            correlation_id=new.correlation_id,
            priority=new.priority,
            timestamp=rfc3339(time.time()),
            ttl_seconds=new.ttl_seconds,
            sequence=0,
            cursor="",
            correlation_ids=new.correlation_ids,
        )

    async def _original(self, event: Event, stored: Stored) -> tuple[Event, bool]:
        """Give the event that was stored first under this ID, and whether it is not our own try."""
        await self._jetstream.reach(stored.sequence, CATCH_UP_SECONDS)
        entry = self._jetstream.mirror.by_sequence(stored.sequence)
        if entry is None:  # it has expired since
            return event, True
        ours = stored.attempts > 1 and entry.event.timestamp == event.timestamp
        return entry.event, not ours

    # -- wait --------------------------------------------------------------------------------------

    def _topics_of(self, principal: Principal) -> tuple[str, ...] | None:
        topics = self._catalog.topics_of(principal.agent_type)
        return None if topics is None else tuple(sorted(topics))

    def _left(self, deadline: float) -> Callable[[], float]:
        clock = asyncio.get_running_loop().time
        return lambda: 0.0 if self._draining else deadline - clock()

    async def _wait_durable(
        self, principal: Principal, interest: Interest, query: WaitQuery, deadline: float
    ) -> Batch:
        subscription = Subscription(interest, principal.agent_id, principal.agent_type, query.group)
        read_up_to = self._jetstream.mirror.last_sequence
        held = Held(self._jetstream.ack_wait)
        events: list[Event] = []
        pending = 0
        left = self._left(deadline)
        try:
            while len(events) < query.count:
                messages = await self._jetstream.fetch(
                    subscription, query.limit - len(events), left, only_new=query.only_new
                )
                if not messages:
                    break
                await self._take(messages, interest, events, held)
                read_up_to = max(read_up_to if pending else 0, messages[-1].sequence)
                pending = messages[-1].pending
        except BaseException:
            await held.give_back()
            raise
        epoch = self._jetstream.epoch
        return Batch(
            events,
            next_cursor=write_cursor(epoch, read_up_to),
            more_available=pending > 0 and self._any_behind(interest, read_up_to),
            timed_out=len(events) < query.count,
            held=held,
        )

    async def _take(
        self, messages: Sequence[Message], interest: Interest, events: list[Event], held: Held
    ) -> None:
        """Keep what the subscription wants and acknowledge the rest at once.

        What nobody will be shown must not fill the window of unanswered messages.
        """
        epoch = self._jetstream.epoch
        for message in messages:
            event = message.event(epoch) if interest.is_for(message.alias) else None
            if event is not None and interest.accepts(event):
                events.append(event)
                held.add(message)
            else:
                await message.ack()

    def _any_behind(self, interest: Interest, sequence: int) -> bool:
        entries = self._jetstream.mirror.forwards(interest, sequence, self._jetstream.now())
        return next(entries, None) is not None

    async def _wait_since(self, interest: Interest, query: WaitQuery, deadline: float) -> Batch:
        if query.since is None:
            raise RequestInvalid("a wait without `since` is a durable subscription")
        await self._see_own_writes()
        position = await locate(self._jetstream, interest.project, query.since)
        after, gap = position.sequence, position.gap
        mirror = self._jetstream.mirror
        left = self._left(deadline)
        events: list[Event] = []
        while True:
            if self._jetstream.mirror.epoch != mirror.epoch:
                gap, after = (
                    Gap("stream_recreated", None),
                    self._jetstream.mirror.first_sequence - 1,
                )
            mirror = self._jetstream.mirror
            entries = mirror.forwards(interest, after, self._jetstream.now())
            events += [entry.event for entry in islice(entries, query.limit - len(events))]
            full = len(events) >= query.limit
            after = events[-1].sequence if full else max(after, mirror.last_sequence)
            remaining = left()
            if len(events) >= query.count or remaining <= 0 or gap is not None:
                break
            news = mirror.watch(interest)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(news, remaining)
        return Batch(
            events,
            next_cursor=write_cursor(mirror.epoch, after),
            more_available=full and self._any_behind(interest, after),
            timed_out=len(events) < query.count,
            gap=gap,
        )

    async def _see_own_writes(self) -> None:
        """Let the mirror catch up with what this process has published."""
        await self._jetstream.reach(self._newest_stored, CATCH_UP_SECONDS)


def _new_id() -> str:
    return str(uuid.uuid4())


def _same(event: Event, new: NewEvent) -> bool:
    """Tell whether a repeated publish means the event that was stored first."""
    return event.event_type == new.event_type and event.data == new.data
