"""The use cases: publish, wait, replay. Who may do it, what it means, and nothing of HTTP or NATS.

publish   authorise, stamp, default the topic; stored when JetStream has acknowledged it
wait      a durable subscription: fetch, filter, hold until the answer was written
          or `since`: read the mirror from a position that the client holds
history   read the mirror, either way
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from random import Random

from bridge.catalog import Catalog
from bridge.cursors import write_cursor
from bridge.errors import Forbidden, Unavailable
from bridge.events import Event, NewEvent, rfc3339
from bridge.interest import Interest, Subscription
from bridge.jetstream import Held, JetStream, Message, Stored
from bridge.overview import Health, Overview
from bridge.positions import Gap, locate
from bridge.queries import Batch, HistoryQuery, Page, Receipt, WaitQuery
from bridge.subjects import DEFAULT_TOPIC, encode_token
from bridge.tokens import Principal

CATCH_UP_SECONDS = 1.0


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
        self.given_back = 0
        """How many events went back because who was to get them had gone."""
        self.overview = Overview(jetstream)

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
        return self.overview.health(draining=self._draining)

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
            return await self._wait_since(interest, query, query.since, deadline)
        return await self._wait_durable(principal, interest, query, deadline)

    async def history(self, query: HistoryQuery) -> Page:
        """Show retained events. Touches no subscription. Raises CursorInvalid or Unavailable."""
        await self._jetstream.catch_up()
        project = query.interest.project
        lower = upper = None
        if query.since is not None:
            lower = (await locate(self._jetstream, project, query.since)).sequence
        if query.until is not None:
            upper = (await locate(self._jetstream, project, query.until)).sequence
        mirror, now = self._jetstream.mirror, self._jetstream.now()
        first = mirror.first_sequence - 1 if lower is None else lower
        last = self._jetstream.last_sequence if upper is None else upper
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
        message_id = f"{event.project}/{encode_token(principal.agent_id)}/{event.event_id}"
        stored = await self._jetstream.publish(event, message_id=message_id)
        duplicate, warnings, ids = False, [*new.warnings], event.correlation_ids
        if stored.duplicate:
            event, duplicate = await self._original(event, stored)
        if len(ids) > 1 and ids == event.correlation_ids:
            await self._jetstream.publish_alias(event, message_id=message_id)
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

    def _note_given_back(self, events: int) -> None:
        self.given_back += events

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
        read_up_to = self._jetstream.last_sequence
        held = Held(self._jetstream.ack_wait, self._note_given_back)
        events: list[Event] = []
        pending, there = 0, None
        missed = await self._jetstream.missed(subscription)
        left = self._left(deadline if missed is None else 0.0)
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
                # At the deadline what was there is still looked through, but not what comes after.
                there = pending if there is None else there - len(messages)
                if left() <= 0 and (there <= 0 or self._draining):
                    break
            read_up_to = max(read_up_to, self._jetstream.passed(subscription))
            more = pending > 0 and await self._more_behind(interest, read_up_to)
        except BaseException:
            await held.give_back()
            raise
        epoch = self._jetstream.epoch
        return Batch(
            events,
            next_cursor=write_cursor(epoch, read_up_to),
            more_available=more,
            timed_out=len(events) < query.count and missed is None,
            gap=Gap("evicted", None if interest.filter else missed.count) if missed else None,
            held=held,
            on_accept=missed.note_told if missed else None,
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
            if event is None or not interest.accepts(event):
                await message.ack()
            elif held.add(message):
                events.append(event)

    async def _more_behind(self, interest: Interest, sequence: int) -> bool:
        """Tell whether any of what the consumer still has passes the filter."""
        if not interest.filter:
            return True
        await self._jetstream.catch_up()
        return self._any_behind(interest, sequence)

    def _any_behind(self, interest: Interest, sequence: int) -> bool:
        entries = self._jetstream.mirror.forwards(interest, sequence, self._jetstream.now())
        return next(entries, None) is not None

    async def _wait_since(
        self, interest: Interest, query: WaitQuery, since: str, deadline: float
    ) -> Batch:
        await self._jetstream.catch_up()
        position = await locate(self._jetstream, interest.project, since)
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
            after = events[-1].sequence if full else max(after, self._jetstream.last_sequence)
            remaining = left()
            if len(events) >= query.count or remaining <= 0 or gap is not None:
                break
            news = self._jetstream.watch(interest)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(news, remaining)
        return Batch(
            events,
            next_cursor=write_cursor(mirror.epoch, after),
            more_available=full and self._any_behind(interest, after),
            timed_out=len(events) < query.count and gap is None,
            gap=gap,
        )


_random = Random()  # noqa: S311 - an ID is no secret; seeded by the operating system


def _new_id() -> str:
    """Make a random UUID (RFC 9562, version 4) as text, for a fraction of what `uuid` takes."""
    text = f"{_random.getrandbits(128):032x}"
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


def _same(event: Event, new: NewEvent) -> bool:
    """Tell whether a repeated publish means the event that was stored first."""
    return (
        event.event_type == new.event_type
        and event.data == new.data
        and event.correlation_id == new.correlation_id
        and event.priority == new.priority
        and event.ttl_seconds == new.ttl_seconds
        and new.topic in (None, event.topic)
    )
