"""Durable subscriptions: which have waits in this process, and how a lost consumer is replaced.

A standing subscription's consumer is replicated like the stream and survives the loss of a server.
One that pins a correlation ID is on one server only, since there are many and each lives shortly:
when nobody answers for it, it is deleted and made anew on another server, where it goes on as far
as this process knows.
"""

import asyncio
import logging
from dataclasses import dataclass, replace
from functools import partial

from bridge.errors import Unavailable
from bridge.interest import Subscription
from bridge.jetstream.connection import Unanswered
from bridge.jetstream.consumers import INFO_SECONDS, Consumers, Leaderless, too_many
from bridge.jetstream.feed import LEADERLESS_PAUSE_SECONDS, Feed, Remaining
from bridge.jetstream.message import Message
from bridge.jetstream.places import Places
from bridge.jetstream.progress import Progress
from bridge.jetstream.pulls import Inbox
from bridge.jetstream.registry import Registry
from bridge.jetstream.tail import Tail

log = logging.getLogger("bridge.durables")

RESERVED = 50
"""Consumers that subscriptions leave for the tails of bridges, without which none can start."""

REFRESH_SECONDS = 3.0
REFRESHED_AT_ONCE = 100

ABANDONED_SECONDS = 5.0
"""After so long without an answer a consumer on a single server is made anew on another."""

UNKNOWN_SECONDS = 30.0
"""The same where it is not known how far it had come: its server may come back and tell."""


@dataclass(frozen=True, slots=True)
class Missed:
    """How many events were evicted, `up_to` a sequence, before a subscription was given them."""

    count: int
    up_to: int
    progress: Progress

    def note_told(self) -> None:
        """Note that the reader knows, so that the next wait does not tell it again."""
        self.progress.accounted = max(self.progress.accounted, self.up_to)


