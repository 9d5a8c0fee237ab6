"""Durable subscriptions: this process's waits on a durable consumer, sharing what it delivers.

All that must outlive a request is in the consumer; a feed is only who waits here now. Each event
goes to the first wait that has room for it. While waits are idle one pull for a single message is
outstanding for all of them: when it brings something, what else is there is fetched without
waiting, so no pull is left behind that would take an event for which nobody waits.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from bridge.errors import Unavailable
from bridge.interest import Subscription
from bridge.jetstream.consumers import Consumers, too_many
from bridge.jetstream.message import Message
from bridge.jetstream.pulls import Ended, Inbox
from bridge.jetstream.registry import Registry
from bridge.jetstream.tail import Tail

log = logging.getLogger("bridge.durables")

GRACE_SECONDS = 0.5
"""How long after its deadline a wait still lets its pull end, so as not to leave it behind."""

MOMENT_SECONDS = 0.005
"""Less time than this is not worth a pull."""

PAUSE_SECONDS = 0.1
"""A pause before asking again after the server forgot a pull or refused it."""

MAX_REPAIRS = 3

RESERVED = 50
"""Consumers that subscriptions leave for the tails of bridges, without which none can start."""

MAX_PLACES = 10_000
"""Of so many idle subscriptions this process remembers how far it has read them."""

Remaining = Callable[[], float]
Place = tuple[int, int]
"""A stream's epoch and a sequence in it."""


class _Waiter:
    """One wait: what it may still take, and a future that resolves when there is news."""

    __slots__ = ("messages", "news", "room")

    def __init__(self, room: int) -> None:
        self.room = room
        self.messages: list[Message] = []
        self.news: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake(self, _: object = None) -> None:
        if not self.news.done():
            self.news.set_result(None)

    async def listen(self, until: float) -> None:
        """Wait for news until a moment of the loop's clock."""
        loop = asyncio.get_running_loop()
        timer = loop.call_at(until, self.wake)
        try:
            await self.news
        finally:
            timer.cancel()
            self.news = loop.create_future()


