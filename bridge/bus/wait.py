"""Waiting: for a durable subscription's next events, or for those behind a position."""

import asyncio
import contextlib
from dataclasses import dataclass, replace
from math import inf
from typing import NamedTuple

from bridge.bus.history import MAX_ANSWER_BYTES, Filling
from bridge.bus.leasing import Leasing
from bridge.bus.ports import Delivery, EventLog, EventSink, Left, Subscriptions
from bridge.bus.positions import locate, see
from bridge.bus.publish import Receipt
from bridge.catalog import Catalog
from bridge.cursors import write_cursor
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
        log: EventLog,
        subscriptions: Subscriptions,
        publisher: EventSink,
        catalog: Catalog,
        leasing: Leasing,
        *,
        deliver: Deliver = "all",
        max_deliveries: int = 10,
    ) -> None:
        self._leasing = leasing
        self._deliver: Deliver = deliver
        self._max_deliveries = max_deliveries
        self._log = log
        self._subscriptions = subscriptions
        self._publisher = publisher
        self._catalog = catalog
        self.draining = False
        """Whether every wait is to end now, with what it has, and later ones are not to wait."""

    async def wait(self, principal: Principal, query: WaitQuery) -> WaitResult:
        """Wait for events. Raises RequestInvalid, CursorInvalid, NotFound or Unavailable."""
        topics = query.topics
        if query.types is None and not query.any_type and topics is None:
            subscribed = self._catalog.topics_of(principal.agent_type)
            topics = None if subscribed is None else tuple(sorted(subscribed))
        selection = Selection(principal.project, query.types, topics, query.filter)
        left = self._until(asyncio.get_running_loop().time() + query.timeout)
        warnings = await self._leasing.done(principal, query.done)
        if query.since is not None:
            found = await self._since(selection, query, query.since, left)
        else:
            found = await self._durable(
                Subscription(
                    selection,
                    principal.agent_id,
                    principal.agent_type,
                    query.group,
                    query.consumer,
                ),
                query,
                left,
            )
        return replace(found, warnings=(*warnings, *found.warnings))

    async def replies(self, receipt: Receipt, query: WaitQuery) -> WaitResult:
        """Wait for events that carry a published one's correlation ID and come after it.

        Raises as `wait` does.
        """
        event = receipt.event
        wanted = correlated(query.filter, event.correlation_ids[0])
        selection = Selection(event.project, query.types, query.topics, wanted)
        left = self._until(asyncio.get_running_loop().time() + query.timeout)
        return await self._since(selection, query, receipt.cursor, left)

    def _until(self, deadline: float) -> Left:
        clock = asyncio.get_running_loop().time
        return lambda: -inf if self.draining else deadline - clock()

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
        try:
            await delivery.fill(
                left,
                count=query.count,
                limit=query.limit,
                max_bytes=enough,
                deliver=query.deliver or self._deliver,
            )
            if query.lease is not None and delivery.events:
                leases = Leased(*await delivery.lease(query.lease))
            more = delivery.pending > 0 and await self._passes_behind(
                subscription.selection, delivery.read_up_to
            )
        except BaseException:
            await delivery.give_back()
            raise
        shared = delivery.is_shared and query.group is None
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

    async def _passes_behind(self, selection: Selection, sequence: int) -> bool:
        """Tell whether any of what a subscription still has passes its filter."""
        if not selection.filter:
            return True
        await self._log.catch_up()
        one = Filling(1)
        await one.take(self._log.mirror.forwards(selection, sequence, self._log.now()))
        return bool(one.events)

    async def _since(
        self, selection: Selection, query: WaitQuery, since: str, left: Left
    ) -> WaitResult:
        log = self._log
        began = asyncio.get_running_loop().time()
        await log.catch_up()
        position = await locate(log, selection.project, since)
        after, gap = position.sequence, position.gap
        mirror = log.mirror
        filling = Filling(query.limit)
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
