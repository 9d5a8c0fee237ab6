"""A feed: the waits of this process on one durable consumer, sharing what it delivers.

All that must outlive a request is in the consumer; a feed is only who waits here now. Each event
goes to the first wait that has room for it. While waits are idle one pull for a single message is
outstanding for all of them: when it brings something, what else is there is fetched without
waiting, so no pull is left behind that would take an event for which nobody waits.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from bridge.errors import Unavailable
from bridge.jetstream.consumers import Leaderless
from bridge.jetstream.message import Message
from bridge.jetstream.places import Places
from bridge.jetstream.pulls import Ended, Inbox

GRACE_SECONDS = 0.5
"""How long after its deadline a wait still lets its pull end, so as not to leave it behind."""

MOMENT_SECONDS = 0.005
"""Less time than this is not worth a pull."""

PAUSE_SECONDS = 0.1
"""A pause before asking again after the server forgot a pull or refused it."""

LEADERLESS_PAUSE_SECONDS = 0.5
"""A pause before asking again for a consumer that no server leads, as in an election."""

REPAIR_PAUSES = (0.02, 0.05, 0.1, 0.2, 0.0)
"""Seconds between tries: a consumer that has just been made is not known to every server yet."""

Remaining = Callable[[], float]


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

    `repair` makes the consumer again when it is gone, and raises Leaderless when it is not.
    """

    def __init__(
        self,
        name: str,
        inbox: Inbox,
        repair: Callable[[], Awaitable[None]],
        places: Places,
    ) -> None:
        self._name = name
        self._inbox = inbox
        self._repair = repair
        self._places = places
        self._waiters: deque[_Waiter] = deque()
        self._mending: asyncio.Future[None] | None = None

    @property
    def idle(self) -> bool:
        """Whether no wait is left that messages could go to."""
        return not self._waiters

    def wake(self) -> None:
        """Make every wait look at the clock and at the state of the bridge again."""
        for waiter in self._waiters:
            waiter.wake()

    async def receive(self, message: Message) -> None:
        """Take a delivery for the first wait with room; give it back if there is none."""
        self._places.of(self._name).note(message)
        await self._hand_over(message)

    async def _hand_over(self, message: Message) -> None:
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
        Raises Unavailable when JetStream cannot be reached at the beginning or at the end, or no
        server answered for the consumer in all that time; an outage in between is sat out.
        """
        waiter = _Waiter(limit)
        self._waiters.append(waiter)
        try:
            looked = False
            try:
                await self._fetch_now(waiter, last=remaining() <= MOMENT_SECONDS)
                looked = True
            except Leaderless as error:
                await self._sit_out(error, remaining)
            while not waiter.messages and remaining() > MOMENT_SECONDS:
                try:
                    await self._await_next(waiter, remaining)
                    if not self._complete(waiter) and remaining() > 0:
                        await self._fetch_now(waiter)
                    looked = True
                except Leaderless as error:
                    if looked and remaining() <= LEADERLESS_PAUSE_SECONDS:
                        break
                    await self._sit_out(error, remaining)
                except Unavailable as error:
                    await self._sit_out(error, remaining)
            taken, waiter.messages = waiter.messages, []
            return taken
        finally:
            self._waiters.remove(waiter)
            for message in waiter.messages:  # this wait was cancelled with messages in hand
                await self._hand_over(message)

    @staticmethod
    async def _sit_out(error: Unavailable, remaining: Remaining) -> None:
        """Pause before the next try; raise the error if there is no time for one."""
        pause = LEADERLESS_PAUSE_SECONDS if isinstance(error, Leaderless) else PAUSE_SECONDS
        if remaining() <= pause:
            raise error
        await asyncio.sleep(pause)

    @staticmethod
    def _complete(waiter: _Waiter) -> bool:
        """Whether a wait has something and nothing more is there to fetch, or no room for it."""
        return bool(waiter.messages) and (waiter.messages[-1].pending == 0 or waiter.room <= 0)

    async def _fetch_now(self, waiter: _Waiter, *, last: bool = False) -> None:
        """Take what is there without waiting for more; make the consumer again if it is gone.

        The `last` look of a wait must not miss what was published just before it.
        """
        for pause in REPAIR_PAUSES:
            pull = await self._inbox.pull(self._name, waiter.room, settle=last)
            why = await pull.ended
            if why not in (Ended.GONE, Ended.SILENT):
                break
            try:
                await self._mend()
            except Leaderless:
                if why is Ended.SILENT or not pause:
                    raise
            await asyncio.sleep(pause)
        else:
            raise Leaderless("the subscription's consumer is gone and cannot be made again")
        self._places.of(self._name).unanswered_since = None
        if why is Ended.LOST:
            await asyncio.sleep(PAUSE_SECONDS)

    async def _mend(self) -> None:
        """Make the consumer again, once for all waits that find it gone."""
        if self._mending is None or self._mending.done():
            self._mending = asyncio.ensure_future(self._repair())
            self._mending.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.shield(self._mending)

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
