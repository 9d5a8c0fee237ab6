"""Failover: how a subscription goes on when its consumer is lost, on any bridge.

A standing subscription's consumer is replicated like the stream and survives the loss of a server.
One that pins a correlation ID is on one server only, since there are many and each lives shortly: a
replicated consumer takes 65 ms to make in a cluster of three against 2.5, and past some 2,000 of
them a cluster suffers. So when nobody answers for a pinned one, it is deleted and made anew on
another server, where it goes on as far as this process knows. For that every bridge follows its
acknowledgements (`sample_freq`), and asks now and then for what it has not seen itself.
"""

import asyncio
import json
import logging

from nats.aio.client import Client
from nats.aio.msg import Msg

from bridge.errors import Unavailable
from bridge.jetstream.connection import Unanswered
from bridge.jetstream.log.tail import Tail
from bridge.jetstream.message import Message
from bridge.jetstream.subscriptions.consumers import (
    INFO_SECONDS,
    Consumers,
    Leaderless,
    too_many,
)
from bridge.jetstream.subscriptions.delivery_marks import KnownMarks
from bridge.jetstream.subscriptions.registry import Registry
from bridge.subscription import Deliver, Subscription

log = logging.getLogger("bridge.failover")

_ACKNOWLEDGED = "$JS.EVENT.METRIC.CONSUMER.ACK"

RESERVED = 50
"""Consumers that subscriptions leave for the tails of bridges, without which none can start."""

REFRESH_SECONDS = 3.0
REFRESHED_AT_ONCE = 100

ABANDONED_SECONDS = 2.0
"""After so long without an answer a consumer on a single server is made anew on another."""

UNKNOWN_SECONDS = 30.0
"""The same where it is not known how far it had come: its server may come back and tell."""