class Feed:
    """The waits of this process on one durable consumer.

    `repair(after)` makes the consumer again when it is gone, beginning after a sequence of the
    stream, or (None) where a new one begins. `newest` is how far this process has read.
    """

    def __init__(
        self,
        name: str,
        inbox: Inbox,
        repair: Callable[[int | None], Awaitable[None]],
        newest: Callable[[], Place],
        read_up_to: Place | None,
    ) -> None:
        self._name = name
        self._inbox = inbox
        self._repair = repair
        self._newest = newest
        self._waiters: deque[_Waiter] = deque()
        self.read_up_to = read_up_to

    @property
    def idle(self) -> bool:
        """Whether no wait is left that messages could go to."""
        return not self._waiters

    def wake(self) -> None:
        """Make every wait look at the clock and at the state of the bridge again."""
        for waiter in self._waiters:
            waiter.wake()

    async def receive(self, message: Message) -> None:
        """Hand a message to the first wait with room; give it back if there is none."""
        for waiter in self._waiters:
            if waiter.room > 0:
                waiter.room -= 1
                waiter.messages.append(message)
                waiter.wake()
                return
        await message.nak()

    async def fetch(self, limit: int, remaining: Remaining) -> list[Message]:
        """Wait for messages: those there now, else the next, at most `limit`.

        `remaining` gives the seconds that are left, which may shrink at once when the bridge
        drains. The messages are the caller's to answer. An empty list means that time is up.
        Raises Unavailable when JetStream cannot be reached at the beginning or at the end; an
        outage in between is sat out.
        """
        waiter = _Waiter(limit)
        self._waiters.append(waiter)
        try:
            await self._fetch_now(waiter)
            while not waiter.messages and remaining() > MOMENT_SECONDS:
                try:
                    await self._await_next(waiter, remaining)
                    if not self._complete(waiter) and remaining() > 0:
                        await self._fetch_now(waiter)
                except Unavailable:
                    if remaining() <= 0:
                        raise
                    await asyncio.sleep(PAUSE_SECONDS)
            taken, waiter.messages = waiter.messages, []
            if taken:
                self._note((self._newest()[0], taken[-1].sequence))
            return taken
        finally:
            self._waiters.remove(waiter)
            for message in waiter.messages:  # this wait was cancelled with messages in hand
                await self.receive(message)

    @staticmethod
    def _complete(waiter: _Waiter) -> bool:
        """Whether a wait has something and nothing more is there to fetch, or no room for it."""
        return bool(waiter.messages) and (waiter.messages[-1].pending == 0 or waiter.room <= 0)

    async def _fetch_now(self, waiter: _Waiter) -> None:
        """Take what is there without waiting for more; make the consumer again if it is gone."""
        for _ in range(MAX_REPAIRS):
            newest = self._newest()
            pull = await self._inbox.pull(self._name, waiter.room)
            why = await pull.ended
            if why is not Ended.GONE:
                break
            await self._repair(self._resume_after())
        else:
            raise Unavailable("the subscription's consumer is gone and cannot be made again")
        if why is Ended.EMPTY and not waiter.messages:
            self._note(newest)
        if why is Ended.LOST:
            await asyncio.sleep(PAUSE_SECONDS)

    def _note(self, place: Place) -> None:
        """Note how far the subscription was read; a newer stream is further than an older one."""
        self.read_up_to = place if self.read_up_to is None else max(self.read_up_to, place)

    def _resume_after(self) -> int | None:
        """Give the sequence that a new consumer begins behind; one of another stream says nothing.

        What was read by then was delivered: a consumer from the beginning would repeat it all.
        """
        known = self.read_up_to
        return known[1] if known is not None and known[0] == self._newest()[0] else None

    async def _await_next(self, waiter: _Waiter, remaining: Remaining) -> None:
        """Wait until a message comes, time is up, or a pull ended in a way to look into."""
        loop = asyncio.get_running_loop()
        while not waiter.messages:
            left = remaining()
            if left <= MOMENT_SECONDS:
                return
            pull = self._inbox.outstanding(self._name)
            if pull is None:
                pull = await self._inbox.pull(self._name, 1, expires=left)
            until = loop.time() + left
            ends_with_us = len(self._waiters) == 1 and pull.expires_at <= until + GRACE_SECONDS
            pull.ended.add_done_callback(waiter.wake)
            await waiter.listen(until + (GRACE_SECONDS if ends_with_us else 0))
            pull.ended.remove_done_callback(waiter.wake)
            if pull.ended.done() and pull.ended.result() in (Ended.GONE, Ended.LOST):
                return


class Durables:
    """Every durable subscription that has waits in this process."""

    def __init__(
        self, inbox: Inbox, consumers: Consumers, registry: Registry, tail: Tail, *, most: int
    ) -> None:
        self._most = most - min(RESERVED, most // 2)
        self._inbox = inbox
        self._consumers = consumers
        self._registry = registry
        self._tail = tail
        self._feeds: dict[str, Feed] = {}
        self._places: dict[str, Place] = {}

    def wake(self) -> None:
        """Make every wait look again at how much time it has left."""
        for feed in self._feeds.values():
            feed.wake()

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
        if not self._registry.has(name):
            await self._make(subscription, only_new=only_new)
        feed = self._feeds.get(name)
        if feed is None:

            async def repair(after: int | None) -> None:
                await self._tail.verify()
                log.info("subscription %s is gone; making it again", name)
                await self._make(subscription, only_new=only_new, after=after)

            feed = self._feeds[name] = Feed(
                name, self._inbox, repair, self._newest, self._places.pop(name, None)
            )
            self._inbox.listen(name, feed.receive)
        try:
            return await feed.fetch(limit, remaining)
        finally:
            if feed.idle and self._feeds.get(name) is feed:
                del self._feeds[name]
                self._inbox.unlisten(name)
                self._remember(name, feed.read_up_to)

    def _remember(self, name: str, place: Place | None) -> None:
        if place is not None:
            self._places[name] = place
            if len(self._places) > MAX_PLACES:
                del self._places[next(iter(self._places))]

    def _newest(self) -> Place:
        return self._tail.epoch, self._tail.last_sequence

    async def _make(
        self, subscription: Subscription, *, only_new: bool, after: int | None = None
    ) -> None:
        if len(self._registry) >= self._most:
            raise too_many()
        await self._consumers.create(subscription, only_new=only_new, after=after)
        self._registry.add(subscription)
