"""Deliveries: what a wait has in hand of a subscription, until it is accepted or given back."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf

from bridge.errors import Unavailable
from bridge.events import Event, Gap
from bridge.jetstream.log.mirror import TURN_BYTES
from bridge.jetstream.log.tail import Tail
from bridge.jetstream.message import Message
from bridge.jetstream.subscriptions.consumers import INFO_SECONDS, Consumers, ConsumerState
from bridge.jetstream.subscriptions.delivery_marks import DeliveryMarks, KnownMarks
from bridge.jetstream.subscriptions.durables import Durables
from bridge.jetstream.subscriptions.leases import Leases
from bridge.jetstream.subscriptions.registry import Registry
from bridge.jetstream.subscriptions.waiters import Remaining
from bridge.subscription import Deliver, Subscription

log = logging.getLogger("bridge.deliveries")

RENEWALS_PER_ACK_WAIT = 3


@dataclass(frozen=True, slots=True)
class Missed:
    """Events that a subscription was not given and never will be.

    `note_told` is to be called once the reader knows, so that no later wait tells it again.
    """

    gap: Gap
    note_told: Callable[[], None]


class Deliveries:
    """Makes deliveries of durable subscriptions, and tells how these stand.

    `ack_wait` is in seconds: JetStream delivers a message again when it hears nothing for so long.
    """

    def __init__(
        self,
        durables: Durables,
        consumers: Consumers,
        registry: Registry,
        marks: KnownMarks,
        tail: Tail,
        leases: Leases,
        *,
        ack_wait: float,
    ) -> None:
        self.leases = leases
        self._durables = durables
        self._consumers = consumers
        self._registry = registry
        self._marks = marks
        self._tail = tail
        self._ack_wait = ack_wait
        self._writing: set[asyncio.Task[None]] = set()
        self.given_back = 0
        """How many events went back because who was to get them had gone."""
        self.delete = durables.delete

    def deliver(self, subscription: Subscription, max_deliveries: int = 0) -> "HeldEvents":
        """Begin a delivery, with nothing in hand yet.

        What has been delivered `max_deliveries` times becomes a dead letter; 0 for no limit.
        """
        return HeldEvents(
            self, self._durables, self._tail, subscription, self._ack_wait, max_deliveries
        )

    async def states(self, names: Sequence[str]) -> dict[str, ConsumerState | None]:
        """Ask how subscriptions stand; see `Consumers.infos`. Raises Unavailable."""
        return await self._consumers.infos(names)

    def passed(self, subscription: Subscription) -> int:
        """Give the sequence up to which a subscription is known to have been given everything."""
        return self._marks.of(subscription.name).resume_after or 0

    def knows_done(self, name: str, sequence: int) -> bool:
        """Tell whether this bridge knows an event to be acknowledged."""
        return self._marks.of(name).is_settled(sequence)

    async def missed(self, subscription: Subscription) -> Missed | None:
        """Find what went before the subscription was given it.

        JetStream knows how far its consumer is acknowledged and where the stream begins. Events
        that lie between are lost, unless the mirror has seen that none of them was for it. What is
        not known for want of an answer is asked again next time.
        """
        name, selection = subscription.name, subscription.selection
        if self._registry.had_before(name):
            gap = Gap("stream_recreated", None)
            return Missed(gap, partial(self._registry.forget_before, name))
        marks = self._marks.of(name)
        if not (self._registry.has(name) or marks.created):
            return None
        known = max(marks.resume_after or 0, marks.accounted)
        try:
            if not self._tail.mirror.may_have_lost(known):
                return None
            await self._tail.catch_up()
            if known + 1 >= self._tail.mirror.first_sequence:
                return None
            state = await self._consumers.info(name, INFO_SECONDS)
        except Unavailable as error:
            log.debug("what %s may have missed is not known: %s", name, error)
            return None
        if state is not None:  # another bridge may have delivered it, or told of it
            known = max(known, state.floor[1], state.accounted)
        mirror = self._tail.mirror
        note_told = partial(self._account, marks, state, mirror.nothing_up_to(selection, known))
        count = mirror.lost_to(selection, known)
        if known + 1 < mirror.first_sequence and count != 0:
            # Which of them a filter would have passed is not known.
            return Missed(Gap("evicted", None if selection.filter else count), note_told)
        note_told()
        return None

    def _account(self, marks: DeliveryMarks, state: ConsumerState | None, sequence: int) -> None:
        """Note that up to a sequence nothing was lost, or its reader was told."""
        marks.accounted = max(marks.accounted, sequence)
        if state is not None:
            writing = asyncio.create_task(self._write_account(state, sequence))
            self._writing.add(writing)
            writing.add_done_callback(self._writing.discard)

    async def _write_account(self, state: ConsumerState, sequence: int) -> None:
        try:
            await self._consumers.account(state, sequence)
        except Unavailable as error:
            log.info("that %s was told is known to this bridge alone: %s", state.name, error)


class HeldEvents:
    """Events in hand, kept from being delivered again until they are accepted or given back."""

    def __init__(
        self,
        deliveries: Deliveries,
        durables: Durables,
        tail: Tail,
        subscription: Subscription,
        ack_wait: float,
        max_deliveries: int,
    ) -> None:
        self._max_deliveries = max_deliveries
        self._leased = False
        self._deliveries = deliveries
        self._durables = durables
        self._tail = tail
        self._subscription = subscription
        self._interval = ack_wait / RENEWALS_PER_ACK_WAIT
        self._epoch = tail.epoch
        self._missed: Missed | None = None
        self._arrived: list[Message] = []
        self._messages: dict[tuple[int, float], Message] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._renewals: set[asyncio.Task[None]] = set()
        self.events: list[Event] = []
        self.pending = 0
        """How many more messages the consumer has."""
        self.read_up_to = tail.last_sequence
        """Up to this sequence nothing is left for the subscription but what is in hand."""
        self.timed_out = False
        self.is_shared = durables.is_waited_for(subscription.name)

    @property
    def gap(self) -> Gap | None:
        """What the subscription lost, as of a stream that went while the wait was open."""
        if self._tail.epoch != self._epoch:
            return Gap("stream_recreated", None)
        return self._missed.gap if self._missed else None

    async def fill(
        self,
        left: Remaining,
        *,
        count: int,
        limit: int,
        max_bytes: int,
        deliver: Deliver,
        has_room: Callable[[Sequence[Event]], bool] | None = None,
    ) -> None:
        """Take events until there are `count`, but no more than `limit`; time may be up before.

        Ends early with about `max_bytes`, and at once where there is a gap to be told of. `left`
        gives minus infinity when the wait is to end with what is in hand. With `has_room` they are
        taken one by one, for as long as it tells of those in hand that another fits.
        Raises Unavailable, RequestInvalid (no room for another subscription) or NotFound (it was
        deleted meanwhile); whatever is in hand then is to be given back.
        """
        self._missed = await self._deliveries.missed(self._subscription)
        remaining = left if self._missed is None else _none_left
        size, there, full = 0, None, False
        while size < max_bytes and not full:
            enough = len(self.events) >= count
            if enough and (has_room is None or not self.pending or len(self.events) >= limit):
                break
            messages = await self.fetch(
                limit - len(self.events) if has_room is None else 1,
                _none_left if enough else remaining,
                deliver=deliver,
                holds=count > 1 or has_room is not None,
            )
            if not messages:
                break
            size += await self._take(messages)
            full = has_room is not None and bool(self.events) and not has_room(self.events)
            self.read_up_to = max(self.read_up_to if self.pending else 0, messages[-1].sequence)
            self.pending = messages[-1].pending
            # At the deadline what was there is still looked through, but not what comes after:
            # a subscription whose filter rejects all that is published would never end.
            there = self.pending if there is None else there - len(messages)
            if remaining() <= 0 and (there <= 0 or remaining() == -inf):
                break
        self.read_up_to = max(self.read_up_to, self._deliveries.passed(self._subscription))
        had_room = size < max_bytes and not full
        self.timed_out = len(self.events) < count and had_room and self._missed is None

    async def _take(self, messages: Sequence[Message]) -> int:
        """Keep what the subscription wants, so many bytes, and acknowledge the rest at once.

        What nobody will be shown must not fill the window of unanswered messages.
        """
        selection, epoch, size, read = self._subscription.selection, self._tail.epoch, 0, 0
        name = self._subscription.name
        await self._deliveries.leases.hear_of_restart(messages)
        for message in messages:
            is_for = message.is_for(name, selection.indexed_pin)
            event = message.event(epoch) if is_for else None
            if event is None or not selection.accepts(event):
                await message.ack()
                self._messages.pop(_identity(message), None)
            elif seconds := self._deliveries.leases.left(message):
                await self._deliveries.leases.put_off(message, seconds)
                self._messages.pop(_identity(message), None)
            elif 0 < self._max_deliveries < message.delivered:
                await self._deliveries.leases.bury(self._subscription, message, event)
                self._messages.pop(_identity(message), None)
            else:
                self.events.append(event)
                size += len(message.data)
            read += len(message.data)
            if read >= TURN_BYTES:
                read = 0
                await asyncio.sleep(0)
        return size

    async def fetch(
        self, limit: int, remaining: Remaining, *, deliver: Deliver = "all", holds: bool = False
    ) -> list[Message]:
        """Wait for the next messages and take them in hand; see `Durables.fetch`.

        One that was in hand and has come again, as from a new consumer, is left out: the later
        delivery is the one to answer. An empty list means that time is up.
        """
        while True:
            arrived = self._arrived
            await self._durables.fetch(
                self._subscription, limit, remaining, arrived, deliver=deliver, holds=holds
            )
            self._arrived = []
            if not arrived:
                return []
            new = [message for message in arrived if _identity(message) not in self._messages]
            self._messages.update((_identity(message), message) for message in arrived)
            if self._timer is None:
                self._arm()
            if new:
                return new

    async def lease(self, seconds: float) -> tuple[float, list[str], str]:
        """Make the events their reader's alone for a time, instead of accepting them.

        Gives until when, in Unix seconds by the server's clock, the `ack_id` of each, and one that
        stands for all. Raises Unavailable.
        """
        leases, messages = self._deliveries.leases, list(self._messages.values())
        # Word of progress that came behind the lease would shorten it to `ack_wait`.
        self._stop_renewing()
        self._leased = True
        until, replies = await leases.begin(messages, seconds)
        each = [leases.written(until, [reply]) for reply in replies]
        whole = each[0] if len(each) == 1 else leases.written(until, replies) if replies else ""
        return until, each, whole

    async def accept(self) -> None:
        """Acknowledge every message: it has reached its reader, with what `gap` tells.

        What was leased is its reader's to acknowledge.
        """
        messages = self._release()
        for message in messages if not self._leased else ():
            await message.ack()
        if self._missed is not None:
            self._missed.note_told()

    async def give_back(self) -> None:
        """Give every message back, in order: its reader has gone."""
        messages = self._release()
        self._deliveries.given_back += len(messages)
        await self._durables.give_back(self._subscription.name, messages + self._arrived)

    def _stop_renewing(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for renewal in self._renewals:
            renewal.cancel()

    def _release(self) -> list[Message]:
        self._stop_renewing()
        messages, self._messages = self._messages, {}
        return list(messages.values())

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._renew)

    def _renew(self) -> None:
        # An event held for `count` longer than `ack_wait` would be delivered to another wait too.
        task = asyncio.create_task(_renew_all(list(self._messages.values())))
        self._renewals.add(task)
        task.add_done_callback(self._renewals.discard)
        self._arm()


def _none_left() -> float:
    return 0.0


def _identity(message: Message) -> tuple[int, float]:
    # A stream that was made again gives its sequences a second time.
    return message.sequence, message.stored_at


async def _renew_all(messages: list[Message]) -> None:
    for message in messages:
        await message.in_progress()