class Failover:
    """Makes subscriptions' consumers, and makes them again where they are lost.

    `most` is how many consumers the stream may have. `patience` is with a consumer on a single
    server that does not answer: where it is known how far it had come, and where it is not.
    """

    def __init__(
        self,
        consumers: Consumers,
        registry: Registry,
        marks: KnownMarks,
        tail: Tail,
        *,
        most: int,
        patience: tuple[float, float] = (ABANDONED_SECONDS, UNKNOWN_SECONDS),
    ) -> None:
        self._consumers = consumers
        self._registry = registry
        self._marks = marks
        self._tail = tail
        self._most = most - min(RESERVED, most // 2)
        self._patience = patience
        self._followed: set[str] = set()
        self._asking: set[asyncio.Task[None]] = set()

    async def attach(self, client: Client, stream: str) -> None:
        """Follow acknowledgements on a new connection."""
        await client.subscribe(f"{_ACKNOWLEDGED}.{stream}.*", cb=self._on_acknowledged)

    async def _on_acknowledged(self, msg: Msg) -> None:
        told = json.loads(msg.data)
        self._marks.note_ack(told["consumer"], told["consumer_seq"], told["stream_seq"])

    async def watch(self) -> None:
        """Ask how subscriptions stand of which this process has not seen it all, until cancelled.

        Other bridges serve them as well, or an event came while nobody waited or was passed over.
        """
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            names = [name for name in self._marks.with_gaps() if self._is_followed(name)]
            await self._ask(names[:REFRESHED_AT_ONCE])
            await self._registry.find_away()

    def _is_followed(self, name: str) -> bool:
        """Tell whether gaps are worth a question: of what is waited for here, or may be lost."""
        found = self._registry.get(name)
        return name in self._followed or (found is not None and found.selection.pin is not None)

    def follow(self, name: str) -> None:
        """Keep up with how far a subscription comes: it is waited for here."""
        self._followed.add(name)
        if self._marks.of(name).has_gap:
            asking = asyncio.create_task(self._ask([name]))
            self._asking.add(asking)
            asking.add_done_callback(self._asking.discard)

    def unfollow(self, name: str) -> None:
        """Nobody waits for a subscription here any more."""
        self._followed.discard(name)

    async def _ask(self, names: list[str]) -> None:
        try:
            for state in (await self._consumers.infos(names)).values():
                if state is not None:
                    self._marks.learn(state)
        except Unavailable as error:
            log.debug("how subscriptions stand is not known: %s", error)

    async def look_into(self, message: Message) -> None:
        """Find out whether a consumer whose numbers began again is another one, or went back."""
        name = message.consumer
        marks = self._marks.of(name)
        try:
            state = await self._consumers.info(name, INFO_SECONDS)
        except Unavailable:
            state = None
        if state is None:
            marks.doubt()
        elif state.created != marks.created:
            self._marks.learn(state)
            return
        log.info("%s may give again what it gave before", name)
        marks.go_back(message.consumer_sequence, self._tail.now())

    async def make(self, subscription: Subscription, *, deliver: Deliver) -> None:
        """Make the consumer of a new subscription; one that a dead server got, on another.

        One that is known here and is gone, after an idle hour say, goes on where it was.
        Raises Leaderless, Unanswered, Unavailable or RequestInvalid (too many).
        """
        if len(self._registry) >= self._most:
            raise too_many()
        marks = self._marks.of(subscription.name)
        after, again = marks.resume_after, bool(marks.created)
        try:
            if not await self._create(subscription, after, deliver=deliver, again=again):
                await self._registry.bring_up([subscription.name])
        except Unanswered:
            if subscription.selection.pin is None:
                raise
            await self._replace(subscription, after, deliver=deliver, again=again)

    async def repair(self, subscription: Subscription) -> None:
        """Make a consumer again that nobody answers for.

        How far it had come may not be known. Then it begins with everything, even if it was to hear
        only what is new: that may be what was published since.
        Raises Leaderless if it is there after all: a server will lead it, or has to return.
        """
        await self._tail.verify()  # a consumer also goes with its stream, of which readers are told
        marks = self._marks.of(subscription.name)
        now = asyncio.get_running_loop().time()
        if marks.unanswered_since is None:
            marks.unanswered_since = now
        unanswered = now - marks.unanswered_since
        marks.forget_owed(self._is_gone)
        after = marks.resume_after
        if await self._is_made(subscription, after):
            log.info("subscription %s is made again behind %s", subscription.name, after)
        elif subscription.selection.pin is not None and unanswered > self._patience[after is None]:
            await self._replace(subscription, after, deliver="all", again=True)
        else:
            # It may as well be another by now, which another bridge has made.
            self._marks.doubt(subscription.name)
            await self._ask([subscription.name])
            raise Leaderless("no NATS server leads the subscription right now; try again")

    async def _is_made(self, subscription: Subscription, after: int | None) -> bool:
        """Make a consumer unless it is there; False if it is, and nobody answers for it."""
        try:
            return await self._create(subscription, after, deliver="all", again=True)
        except Unanswered:
            if subscription.selection.pin is None:
                raise
            return False

    async def _replace(
        self, subscription: Subscription, after: int | None, *, deliver: Deliver, again: bool
    ) -> None:
        """Delete a consumer that nobody answers for, and make it on another server."""
        name = subscription.name
        log.warning("no NATS server answers for %s; making it on another behind %s", name, after)
        await self._consumers.api.abandon(name)
        await self._create(subscription, after, deliver=deliver, again=again)

    async def _create(
        self, subscription: Subscription, after: int | None, *, deliver: Deliver, again: bool
    ) -> bool:
        made = await self._consumers.create(subscription, deliver=deliver, after=after, again=again)
        self._registry.add(subscription)
        if made is None:
            return False
        marks = self._marks.of(subscription.name)
        if made.created != marks.created:  # it begins before what was owed
            marks.forget_owed(lambda _: True)
        self._marks.learn(made)
        return True

    def _is_gone(self, sequence: int) -> bool:
        """Tell whether a message is no longer retained: nobody can be given it any more."""
        mirror = self._tail.mirror
        entry = mirror.by_sequence(sequence)
        if entry is None:
            return sequence <= mirror.last_sequence
        return entry.expires_at <= self._tail.now()
