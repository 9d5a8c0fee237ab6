"""Publishing: authorise, stamp, default the topic; an event is stored when JetStream says so."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import NamedTuple

from bridge.bus.event_types import EventTypes
from bridge.bus.ports import Confirmation, Publication, Store
from bridge.bus.rights import spelled
from bridge.catalog import Catalog
from bridge.cursors import write_cursor
from bridge.errors import (
    BridgeError,
    EventInvalid,
    EventTooLarge,
    Failed,
    Forbidden,
    Unavailable,
)
from bridge.events import Event, NewEvent, rfc3339
from bridge.subjects import DEFAULT_TOPIC, encode_token
from bridge.tokens import Principal

log = logging.getLogger("bridge.bus.publish")

CATCH_UP_SECONDS = 1.0
CHECKED_AT_ONCE = 4
"""So many events of an array are made ready before other requests get their turn."""


class Receipt(NamedTuple):
    """What became of a published event; `subscribers` are those with a matching subscription."""

    event: Event
    cursor: str
    duplicate: bool
    subscribers: Sequence[str]
    warnings: Sequence[str]


class _Ready(NamedTuple):
    """An event that is known to be storable, as it will be stored under a message ID."""

    new: NewEvent
    event: Event
    message_id: str
    publication: Publication


class Publications:
    """Puts agents' events on the stream and says what became of each.

    `strict` refuses a `publisher` that is not the token's agent or its type.
    """

    def __init__(self, store: Store, catalog: Catalog, types: EventTypes, *, strict: bool) -> None:
        self._publisher = store.publisher
        self._log = store.log
        self._subscribers = store.subscribers
        self._catalog = catalog
        self._types = types
        self._strict = strict

    async def one(self, principal: Principal, new: NewEvent) -> Receipt:
        """Store an event and say who subscribes to it.

        Raises Forbidden, Unavailable (it may or may not be stored) or EventTooLarge.
        """
        self._authorise(principal, new)
        suspicions = self._types.suspicions(principal, (new.event_type,))
        ready = self._ready(principal, new, suspicions)
        try:
            return await self._publish(ready)
        except BridgeError as error:  # repeated without its ID it could be stored twice
            error.details.setdefault("event_id", ready.event.event_id)
            raise
        except Exception as error:
            log.exception("publishing failed")
            event_id = ready.event.event_id
            raise Failed(
                f"the bridge failed; publish the event again with event_id {event_id!r}, which "
                "cannot store it twice",
                event_id=event_id,
            ) from error

    async def many(self, principal: Principal, events: Sequence[NewEvent]) -> list[Receipt]:
        """Store events in order, none unless all are allowed and none is too large.

        Raises as `one` does. Whatever goes wrong after the first was sent, the error names every
        event's ID, so that the whole can be repeated without storing any twice.
        """
        for new in events:
            self._authorise(principal, new)
        named = [new if new.event_id else replace(new, event_id=_new_id()) for new in events]
        types = (new.event_type for new in named)
        suspicions = self._types.suspicions(principal, types)
        ready = []
        for index, new in enumerate(named):
            ready.append(self._checked(principal, new, suspicions, index))
            if index % CHECKED_AT_ONCE == 0:
                await asyncio.sleep(0)
        stored = await asyncio.gather(*map(self._publish, ready), return_exceptions=True)
        failures = [each for each in stored if isinstance(each, BaseException)]
        if failures:
            raise in_part(failures, [each.event.event_id for each in ready]) from failures[0]
        return [each for each in stored if isinstance(each, Receipt)]

    def _authorise(self, principal: Principal, new: NewEvent) -> None:
        scope = principal.publishes
        if not scope:
            raise Forbidden(
                "this token may not publish: its permissions lack `publish_events`",
                missing="publish_events",
            )
        topic = self._topic(new)
        if not scope.takes(topic, new.event_type):
            left_out = "" if new.topic else ", where it goes if `topic` is left out"
            raise Forbidden(
                f"this token may publish {spelled(scope)} alone, and not `{new.event_type}` on "
                f"topic `{topic}`{left_out}",
                allowed=scope.written(),
            )
        own = (None, principal.agent_id, principal.agent_type)
        if self._strict and new.publisher not in own:
            allowed = [name for name in own if name]
            raise Forbidden(
                f"publisher {new.publisher!r} is not this token's agent: leave `publisher` out, or "
                f"use {' or '.join(map(repr, allowed))}",
                allowed=allowed,
            )

    def _checked(
        self, principal: Principal, new: NewEvent, suspicions: Mapping[str, str], index: int
    ) -> _Ready:
        """Make one event of an array ready, as far as can be known before the first is sent."""
        try:
            ready = self._ready(principal, new, suspicions)
            ready.publication.check_size()
        except (EventInvalid, EventTooLarge) as error:
            raise type(error)(
                f"event {index} of the array: {error.message}", **error.details, index=index
            ) from error
        return ready

    def _ready(self, principal: Principal, new: NewEvent, suspicions: Mapping[str, str]) -> _Ready:
        self._types.check(new.event_type)
        if new.event_type in suspicions:
            new = replace(new, warnings=(*new.warnings, suspicions[new.event_type]))
        event = self._stamp(principal, new)
        message_id = f"{event.project}/{encode_token(principal.agent_id)}/{event.event_id}"
        publication = self._publisher.prepare(event, message_id=message_id)
        return _Ready(new, event, message_id, publication)

    async def _publish(self, ready: _Ready) -> Receipt:
        while True:
            event, duplicate = ready.event, False
            stored = await ready.publication.store()
            if stored.duplicate:
                first = await self._stored_first(event, stored.sequence)
                if first is None:
                    ready = self._anew(ready, stored.sequence)
                    continue
                duplicate = stored.attempts == 1 or first.timestamp != event.timestamp
                event = first
            self._types.note(event.project, event.event_type)
            return await self._receipt(ready, event, stored, duplicate=duplicate)

    async def _receipt(
        self, ready: _Ready, event: Event, stored: Confirmation, *, duplicate: bool
    ) -> Receipt:
        ids, warnings = ready.event.correlation_ids, [*ready.new.warnings]
        if len(ids) > 1 and ids == event.correlation_ids:
            await ready.publication.store_aliases()
        if duplicate and not _same(event, ready.event, ready.new.topic):
            warnings.append(
                f"event_id {event.event_id!r} was used a moment ago for another event, which "
                "this answer describes; nothing was stored. Use a new event_id for a new event"
            )
        warnings += self._catalog.warnings(event.event_type, event.topic, event.data)
        return Receipt(
            event,
            write_cursor(self._log.epoch, stored.sequence),
            duplicate,
            self._subscribers.owners(event),
            warnings,
        )

    def _stamp(self, principal: Principal, new: NewEvent) -> Event:
        """Complete an event with what its publisher cannot choose and what it left out."""
        ids = new.correlation_ids
        return Event(
            event_id=new.event_id or _new_id(),
            event_type=new.event_type,
            publisher=new.publisher or principal.agent_id,
            agent_id=principal.agent_id,
            agent_type=principal.agent_type,
            project=principal.project,
            topic=self._topic(new),
            data=new.data,
            correlation_id=ids[0] if ids else None,
            priority=new.priority,
            timestamp=rfc3339(time.time()),
            ttl_seconds=new.ttl_seconds,
            traceparent=new.trace and new.trace.parent,
            tracestate=new.trace and new.trace.state,
            cloudevent=new.cloudevent,
            sequence=0,
            cursor="",
            correlation_ids=ids,
        )

    def _topic(self, new: NewEvent) -> str:
        return new.topic or self._catalog.topic_of(new.event_type) or DEFAULT_TOPIC

    async def _stored_first(self, event: Event, sequence: int) -> Event | None:
        """Give the event that was stored under the same ID, None if it is retained no more."""
        seen = sequence
        if self._log.mirror.may_have_lost(sequence - 1):  # pushed out by what is yet to be read
            seen = max(seen, await self._log.ask_end())
        if not await self._log.reach(seen, CATCH_UP_SECONDS):
            raise Unavailable(
                "JetStream has an event with this event_id, which this bridge has yet to read; "
                "publish it again in a moment",
                event_id=event.event_id,
            )
        entry = self._log.mirror.by_sequence(sequence)
        gone = entry is None or entry.expires_at <= self._log.now()
        if entry is None or gone or entry.event.event_id != event.event_id:
            # The stream may have been made again, and the mirror still be of the one before.
            await self._log.ask_end()
        return None if entry is None or gone else entry.event

    def _anew(self, ready: _Ready, gone: int) -> _Ready:
        """Make an event ready once more, whose ID is that of one which is retained no more.

        What says published can be read. The message ID is made of the old one and the sequence of
        what has gone, so that of repeats on whichever bridges one is stored.
        """
        message_id = f"{gone}:{ready.message_id}"  # no project's name has a colon
        publication = self._publisher.prepare(ready.event, message_id=message_id)
        told = (
            f"event_id {ready.event.event_id!r} was used a moment ago for an event that has "
            "expired or was evicted since, so this one was stored. Use a new event_id for a new "
            "event"
        )
        warnings = dict.fromkeys((*ready.new.warnings, told))
        return _Ready(
            replace(ready.new, warnings=tuple(warnings)), ready.event, message_id, publication
        )


def in_part(failures: Sequence[BaseException], event_ids: list[str]) -> BridgeError:
    """Tell of an array of which some may be stored, whatever it was that went wrong."""
    failure = failures[0]
    told = (
        f"{len(failures)} of {len(event_ids)} events were not confirmed; publish all of them again "
        "with the event_id of each from `details`, which cannot store any of them twice"
    )
    if isinstance(failure, Unavailable):
        return Unavailable(told, retry_after=failure.retry_after, event_ids=event_ids)
    if isinstance(failure, BridgeError):
        details = {**failure.details, "event_ids": event_ids}
        return type(failure)(f"{failure.message}. Once that is mended: {told}", **details)
    log.error("publishing an array failed", exc_info=failure)
    return Failed(f"the bridge failed: {told}", event_ids=event_ids)


_random = Random()  # noqa: S311 - an ID is no secret; seeded by the operating system


def _new_id() -> str:
    """Make a random UUID (RFC 9562, version 4) as text, for a fraction of what `uuid` takes."""
    text = f"{_random.getrandbits(128):032x}"
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


def _same(first: Event, again: Event, topic: str | None) -> bool:
    """Tell whether a repeated publish means the event that was stored first."""
    return (
        first.event_type == again.event_type
        and first.data == again.data
        and first.correlation_id == again.correlation_id
        and first.priority == again.priority
        and first.ttl_seconds == again.ttl_seconds
        and topic in (None, first.topic)
    )
