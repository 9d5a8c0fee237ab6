"""JetStream as the rest of the bridge sees it: one object that connects, follows and recovers."""

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field
from typing import Self

from nats.aio.client import Client

from bridge.errors import StartError, Unavailable
from bridge.events import Event
from bridge.interest import Interest, Subscription
from bridge.jetstream.acks import Acks
from bridge.jetstream.connection import Connection, Unanswered
from bridge.jetstream.consumers import Consumers, ConsumerState
from bridge.jetstream.durables import Durables, Missed
from bridge.jetstream.endpoint import Endpoint
from bridge.jetstream.feed import Remaining
from bridge.jetstream.lookout import Lookout
from bridge.jetstream.message import Message
from bridge.jetstream.mirror import Mirror
from bridge.jetstream.places import Places
from bridge.jetstream.publisher import Publisher, Stored
from bridge.jetstream.pulls import Inbox
from bridge.jetstream.registry import Registry
from bridge.jetstream.service import Registration
from bridge.jetstream.stream import StreamShape, ensure_stream
from bridge.jetstream.tail import Tail

log = logging.getLogger("bridge.jetstream")


@dataclass(frozen=True)
class Options:
    """How the bridge uses JetStream; times in seconds."""

    endpoint: Endpoint
    stream: StreamShape = field(default_factory=StreamShape)
    ack_wait: float = 30.0
    publish_timeout: float = 5.0


