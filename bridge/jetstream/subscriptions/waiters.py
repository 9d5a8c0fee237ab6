"""Waiters: the waits of this process on one durable consumer, sharing what it delivers.

All that must outlive a request is in the consumer; this is only who waits here now. Each event
goes to the first wait that has room for it. While waits are idle one pull for a single message is
outstanding for all of them: when it brings something, what else is there is fetched without
waiting, so no pull is left behind that would take an event for which nobody waits.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from bridge.errors import NotFound, Unavailable
from bridge.jetstream.inbox import Inbox
from bridge.jetstream.message import Message
from bridge.jetstream.pulls import Ended, Pull
from bridge.jetstream.subscriptions.consumers import Leaderless
from bridge.jetstream.subscriptions.delivery_marks import KnownMarks

GRACE_SECONDS = 0.5
"""How long after its deadline a wait still lets its pull end, so as not to leave it behind."""

MOMENT_SECONDS = 0.005
"""Less time than this is not worth a pull."""

PAUSE_SECONDS = 0.1
"""A pause before asking again after the server forgot a pull or refused it."""

LEADERLESS_PAUSE_SECONDS = 0.5
"""A pause before asking again for a consumer that no server leads, as in an election."""

REPAIR_PAUSES = (0.02, 0.05, 0.1, 0.2)
"""Seconds between tries: a consumer that has just been made is not known to every server yet."""

Remaining = Callable[[], float]


class _Waiter:
    """One wait: what it may still take, and a future that resolves when there is news."""

    __slots__ = ("doomed", "holds", "messages", "news", "room")

    def __init__(self, room: int, messages: list[Message], *, holds: bool) -> None:
        self.doomed = False
        self.room = room
        self.holds = holds
        self.messages = messages
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


async def _end_of(pull: Pull) -> Ended:
    """Wait for the end of a pull that brings what is there now.

    When the wait is cancelled, what is on its way still arrives: it goes back together with what
    the wait has in hand, in order.
    """
    try:
        return await asyncio.shield(pull.ended)
    except asyncio.CancelledError:
        await asyncio.wait((pull.ended,))
        raise


class Waiters:
    """The waits of this process on one durable consumer.

    `repair` makes the consumer again when it is gone, and raises Leaderless when it is not.
    `look_into` finds out about a delivery with a number that the consumer has used before.
    """

    def __init__(
        self,
        name: str,
        inbox: Inbox,
        repair: Callable[[], Awaitable[None]],
        look_into: Callable[[Message], Awaitable[None]],
        marks: KnownMarks,
    ) -> None:
        self._name = name
        self._inbox = inbox
        self._repair = repair
        self._marks = marks
        self._waiters: deque[_Waiter] = deque()
        self._look_into = look_into
        self._unsure: list[Message] = []
        self._sorting: asyncio.Future[None] | None = None
        self._mending: asyncio.Future[None] | None = None

    @property
    def idle(self) -> bool:
        """Whether no wait is left that messages could go to."""
        return not self._waiters

    def wake(self) -> None:
        """Make every wait look at the clock and at the state of the bridge again."""
        for waiter in self._waiters:
            waiter.wake()

    def doom(self) -> None:
        """Tell every wait that the consumer is about to be deleted for good."""
        for waiter in self._waiters:
            waiter.doomed = True

    async def receive(self, message: Message) -> None:
        """Take a delivery for the first wait with room; give it back if there is none."""
        if self._unsure:
            self._unsure.append(message)
        elif self._marks.of(self._name).went_back(message.consumer_sequence):
            self._unsure = [message]
            self._sorting = asyncio.ensure_future(self._sort_out(message))
        else:
            await self._take(message)

    async def _sort_out(self, first: Message) -> None:
        """Take deliveries that come after one which may be a repeat, once that is known."""
        await self._look_into(first)
        while self._unsure:
            await self._take(self._unsure[0])
            del self._unsure[0]

    async def _take(self, message: Message) -> None:
        marks = self._marks.of(self._name)
        message.on_ack = marks.acknowledge
        if marks.may_be_repeat(message.stored_at):
            message.delivered = max(message.delivered, 2)
        if not marks.note(message.consumer_sequence, message.sequence):
            await message.ack()  # its reader has had it, and JetStream has forgotten that
            return
        for waiter in self._waiters:
            if waiter.room > 0:
                waiter.room -= 1
                waiter.messages.append(message)
                waiter.wake()
                return
        await message.nak()

    async def fetch(
        self, limit: int, remaining: Remaining, arrived: list[Message], *, holds: bool = False
    ) -> None:
        """Wait for messages: those there now, else the next, at most `limit`, put into `arrived`.

        `holds` says that the caller keeps some and waits for more, and may have to give all back.

        `remaining` gives the seconds that are left, which may shrink at once when the bridge
        drains. The messages are the caller's to answer, also if this is cancelled or raises. None
        means that time is up.
        Raises Unavailable when JetStream cannot be reached at the beginning or at the end, or no
        server answered for the consumer in all that time; an outage in between is sat out. Raises
        NotFound when the subscription was deleted meanwhile.
        """
        waiter = _Waiter(limit, arrived, holds=holds)
        self._waiters.append(waiter)
        try:
            looked = False
            try:
                looked = await self._fetch_now(waiter, last=remaining() <= MOMENT_SECONDS)
            except Leaderless as error:
                await self._sit_out(error, remaining)
            while not waiter.messages and remaining() > MOMENT_SECONDS:
                try:
                    looked = await self._await_next(waiter, remaining) or looked
                    if not self._complete(waiter) and remaining() > 0:
                        looked = await self._fetch_now(waiter) or looked
                except Leaderless as error:
                    if looked and remaining() <= LEADERLESS_PAUSE_SECONDS:
                        break
                    await self._sit_out(error, remaining)
                except Unavailable as error:
                    await self._sit_out(error, remaining)
            if not looked and not waiter.messages:
                raise Unavailable("JetStream did not answer while you waited; try again")
        finally:
            self._waiters.remove(waiter)

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

    async def _fetch_now(self, waiter: _Waiter, *, last: bool = False) -> bool:
        """Take what is there without waiting for more; make the consumer again if it is gone.

        False if nobody has said what is there: the connection ended, or a leader went, meanwhile.

        The `last` look of a wait must not miss what was published just before it, nor what comes
        behind repeats that nobody is given.
        """
        while (why := await self._pull_now(waiter, last=last)) is Ended.FULL:
            if waiter.messages:
                break  # else all that it brought was acknowledged before
        return why is not Ended.LOST

    async def _pull_now(self, waiter: _Waiter, *, last: bool) -> Ended:
        pauses = iter(REPAIR_PAUSES)
        while True:
            pull = await self._inbox.pull(self._name, waiter.room, settle=last)
            why = await _end_of(pull)
            if why not in (Ended.GONE, Ended.SILENT):
                break
            self._check(waiter)
            pause = next(pauses, None)
            try:
                await self._mend()
            except Leaderless:
                if why is Ended.SILENT or pause is None:
                    raise
            if pause is None:
                raise Leaderless("the subscription's consumer is gone and cannot be made again")
            await asyncio.sleep(pause)
        self._marks.of(self._name).unanswered_since = None
        if self._sorting is not None and not self._sorting.done():
            await asyncio.wait((self._sorting,))
        if why is Ended.LOST:
            await asyncio.sleep(PAUSE_SECONDS)
        return why

    async def _mend(self) -> None:
        """Make the consumer again, once for all waits that find it gone."""
        if self._mending is None or self._mending.done():
            self._mending = asyncio.ensure_future(self._repair())
            self._mending.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.shield(self._mending)

    async def _await_next(self, waiter: _Waiter, remaining: Remaining) -> bool:
        """Wait until a message comes or time is up; False if a pull ended in a way to look into."""
        loop = asyncio.get_running_loop()
        while not waiter.messages:
            left = remaining()
            if left <= MOMENT_SECONDS:
                return True
            pull = self._inbox.outstanding(self._name)
            if pull is None:
                holds = any(each.holds for each in self._waiters)
                pull = await self._inbox.pull(self._name, 1, expires=left, cancellable=holds)
            until = loop.time() + left
            ends_with_us = len(self._waiters) == 1 and pull.expires_at <= until + GRACE_SECONDS
            pull.ended.add_done_callback(waiter.wake)
            await waiter.listen(until + (GRACE_SECONDS if ends_with_us else 0))
            pull.ended.remove_done_callback(waiter.wake)
            if pull.ended.done() and pull.ended.result() in (Ended.GONE, Ended.LOST):
                self._check(waiter)
                return False
        return True

    def _check(self, waiter: _Waiter) -> None:
        if waiter.doomed:
            raise NotFound(
                "this subscription was deleted while you waited on it; wait again to begin a new "
                "one, with everything that is retained, or with deliver=new with what comes next",
                name=self._name,
            )