class Durables:
    """Every durable subscription that has waits in this process."""

    def __init__(
        self,
        inbox: Inbox,
        consumers: Consumers,
        registry: Registry,
        places: Places,
        tail: Tail,
        *,
        most: int,
    ) -> None:
        self._most = most - min(RESERVED, most // 2)
        self._inbox = inbox
        self._consumers = consumers
        self._registry = registry
        self._places = places
        self._tail = tail
        self._feeds: dict[str, Feed] = {}
        self._asking: set[asyncio.Task[None]] = set()

    async def watch(self) -> None:
        """Ask how subscriptions stand of which this process has not seen it all, until cancelled.

        Other bridges serve them as well, or an event came while nobody waited or was passed over.
        """
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            names = [name for name in self._places.with_gaps() if self._is_followed(name)]
            await self._ask(names[:REFRESHED_AT_ONCE])
            await self._registry.find_away()

    async def _ask(self, names: list[str]) -> None:
        try:
            for state in (await self._consumers.infos(names)).values():
                if state is not None:
                    self._places.learn(state)
        except Unavailable as error:
            log.debug("how subscriptions stand is not known: %s", error)

    def _is_followed(self, name: str) -> bool:
        """Tell whether gaps are worth a question: of what is waited for here, or may be lost."""
        found = self._registry.get(name)
        return name in self._feeds or (found is not None and found.interest.pin is not None)

    def wake(self) -> None:
        """Make every wait look again at how much time it has left."""
        for feed in self._feeds.values():
            feed.wake()

    async def missed(self, subscription: Subscription) -> Missed | None:
        """Find what was evicted before the subscription was given it, as far as is known here.

        What is not known for want of an answer is asked again next time.
        """
        name, interest = subscription.name, subscription.interest
        progress = self._places.of(name)
        told = progress.accounted
        known = max(progress.resume_after or 0, told)
        try:
            mirror = self._tail.mirror
            if not (self._registry.has(name) and mirror.may_evict and mirror.is_old(known)):
                return None
            await self._tail.catch_up()
            mirror = self._tail.mirror
            missed = Missed(mirror.lost_to(interest, known), mirror.first_sequence - 1, progress)
            if missed.count:  # but another bridge may have delivered it
                state = await self._consumers.info(name, INFO_SECONDS)
                floor = max(state.floor[1], told) if state is not None else missed.up_to
                missed = replace(missed, count=mirror.lost_to(interest, floor))
        except Unavailable as error:
            log.debug("what %s may have missed is not known: %s", name, error)
            return None
        if missed.count:
            return missed
        missed.note_told()
        return None

    async def fetch(
        self,
        subscription: Subscription,
        limit: int,
        remaining: Remaining,
        *,
        only_new: bool = False,
    ) -> list[Message]:
        """Wait for a subscription's next messages, making its consumer if it does not exist.

        `only_new` says where a new consumer begins. See `Feed.fetch` for the rest.
        """
        name = subscription.name
        while not self._registry.has(name):
            try:
                await self._make(subscription, only_new=only_new)
            except (Leaderless, Unanswered):
                if remaining() <= LEADERLESS_PAUSE_SECONDS:
                    raise
                await asyncio.sleep(LEADERLESS_PAUSE_SECONDS)
        self._registry.add(subscription)
        feed = self._feeds.get(name)
        if feed is None:
            feed = self._open(subscription)
        try:
            return await feed.fetch(limit, remaining)
        finally:
            if feed.idle and self._feeds.get(name) is feed:
                del self._feeds[name]
                self._inbox.unlisten(name)

    def _open(self, subscription: Subscription) -> Feed:
        name, repair = subscription.name, partial(self._repair, subscription)
        feed = self._feeds[name] = Feed(name, self._inbox, repair, self._places)
        self._inbox.listen(name, feed.receive)
        if self._places.of(name).has_gap:
            asking = asyncio.create_task(self._ask([name]))
            self._asking.add(asking)
            asking.add_done_callback(self._asking.discard)
        return feed

    async def _repair(self, subscription: Subscription) -> None:
        """Make a consumer again that nobody answers for.

        How far it had come may not be known. Then it begins with everything, even if it was to hear
        only what is new: that may be what was published since.
        Raises Leaderless if it is there after all: a server will lead it, or has to return.
        """
        await self._tail.verify()
        progress = self._places.of(subscription.name)
        unanswered = progress.unanswered()
        progress.forget_owed(self._is_gone)
        after = progress.resume_after
        limit = UNKNOWN_SECONDS if after is None else ABANDONED_SECONDS
        if await self._answers(subscription, after):
            log.info("subscription %s is made again behind %s", subscription.name, after)
        elif subscription.interest.pin is not None and unanswered > limit:
            await self._replace(subscription, after, only_new=False)
        else:
            raise Leaderless("no NATS server leads the subscription right now; try again")

    async def _answers(self, subscription: Subscription, after: int | None) -> bool:
        """Make a consumer unless it is there; False if it is, and nobody answers for it."""
        try:
            return await self._create(subscription, after, only_new=False)
        except Unanswered:
            if subscription.interest.pin is None:
                raise
            return False

    async def _make(self, subscription: Subscription, *, only_new: bool) -> None:
        """Make the consumer of a new subscription; one that a dead server got, on another."""
        if len(self._registry) >= self._most:
            raise too_many()
        try:
            await self._create(subscription, None, only_new=only_new)
        except Unanswered:
            if subscription.interest.pin is None:
                raise
            await self._replace(subscription, None, only_new=only_new)

    async def _replace(
        self, subscription: Subscription, after: int | None, *, only_new: bool
    ) -> None:
        """Delete a consumer that nobody answers for, and make it on another server."""
        name = subscription.name
        log.warning("no NATS server answers for %s; making it on another behind %s", name, after)
        await self._consumers.abandon(name)
        await self._create(subscription, after, only_new=only_new)

    async def _create(
        self, subscription: Subscription, after: int | None, *, only_new: bool
    ) -> bool:
        made = await self._consumers.create(subscription, only_new=only_new, after=after)
        self._registry.add(subscription)
        if made is None:
            return False
        progress = self._places.of(subscription.name)
        if made.created != progress.created:  # it begins before what was owed
            progress.forget_owed(lambda _: True)
        self._places.learn(made)
        return True

    def _is_gone(self, sequence: int) -> bool:
        """Tell whether a message is no longer retained: nobody can be given it any more."""
        mirror = self._tail.mirror
        entry = mirror.by_sequence(sequence)
        if entry is None:
            return sequence <= mirror.last_sequence
        return entry.expires_at <= self._tail.now()
