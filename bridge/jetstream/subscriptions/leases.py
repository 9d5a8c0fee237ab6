"""Leases: deliveries that are an agent's alone for a time, and what becomes of them.

A lease is a negative acknowledgement with a delay: JetStream keeps the message pending, delivers it
again after the delay, and takes an acknowledgement meanwhile. So a lease is in the consumer, not in
a bridge, and `ack_id` is text that any bridge understands: which delivery it is, and until when.

Every acknowledgement is sent as a request. One that is only published is lost without a word while
its consumer has no leader, for seconds after the death of a server.

A single server that is killed may forget the leases of its last moments, and deliver their events
again. So bridges tell each other what they have leased, and put off again what comes too early.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.errors import Unavailable
from bridge.events import DELIVERY_FAILED, MAX_TTL_SECONDS, Event, correlation_ids, rfc3339
from bridge.jetstream.confirmations import Confirmations
from bridge.jetstream.log.tail import Tail
from bridge.jetstream.message import ACK, NAK, TERM, Message
from bridge.jetstream.neighbours import Neighbours
from bridge.jetstream.publisher import Publisher
from bridge.jetstream.subscriptions.ack_ids import Lease, read_ack_id, write_ack_id
from bridge.jetstream.subscriptions.delivery_marks import KnownMarks
from bridge.subscription import Subscription

SPARE_SECONDS = 2.0
"""How much longer than an agent is told JetStream waits: a server that was killed may be early by
a second, and clocks differ by a little."""

RESTART_SECONDS = 1.0
"""How long after a start of the server other bridges may take to be there again."""

CONFIRM_SECONDS = 5.0
ATTEMPT_SECONDS = 1.0
PAUSE_SECONDS = 0.1

FAILURE_TOPIC = "error"
PUBLISHER = "agent-event-bridge"

_NANOSECONDS = 1_000_000_000
MAX_SETTLED = MAX_HELD = 50_000
"""Of so many leases this process remembers that they run, or were settled."""


Place = tuple[str, int]
"""A subscription's name and the sequence of an event that it was given."""


@dataclass(frozen=True, slots=True)
class Held:
    """When an event is its reader's alone, in Unix seconds by the server's clock."""

    began: float
    until: float