class JetStream:
    """The event store: publish, durable subscriptions, the mirror, and how all that stands.

    Use as an async context manager. It connects in the background and goes on through outages;
    `failed` resolves with a StartError if the first server found can never serve.
    """

    def __init__(self, options: Options, registration: Registration) -> None:
        name = options.stream.name
        self.ack_wait = options.ack_wait
        self._shape = options.stream
        self._registration = registration
        self._connection = Connection(options.endpoint, self._begin, self._on_lost)
        self._inbox = Inbox(self._connection)
        self._consumers = Consumers(
            self._connection,
            name,
            ack_wait=options.ack_wait,
            idle=options.stream.max_age,
            clustered=options.stream.replicas > 1,
        )
        self._places = Places()
        self._registry = Registry(self._consumers, self._places, name)
        self._tail = Tail(self._connection, self._inbox, self._consumers, name, self._renew)
        self._lookout = Lookout(self._connection, self._tail)
        self._durables = Durables(
            self._inbox,
            self._consumers,
            self._registry,
            self._places,
            self._tail,
            most=options.stream.max_consumers,
        )
        self._acks = Acks(self._connection)
        self._publisher = Publisher(self._acks, timeout=options.publish_timeout)
        self._tasks: list[asyncio.Task[None]] = []
        self.failed: asyncio.Future[StartError] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Self:
        for work in (
            self._connect,
            self._inbox.watch,
            self._acks.watch,
            self._tail.run,
            self._lookout.run,
            self._durables.watch,
        ):
            task = asyncio.create_task(work(), name=f"jetstream-{work.__qualname__}")
            task.add_done_callback(self._ended)
            self._tasks.append(task)
        return self

    async def __aexit__(self, *_: object) -> None:
        # The connection is the first task and ends last: the others still say good-bye over it.
        connection, *others = self._tasks
        for task in reversed(others):
            await _end(task)
        await self._inbox.close()
        await self._connection.flush()
        await _end(connection)
        await self._connection.close()

    @property
    def stream(self) -> str:
        """The stream's name."""
        return self._shape.name

    @property
    def connected(self) -> bool:
        """Whether there is a connection to NATS."""
        return self._connection.is_up

    @property
    def reconnects(self) -> int:
        """How often a connection was made after the first."""
        return self._connection.reconnects

    @property
    def subscriptions(self) -> Registry:
        """Who subscribes to what."""
        return self._registry

    @property
    def mirror(self) -> Mirror:
        """What the stream holds; raises Unavailable before it was read for the first time."""
        return self._tail.mirror

    @property
    def retained(self) -> int:
        """How many events are known to be retained, 0 before the stream was read."""
        return self._tail.retained

    @property
    def capacity(self) -> float:
        """How many events the stream may hold: infinite without a limit, 0 before it was read."""
        return self._tail.capacity

    @property
    def last_sequence(self) -> int:
        """How far the stream was read: nothing up to here is still to come."""
        return self._tail.last_sequence

    async def verify(self) -> int:
        """Ask the stream for its newest sequence.

        Raises Unavailable if it cannot be asked or is another one than was read.
        """
        return (await self._tail.verify()).last_sequence

    @property
    def epoch(self) -> int:
        """The stream's creation time in ns since 1970, which cursors carry."""
        return self._tail.epoch

    def now(self) -> float:
        """Give the time in Unix seconds by the server's clock."""
        return self._tail.now()

    def problem(self) -> str:
        """Say why the bridge is not ready, in words; empty when it is."""
        if not self._connection.is_up:
            return self._connection.problem
        if not self._tail.caught_up:
            return "still reading the stream"
        return self._lookout.trouble

    async def publish(self, event: Event, *, message_id: str) -> Stored:
        """Store an event. Raises Unavailable or EventTooLarge."""
        stored = await self._publisher.publish(event, message_id=message_id, ttl=self._ttl(event))
        self._tail.note_stored(stored.sequence)
        return stored

    async def publish_alias(self, event: Event, *, message_id: str) -> None:
        """Store an event's alias under its second correlation ID. Raises Unavailable."""
        await self._publisher.publish_alias(event, message_id=message_id, ttl=self._ttl(event))

    def _ttl(self, event: Event) -> int | None:
        """Give an event's own TTL in seconds, if it ends before the stream's age would end it."""
        max_age = self._shape.max_age
        return event.ttl_seconds if not max_age or event.ttl_seconds < max_age else None

    async def fetch(
        self,
        subscription: Subscription,
        limit: int,
        remaining: Remaining,
        *,
        only_new: bool = False,
    ) -> list[Message]:
        """Wait for a durable subscription's next messages; see `Feed.fetch`."""
        return await self._durables.fetch(subscription, limit, remaining, only_new=only_new)

    async def missed(self, subscription: Subscription) -> Missed | None:
        """Find what was evicted before a subscription was given it; see `Durables.missed`."""
        return await self._durables.missed(subscription)

    def passed(self, subscription: Subscription) -> int:
        """Give the sequence up to which a subscription is known to have been given everything."""
        return self._places.of(subscription.name).resume_after or 0

    async def catch_up(self) -> None:
        """Bring the mirror up to what the stream holds by now, whichever bridge stored it."""
        await self._tail.catch_up()

    async def see_own_writes(self) -> None:
        """Bring the mirror up to what this process has stored, which asks JetStream nothing."""
        await self._tail.see_own_writes()

    def watch(self, interest: Interest) -> asyncio.Future[None]:
        """Give a future that resolves when an event comes that may match; cancel it when done."""
        return self._tail.watch(interest)

    async def reach(self, sequence: int, timeout: float) -> bool:
        """Wait at most `timeout` seconds until the mirror has come as far as a sequence."""
        return await self._tail.reach(sequence, timeout)

    async def subscription_states(self, names: list[str]) -> dict[str, ConsumerState | None]:
        """Ask how subscriptions stand; see `Consumers.infos`. Raises Unavailable."""
        return await self._consumers.infos(names)

    async def delete_subscription(self, name: str) -> bool:
        """Delete a subscription's consumer; False if there is none. Raises Unavailable.

        A wait that is open here begins anew as any other would.
        """
        self._places.forget(name)
        try:
            deleted = await self._consumers.delete(name)
        except Unanswered:  # without a leader nobody confirms what is done
            deleted = await self._consumers.info(name) is None
            if not deleted:
                raise
        self._registry.discard(name)
        return deleted

    def wake_waits(self) -> None:
        """Make every wait look again at how much time it has left."""
        self._durables.wake()
        with contextlib.suppress(Unavailable):
            self.mirror.wake_all()

    async def _connect(self) -> None:
        try:
            await self._connection.run()
        except StartError as error:
            if not self.failed.done():
                self.failed.set_result(error)

    async def _begin(self, client: Client) -> None:
        """Set up a new connection: the stream, then who subscribes, then the tail."""
        try:
            state = await ensure_stream(self._connection, client, self._shape)
        except StartError as error:
            if self._connection.up_before:  # it has served, and may again
                raise Unavailable(str(error)) from error
            raise
        if self._tail.is_another(state):
            self._registry.clear()
            self._places.clear()
            self._connection.forget_posts()
        await self._inbox.attach(client, self._shape.name)
        await self._acks.attach(client)
        await self._places.attach(client, self._shape.name)
        await self._registry.attach(client)
        self._tail.adopt(state)
        self._lookout.see(state)
        await self._registration.attach(client)

    def _on_lost(self) -> None:
        self._inbox.reset()
        self._acks.reset()

    async def _renew(self) -> None:
        """Start over with a new connection: the stream is gone or is another one."""
        await self._connection.close()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("%s ended", task.get_name(), exc_info=error)
            if not self.failed.done():
                self.failed.set_result(StartError(f"an internal task ended: {error!r}"))


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait((task,))
