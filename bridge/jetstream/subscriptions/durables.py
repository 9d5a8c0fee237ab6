"""Durable subscriptions that have waits in this process: each with its waiters, for as long."""

import asyncio
import contextlib
from functools import partial

from nats.aio.client import Client
from nats.aio.msg import Msg

from bridge.errors import Unavailable
from bridge.jetstream.connection import Connection, Unanswered
from bridge.jetstream.inbox import Inbox
from bridge.jetstream.message import Message
from bridge.jetstream.service import NAME
from bridge.jetstream.subscriptions.consumers import INFO_SECONDS, Consumers, Leaderless
from bridge.jetstream.subscriptions.delivery_marks import KnownMarks
from bridge.jetstream.subscriptions.failover import Failover
from bridge.jetstream.subscriptions.registry import Registry
from bridge.jetstream.subscriptions.waiters import LEADERLESS_PAUSE_SECONDS, Remaining, Waiters
from bridge.subscription import Deliver, Subscription

DELETING = f"$SRV.DELETE.{NAME}"
"""Where bridges tell each other, before, which subscription is deleted: its name comes after."""


class Durables:
    """Every durable subscription that has waits in this process."""

    def __init__(
        self,
        connection: Connection,
        inbox: Inbox,
        consumers: Consumers,
        registry: Registry,
        marks: KnownMarks,
        failover: Failover,
    ) -> None:
        self._connection = connection
        self._inbox = inbox
        self._consumers = consumers
        self._registry = registry
        self._marks = marks
        self._failover = failover
        self._waiters: dict[str, Waiters] = {}

    async def attach(self, client: Client) -> None:
        """Hear on a new connection which subscriptions other bridges delete."""
        await client.subscribe(f"{DELETING}.*", cb=self._on_deleting)

    async def _on_deleting(self, msg: Msg) -> None:
        self._doom(msg.subject.rpartition(".")[2])

    def _doom(self, name: str) -> None:
        self._marks.forget(name)
        if waiters := self._waiters.get(name):
            waiters.doom()

    async def delete(self, name: str) -> bool:
        """Delete a subscription; False if there is none. Raises Unavailable.

        Waits that are open on it, on any bridge, end and say so: they are told before, since the
        end of a consumer does not tell a deletion from a loss that is to be mended.
        """
        self._doom(name)
        await self._connection.post(f"{DELETING}.{name}", b"", keep=False)
        await self._connection.flush()
        try:
            deleted = await self._consumers.api.delete(name)
        except Unanswered:  # without a leader nobody confirms what is done
            deleted = await self._consumers.info(name) is None
            if not deleted:
                raise
        self._registry.discard(name)
        return deleted

    def is_waited_for(self, name: str) -> bool:
        """Tell whether a wait is open here on a subscription."""
        return name in self._waiters

    def wake(self) -> None:
        """Make every wait look again at how much time it has left."""
        for waiters in self._waiters.values():
            waiters.wake()

    async def fetch(
        self,
        subscription: Subscription,
        limit: int,
        remaining: Remaining,
        arrived: list[Message],
        *,
        deliver: Deliver = "all",
        holds: bool = False,
    ) -> None:
        """Wait for a subscription's next messages, making its consumer if it does not exist.

        `deliver` says where a new consumer begins. See `Waiters.fetch` for the rest.
        """
        name = subscription.name
        while not self._registry.has(name):
            try:
                await self._failover.make(subscription, deliver=deliver)
            except (Leaderless, Unanswered):
                if remaining() <= LEADERLESS_PAUSE_SECONDS:
                    raise
                await asyncio.sleep(LEADERLESS_PAUSE_SECONDS)
        self._registry.add(subscription)
        waiters = self._waiters.get(name) or self._open(subscription)
        try:
            await waiters.fetch(limit, remaining, arrived, holds=holds)
        finally:
            if waiters.idle and self._waiters.get(name) is waiters:
                del self._waiters[name]
                self._inbox.unlisten(name)
                self._failover.unfollow(name)

    def _open(self, subscription: Subscription) -> Waiters:
        name = subscription.name
        repair = partial(self._failover.repair, subscription)
        waiters = self._waiters[name] = Waiters(
            name, self._inbox, repair, self._failover.look_into, self._marks
        )
        self._inbox.listen(name, waiters.receive)
        self._failover.follow(name)
        return waiters

    async def give_back(self, name: str, messages: list[Message]) -> None:
        """Give messages back whose reader has gone, to come again in the order of the stream."""
        if name not in self._waiters:  # else whoever waits takes them as they come, in order
            strays = await self._inbox.cancel(name)
            if strays is not None:
                messages = messages + strays
                # nats-server finds out that nobody listens to a pull when it counts those that
                # wait, or when it has taken the first message for it, which then goes last.
                with contextlib.suppress(Unavailable):
                    await self._consumers.info(name, INFO_SECONDS)
        for message in sorted(messages, key=lambda message: message.sequence):
            await message.nak()