class Leases:
    """Begins, extends and ends leases of this stream's deliveries, through whichever bridge."""

    def __init__(
        self,
        neighbours: Neighbours,
        confirmations: Confirmations,
        publisher: Publisher,
        marks: KnownMarks,
        tail: Tail,
        find: Callable[[str], Subscription | None],
        stream: str,
    ) -> None:
        self._neighbours = neighbours
        self._confirmations = confirmations
        self._publisher = publisher
        self._marks = marks
        self._tail = tail
        self._find = find
        self._stream = stream
        self._settled: dict[Lease, str] = {}
        self._held: dict[Place, Held] = {}
        neighbours.hear("settled", self._on_settled)
        neighbours.hear("leased", self._on_leased)
        neighbours.know(self._known)
        self.leased = self.acknowledged = self.released = self.dead = self.redriven = 0

    def now(self) -> float:
        """Give the time in Unix seconds by the server's clock, which leases end by."""
        return self._tail.now()

    def read(self, ack_id: str) -> list[Lease]:
        """Read an `ack_id`. Raises RequestInvalid."""
        return read_ack_id(ack_id, self._stream)

    def is_current(self, lease: Lease) -> bool:
        """Tell whether a lease has not ended, and is of the stream that there is.

        One that was settled has ended: its event is done, or may be another's by now. JetStream
        would take an acknowledgement all the same. Raises Unavailable before the stream was read.
        """
        known = self._tail.mirror.has_known(lease.epoch, lease.sequence)
        if not known or self.now() >= lease.until:
            return False
        return lease not in self._settled

    def was_settled(self, lease: Lease, verb: str) -> bool:
        """Tell whether this has been done with a lease before, as by a request that is repeated."""
        return self._settled.get(lease) == verb

    def _known(self) -> Iterator[tuple[str, Any]]:
        """Give what other bridges should know: the leases that run, and those that were settled."""
        now = self.now()
        held = [
            [*place, one.began, one.until] for place, one in self._held.items() if one.until > now
        ]
        yield "leased", held
        settled = [
            [write_ack_id(lease.epoch, lease.until, [lease.reply]), verb]
            for lease, verb in self._settled.items()
            if lease.until > now
        ]
        yield "settled", settled

    def _on_settled(self, settled: list[list[str]]) -> None:
        for ack_id, verb in settled:
            for lease in self.read(ack_id):
                self._remember(lease, verb)

    def _on_leased(self, held: list[tuple[str, int, float, float]]) -> None:
        for consumer, sequence, began, until in held:
            self._held.pop((consumer, sequence), None)
            if until > began:
                self._held[consumer, sequence] = Held(began, until)
        while len(self._held) > MAX_HELD:
            del self._held[next(iter(self._held))]

    async def _note_held(self, places: Iterable[Place], until: float) -> None:
        """Let every bridge know until when events are their readers'; 0 for those given back."""
        began = self.now()
        held = [(*place, began, until) for place in places]
        self._on_leased(held)
        if until:
            self._neighbours.tell_soon("leased", held)
        else:  # before it can come again
            await self._neighbours.tell("leased", held)

    def leased_until(self, name: str, sequence: int) -> float | None:
        """Say until when an event is its reader's alone, as far as this bridge has heard."""
        held = self._held.get((name, sequence))
        return held.until if held is not None and held.until > self.now() else None

    async def hear_of_restart(self, messages: Sequence[Message]) -> None:
        """Wait until other bridges have told what they leased before the server was started again.

        They are connected again within a moment. What came after the start needs no waiting for.
        """
        restarted_at = self._marks.restarted_at
        rest = restarted_at + RESTART_SECONDS - self.now()
        if rest > 0 and any(message.stored_at < restarted_at for message in messages):
            await asyncio.sleep(min(rest, RESTART_SECONDS))

    def left(self, message: Message) -> float:
        """Say for how many seconds a message is somebody's alone, which its server has forgotten.

        Only one that was started again since has: any other delivers a lease's event when it is
        over or given back.
        """
        held = self._held.get((message.consumer, message.sequence))
        if held is None or held.began >= self._marks.restarted_at:
            return 0.0
        return max(0.0, held.until - self.now())

    async def put_off(self, message: Message, seconds: float) -> None:
        """Have a message that came too early delivered later. Raises Unavailable."""
        await self._confirm(message.reply, _nak(seconds + SPARE_SECONDS))

    async def _note_settled(self, lease: Lease, verb: str) -> None:
        """Remember that a lease was settled, here and on the other bridges.

        A request whose answer was cut is repeated, through any of them. A release that was done
        twice would take the event from whoever has it by then.
        """
        self._remember(lease, verb)
        ack_id = write_ack_id(lease.epoch, lease.until, [lease.reply])
        self._neighbours.tell_soon("settled", [[ack_id, verb]])

    def _remember(self, lease: Lease, verb: str) -> None:
        self._settled[lease] = verb
        if verb != "release":
            self._marks.of(lease.consumer).note_done(lease.sequence)
        self._held.pop((lease.consumer, lease.sequence), None)
        if len(self._settled) > MAX_SETTLED:
            del self._settled[next(iter(self._settled))]

    async def begin(self, messages: Sequence[Message], seconds: float) -> tuple[float, list[str]]:
        """Lease messages, and give until when, and where each is answered. Raises Unavailable."""
        replies = [message.reply for message in messages]
        until = await self._postpone(replies, seconds)
        await self._note_held([(each.consumer, each.sequence) for each in messages], until)
        self.leased += len(replies)
        return until, replies

    def written(self, until: float, replies: Sequence[str]) -> str:
        """Write leases as an `ack_id`."""
        return write_ack_id(self._tail.epoch, until, replies)

    async def acknowledge(self, lease: Lease) -> None:
        """End a lease: its event is done. Raises Unavailable."""
        if self.was_settled(lease, "ack"):
            return
        await self._confirm(lease.reply, ACK)
        await self._note_settled(lease, "ack")
        self.acknowledged += 1

    async def extend(self, lease: Lease, seconds: float) -> tuple[str, float]:
        """Begin a lease anew; gives its new `ack_id`, and until when. Raises Unavailable."""
        until = await self._postpone([lease.reply], seconds)
        await self._note_held([(lease.consumer, lease.sequence)], until)
        return self.written(until, [lease.reply]), until

    async def release(self, lease: Lease, delay: float) -> None:
        """Give an event back, for delivery after a delay in seconds. Raises Unavailable."""
        if self.was_settled(lease, "release"):
            return
        await self._note_held([(lease.consumer, lease.sequence)], 0.0)  # before it can come again
        await self._confirm(lease.reply, _nak(delay) if delay > 0 else NAK)
        await self._note_settled(lease, "release")
        self.released += 1

    async def _postpone(self, replies: Sequence[str], seconds: float) -> float:
        nak = _nak(seconds + SPARE_SECONDS)
        until = self.now() + seconds  # before the server hears of it: its own time ends later
        if len(replies) == 1:  # for which no task has to be made
            await self._confirm(replies[0], nak)
        else:
            await asyncio.gather(*(self._confirm(reply, nak) for reply in replies))
        return until

    async def _confirm(self, reply: str, payload: bytes) -> None:
        """Send an acknowledgement until JetStream has it. Raises Unavailable."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + CONFIRM_SECONDS
        while True:
            try:
                await self._confirmations.ask(reply, payload, ATTEMPT_SECONDS)
                return
            except (TimeoutError, Unavailable) as error:
                if deadline - loop.time() <= PAUSE_SECONDS:
                    raise Unavailable(
                        "JetStream did not confirm it; the lease runs on, try again in a moment"
                    ) from error
                await asyncio.sleep(PAUSE_SECONDS)

    async def reject(self, lease: Lease, reason: str) -> None:
        """Make an event a dead letter of its subscription. Raises Unavailable."""
        if self.was_settled(lease, "reject"):
            return
        entry = self._tail.mirror.by_sequence(lease.sequence)
        event = entry.event if entry is not None else None
        subscription = self._find(lease.consumer)
        if subscription is not None:
            await self._tell(subscription, event, lease.sequence, lease.delivered, reason)
        await self._confirm(lease.reply, TERM)
        await self._note_settled(lease, "reject")

    async def bury(self, subscription: Subscription, message: Message, event: Event) -> None:
        """Make a message that was delivered too often a dead letter. Raises Unavailable."""
        tries = message.delivered - 1
        reason = f"not acknowledged in {tries} deliveries"
        await self._tell(subscription, event, message.sequence, tries, reason)
        await self._confirm(message.reply, TERM)
        self._marks.of(message.consumer).note_done(message.sequence)

    async def _tell(
        self,
        subscription: Subscription,
        event: Event | None,
        sequence: int,
        deliveries: int,
        reason: str,
    ) -> None:
        """Publish that a delivery failed: once, whichever bridges see it, and before it ends.

        The event's ID is made of what failed. JetStream knows it for its duplicate window, and the
        stream for as long as it is retained.
        """
        selection = subscription.selection
        key = f"{subscription.name}\0{sequence}\0{self._tail.epoch}"
        event_id = f"dead-{hashlib.sha256(key.encode()).hexdigest()[:32]}"
        await self._tail.catch_up()
        if self._tail.mirror.by_id(selection.project, event_id) is not None:
            return
        whose = {"agent": subscription.agent}
        if subscription.group is not None:
            whose = {"group": subscription.group}
        data = {
            "event_id": event.event_id if event else None,
            "event_type": event.event_type if event else None,
            "subscription": subscription.name,
            **whose,
            "deliveries": deliveries,
            "reason": reason,
        }
        correlation = event.correlation_id if event else None
        failure = Event(
            event_id=event_id,
            event_type=DELIVERY_FAILED,
            publisher=PUBLISHER,
            agent_id=None,
            agent_type=None,
            topic=FAILURE_TOPIC,
            data=data,
            correlation_id=correlation,
            priority="normal",
            timestamp=rfc3339(time.time()),
            ttl_seconds=MAX_TTL_SECONDS,
            cursor="",
            project=selection.project,
            correlation_ids=correlation_ids(correlation, data),
        )
        publication = self._publisher.prepare(failure, message_id=f"{selection.project}/{event_id}")
        if not (await publication.store()).duplicate:
            self.dead += 1

    async def redrive(self, subscription: Subscription, event: Event) -> None:
        """Deliver an event to one subscription alone once more. Raises Unavailable.

        It is stored again, marked for this subscription: no other is given it, and no history.
        """
        again = f"redrive/{subscription.name}/{event.event_id}/{time.time_ns()}"
        publication = self._publisher.prepare(event, message_id=again, only_for=subscription.name)
        await publication.store()
        self.redriven += 1


def _nak(seconds: float) -> bytes:
    return b'-NAK {"delay": %d}' % int(seconds * _NANOSECONDS)
