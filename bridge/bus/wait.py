"""Waiting: for a durable subscription's next events, or for those behind a position."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import NamedTuple

from bridge.bus.explaining import Explaining, Hint, before_position, given_before
from bridge.bus.history import MAX_ANSWER_BYTES, Filling
from bridge.bus.lean import ALL_FIELDS, Fields, Room
from bridge.bus.leasing import Leasing
from bridge.bus.ports import Delivery, HasRoom, Left, Store
from bridge.bus.positions import locate, see
from bridge.bus.presence import Presence
from bridge.bus.publish import Receipt
from bridge.bus.rights import readable
from bridge.catalog import Catalog
from bridge.cursors import write_cursor
from bridge.errors import TokenInvalid, Unavailable
from bridge.events import Event, Gap
from bridge.filters import EVERYTHING, Filter, correlated
from bridge.subscription import Deliver, Selection, Subscription
from bridge.tokens import Principal

SHARED = (
    "another open wait of yours shares this subscription, and each event goes to one of the two; "
    "give one of them a `consumer` name of its own if both should get everything"
)


@dataclass(frozen=True, slots=True)
class WaitQuery:
    """What a wait asks for; `timeout` and `lease` in seconds, None for whatever was not asked.

    With a `lease` its events are to be acknowledged by the agent; `done` has what it acknowledges
    with this wait. `types` None with `any_type` false means the topics that the agent's type
    subscribes to.
    """

    types: tuple[str, ...] | None = None
    any_type: bool = False
    topics: tuple[str, ...] | None = None
    filter: Filter = EVERYTHING
    timeout: float = 30.0
    limit: int = 100
    count: int = 1
    since: str | None = None
    deliver: Deliver | None = None
    group: str | None = None
    consumer: str | None = None
    lease: float | None = None
    max_deliveries: int | None = None
    done: tuple[str, ...] = ()
    max_bytes: int | None = None
    """Of an answer's events as they are shown, but for the first."""
    fields: Fields = ALL_FIELDS


class Leased(NamedTuple):
    """The events of an answer as leases: until when, and the `ack_id` of each and of all."""

    until: float
    ack_ids: list[str]
    ack_id: str


@dataclass(frozen=True, slots=True)
class WaitResult:
    """The answer to a wait.

    What a durable subscription brought is to be accepted once the answer was written, or given
    back if the client has gone: `delivery` is for that, None where the client holds the position.
    """

    events: list[Event]
    next_cursor: str
    more_available: bool
    timed_out: bool
    gap: Gap | None = None
    delivery: Delivery | None = None
    drained: bool = False
    leases: Leased | None = None
    warnings: tuple[str, ...] = ()
    hints: tuple[Hint, ...] | None = None
    """Why nothing came, where nothing did."""

    @property
    def ended_by(self) -> str:
        """What ended the wait, in the contract's words."""
        if self.gap is not None:
            return "gap"
        if not self.timed_out:
            return "events"
        return "shutdown" if self.drained else "timeout"

    async def accept(self) -> None:
        """Acknowledge the events."""
        if self.delivery is not None:
            await self.delivery.accept()

    async def give_back(self) -> None:
        """Make the events available to the next wait at once."""
        if self.delivery is not None:
            await self.delivery.give_back()


class Waits:
    """Waits of every agent that asks this bridge."""

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        leasing: Leasing,
        presence: Presence,
        explaining: Explaining,
        *,
        deliver: Deliver = "all",
        max_deliveries: int = 10,
    ) -> None:
        self._leasing = leasing
        self._presence = presence
        self._explaining = explaining
        self._revoked = store.revocations.counted
        self._deliver: Deliver = deliver
        self._max_deliveries = max_deliveries
        self._log = store.log
        self._subscriptions = store.subscriptions
        self._publisher = store.publisher
        self._catalog = catalog
        self.draining = False
        """Whether every wait is to end now, with what it has, and later ones are not to wait."""

    async def wait(self, principal: Principal, query: WaitQuery) -> WaitResult:
        """Wait for events.

        Raises Forbidden, RequestInvalid, CursorInvalid, NotFound or Unavailable, and TokenInvalid
        if the token is revoked meanwhile.
        """
        selection = self.selection(principal, query)
        left = self._until(principal, query)
        warnings = await self._leasing.done(principal, query.done)
        subscription = None
        if query.since is None:
            subscription = Subscription(
                selection,
                principal.agent_id,
                principal.agent_type,
                query.group,
                query.consumer,
            )
        with self._presence.waiting(principal, selection, subscription):
            if subscription is None:
                found = await self._since(principal, selection, query, query.since or "", left)
            else:
                found = await self._durable(subscription, query, left)
        await self._unless_revoked(principal, found)
        hints = None
        if not found.events and found.gap is None:
            hints = tuple(await self._hints(principal, selection, subscription))
        return replace(found, warnings=(*warnings, *found.warnings), hints=hints)

    def selection(self, principal: Principal, query: WaitQuery) -> Selection:
        """Say which events a wait is for: by default those on its agent type's topics.

        Raises Forbidden where it names what the agent may not read.
        """
        topics = query.topics
        if query.types is None and not query.any_type and topics is None:
            subscribed = self._catalog.topics_of(principal.agent_type)
            if subscribed is not None:
                topics = tuple(sorted(subscribed))
                topics = principal.reads.among(None, topics)[1] or topics
        selection = Selection(principal.project, query.types, topics, query.filter)
        return readable(principal, selection)

    async def _unless_revoked(self, principal: Principal, found: WaitResult) -> None:
        """Give back what came for a token that was revoked meanwhile. Raises TokenInvalid."""
        try:
            self._revoked.check(principal)
        except TokenInvalid:
            await found.give_back()
            raise

    async def _hints(
        self, principal: Principal, selection: Selection, subscription: Subscription | None
    ) -> list[Hint]:
        """Say why nothing came. To know that is worth no error."""
        try:
            await self._log.catch_up()
            found = await self._explaining.find(principal, selection)
            hints = self._explaining.hints(found)
            if not found.passing:
                return hints
            if subscription is None:
                more = before_position(found.passing, at_least=not found.looked_at_all)
            else:
                states = await self._subscriptions.states([subscription.name])
                state = states.get(subscription.name)
                given_up_to = 0 if state is None else state.delivered_sequence
                given = (event for event in found.passing if event.sequence <= given_up_to)
                last = next(given, None)
                more = given_before(found.passing, last, at_least=not found.looked_at_all)
        except Unavailable:
            return []
        return [*hints, more]

    async def replies(
        self, principal: Principal, selection: Selection, receipt: Receipt, query: WaitQuery
    ) -> WaitResult:
        """Wait for events that carry a published one's correlation ID and come after it.

        Raises as `wait` does.
        """
        wanted = correlated(selection.filter, receipt.event.correlation_ids[0])
        selection = replace(selection, filter=wanted)
        left = self._until(principal, query)
        found = await self._since(principal, selection, query, receipt.cursor, left)
        await self._unless_revoked(principal, found)
        return found

    def _until(self, principal: Principal, query: WaitQuery) -> Left:
        clock = asyncio.get_running_loop().time
        deadline = clock() + query.timeout

        def left() -> float:
            over = self.draining or self._revoked.of(principal) is not None
            return -inf if over else deadline - clock()

        return left

    async def _durable(
        self, subscription: Subscription, query: WaitQuery, left: Left
    ) -> WaitResult:
        limit = query.max_deliveries or self._max_deliveries
        delivery = self._subscriptions.deliver(
            subscription, limit if query.lease is not None else 0
        )
        leases = None
        # The last event may take it over what is enough, and the whole is to fit an answer.
        enough = max(1, MAX_ANSWER_BYTES - self._publisher.max_event_bytes)
        room = None if query.max_bytes is None else Room(query.max_bytes, query.fields)
        if room is not None:
            await self._log.catch_up()  # what comes next is looked up there
        if query.group is None:
            self._presence.look_who_shares(subscription.name)
        try:
            await delivery.fill(
                left,
                count=query.count,
                limit=query.limit,
                max_bytes=enough,
                deliver=query.deliver or self._deliver,
                has_room=None if room is None else self._room_for(subscription.selection, room),
            )
            if query.lease is not None and delivery.events:
                leases = Leased(*await delivery.lease(query.lease))
            more = delivery.pending > 0 and await self._passes_behind(
                subscription.selection, delivery.read_up_to
            )
        except BaseException:
            await delivery.give_back()
            raise
        shared = query.group is None and (
            delivery.is_shared or self._presence.is_shared_elsewhere(subscription.name)
        )
        return WaitResult(
            delivery.events,
            warnings=(SHARED,) if shared else (),
            next_cursor=write_cursor(self._log.epoch, delivery.read_up_to),
            more_available=more,
            timed_out=delivery.timed_out,
            gap=delivery.gap,
            delivery=delivery,
            drained=self.draining,
            leases=leases,
        )

    def _room_for(self, selection: Selection, room: Room) -> HasRoom:
        """Tell whether the event that comes next, as far as is known, fits beside others."""

        def has_room(events: Sequence[Event]) -> bool:
            coming = self._log.mirror.forwards(selection, events[-1].sequence, self._log.now())
            following = next(coming, None)
            return room.holds(events if following is None else [*events, following.event])

        return has_room

    async def _passes_behind(self, selection: Selection, sequence: int) -> bool:
        """Tell whether any of what a subscription still has passes its filter."""
        if not selection.filter and selection.within is None:
            return True
        await self._log.catch_up()
        one = Filling(1)
        await one.take(self._log.mirror.forwards(selection, sequence, self._log.now()))
        return bool(one.events)

    async def _since(
        self,
        principal: Principal,
        selection: Selection,
        query: WaitQuery,
        since: str,
        left: Left,
    ) -> WaitResult:
        log = self._log
        began = asyncio.get_running_loop().time()
        await log.catch_up()
        position = await locate(log, principal, since)
        after, gap = position.sequence, position.gap
        mirror = log.mirror
        room = None if query.max_bytes is None else Room(query.max_bytes, query.fields)
        filling = Filling(query.limit, room=room)
        events = filling.events
        known = False
        while True:
            if log.epoch != mirror.epoch:
                gap, after = Gap("stream_recreated", None), log.mirror.first_sequence - 1
            mirror, last = log.mirror, log.last_sequence
            await filling.take(mirror.forwards(selection, after, log.now(), last))
            after = events[-1].sequence if filling.full else max(after, last)
            done = filling.full or len(events) >= query.count
            if done or gap is not None or self.draining:
                break
            remaining = left()
            if remaining <= 0:
                if events or known or log.known_at >= began:
                    break
                await see(log, await log.ask_end())  # to say that nothing came, one has to know
                known = True
                continue
            if log.last_sequence > last:
                continue  # more came while others had their turn
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(log.watch(selection), remaining)
        return WaitResult(
            events,
            next_cursor=write_cursor(mirror.epoch, after),
            more_available=filling.full,
            timed_out=not done and gap is None,
            gap=gap,
            drained=self.draining,
        )
