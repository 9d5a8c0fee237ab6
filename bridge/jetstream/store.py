"""The event store on JetStream: builds its parts, starts and stops them, and recovers with them.

The use cases see it by its four parts: `publisher`, `log`, `subscribers` and `subscriptions`.
"""

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field
from typing import Self

from bridge.errors import StartError, Unavailable
from bridge.jetstream import connection
from bridge.jetstream.bucket import RevocationBucket
from bridge.jetstream.confirmations import Confirmations
from bridge.jetstream.connection import Connection
from bridge.jetstream.consumer_api import ConsumerApi
from bridge.jetstream.endpoint import Endpoint
from bridge.jetstream.inbox import Inbox
from bridge.jetstream.log import stream_check
from bridge.jetstream.log.stream_check import StreamCheck
from bridge.jetstream.log.tail import Tail
from bridge.jetstream.natspy import NatsClient
from bridge.jetstream.neighbours import Neighbours
from bridge.jetstream.publisher import Publisher
from bridge.jetstream.service import Registration
from bridge.jetstream.stream import StreamShape, ensure_stream, note_clean_end
from bridge.jetstream.subscriptions import failover
from bridge.jetstream.subscriptions.consumers import Consumers
from bridge.jetstream.subscriptions.deliveries import Deliveries
from bridge.jetstream.subscriptions.delivery_marks import KnownMarks
from bridge.jetstream.subscriptions.durables import Durables
from bridge.jetstream.subscriptions.failover import Failover
from bridge.jetstream.subscriptions.leases import Leases
from bridge.jetstream.subscriptions.registry import Registry
from bridge.tokens import Revocations

log = logging.getLogger("bridge.jetstream")


@dataclass(frozen=True)
class Times:
    """How long the event store waits before it looks, asks again or gives up, all in seconds.

    What each is for is said at its default. They are no settings: users have no reason to change
    them. A bridge that is to be broken by a test is composed with shorter ones.
    """

    greeting: int = connection.CONNECT_TIMEOUT_SECONDS
    ping: int = connection.PING_INTERVAL_SECONDS
    pong: int = connection.PONG_SECONDS
    goodbye: float = connection.GOODBYE_SECONDS
    look: float = stream_check.LOOK_SECONDS
    answer: float = stream_check.ANSWER_SECONDS
    look_again: float = stream_check.LOOK_AGAIN_SECONDS
    patience: float = stream_check.TROUBLE_SECONDS
    abandoned: float = failover.ABANDONED_SECONDS
    unknown: float = failover.UNKNOWN_SECONDS


@dataclass(frozen=True)
class Options:
    """How the bridge uses JetStream; times in seconds.

    `max_event_bytes` is the largest body of an event that is wanted.
    """

    endpoint: Endpoint
    stream: StreamShape = field(default_factory=StreamShape)
    ack_wait: float = 4.0
    publish_timeout: float = 5.0
    max_event_bytes: int = 524_288
    own_server: bool = False
    """Whether the server is this bridge's own, and ends in order after it."""
    times: Times = field(default_factory=Times)


class JetStream:
    """The event store.

    Use as an async context manager. It connects in the background and goes on through outages;
    `failed` resolves with a StartError if the first server found can never serve. What it finds of
    revoked tokens it has counted in `revoked`.
    """

    def __init__(self, options: Options, registration: Registration, revoked: Revocations) -> None:
        self._shape = shape = options.stream
        self._own_server = options.own_server
        self._registration = registration
        times = options.times
        self._connection = Connection(
            options.endpoint,
            self._begin,
            self._on_lost,
            greeting=times.greeting,
            ping=times.ping,
            pong=times.pong,
            goodbye=times.goodbye,
        )
        self._inbox = Inbox(self._connection, goodbye=times.goodbye)
        self._confirmations = Confirmations(self._connection)
        api = ConsumerApi(self._connection, shape.name)
        self.log = Tail(self._connection, self._inbox, api, shape.name, self._start_over)
        self._stream_check = StreamCheck(
            self._connection,
            self.log,
            look=times.look,
            answer=times.answer,
            look_again=times.look_again,
            patience=times.patience,
        )
        self.publisher = Publisher(
            self._connection,
            self._confirmations,
            self.log.marks.note_stored,
            timeout=options.publish_timeout,
            max_age=shape.max_age,
            largest=options.max_event_bytes,
        )
        consumers = Consumers(
            api, ack_wait=options.ack_wait, idle=shape.max_age, clustered=shape.replicas > 1
        )
        self._marks = KnownMarks()
        self.subscribers = Registry(consumers, self._marks, shape.name)
        self._failover = Failover(
            consumers,
            self.subscribers,
            self._marks,
            self.log,
            most=shape.max_consumers,
            patience=(times.abandoned, times.unknown),
        )
        self._durables = Durables(
            self._connection,
            self._inbox,
            consumers,
            self.subscribers,
            self._marks,
            self._failover,
        )
        self.bridges = Neighbours(self._connection)
        self.revocations = RevocationBucket(self._connection, self.bridges, shape, revoked)
        self._leases = Leases(
            self.bridges,
            self._confirmations,
            self.publisher,
            self._marks,
            self.log,
            self.subscribers.get,
            shape.name,
        )
        self.subscriptions = Deliveries(
            self._durables,
            consumers,
            self.subscribers,
            self._marks,
            self.log,
            self._leases,
            ack_wait=options.ack_wait,
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._server_id = ""
        self.failed: asyncio.Future[StartError] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Self:
        for work in (
            self._connect,
            self._inbox.watch,
            self._confirmations.watch,
            self.log.run,
            self._stream_check.run,
            self._failover.watch,
            self.revocations.watch,
        ):
            task = asyncio.create_task(work(), name=f"jetstream-{work.__qualname__}")
            task.add_done_callback(self._ended)
            self._tasks.append(task)
        return self

    async def __aexit__(self, *_: object) -> None:
        # The connection is the first task and ends last: the others still say good-bye over it.
        connecting, *others = self._tasks
        for task in reversed(others):
            await _end(task)
        await self._inbox.close()
        if self._own_server and self._connection.is_up:
            await note_clean_end(self._connection, self._shape.name)
        await self._connection.flush()
        await _end(connecting)
        await self._connection.close()

    @property
    def connected(self) -> bool:
        """Whether there is a connection to NATS."""
        return self._connection.is_up

    @property
    def reconnects(self) -> int:
        """How often a connection was made after the first."""
        return self._connection.reconnects

    async def ping(self, seconds: float) -> None:
        """Return if NATS answers within so many seconds, JetStream or not. Raises Unavailable."""
        await self._connection.ping(seconds)

    def problem(self) -> str:
        """Say why the bridge is not ready, in words; empty when it is."""
        if not self._connection.is_up:
            return self._connection.problem
        if not self.log.caught_up:
            return "still reading the stream"
        return self._stream_check.trouble

    def wake_waits(self) -> None:
        """Make every wait look again at how much time it has left."""
        self._durables.wake()
        with contextlib.suppress(Unavailable):
            self.log.mirror.wake_all()

    async def _connect(self) -> None:
        try:
            await self._connection.run()
        except StartError as error:
            if not self.failed.done():
                self.failed.set_result(error)

    async def _begin(self, client: NatsClient) -> None:
        """Set up a new connection: the stream, what is revoked, who subscribes, then the tail."""
        try:
            state = await ensure_stream(self._connection, client, self._shape)
        except StartError as error:
            if self._connection.up_before:  # it has served, and may again
                raise Unavailable(str(error)) from error
            raise
        await self.revocations.attach(client)
        if self.log.is_another(state):
            self.subscribers.clear(made_again=state.epoch != self.log.epoch)
            self._marks.clear()
            self._connection.forget_posts()
        name = self._shape.name
        await self._inbox.attach(client, name)
        await self._confirmations.attach(client)
        self.publisher.attach(client)
        if self._server_id not in ("", self._connection.server_id) and state.replicas == 1:
            self._marks.note_restart(state.told_at)
        self._marks.note_restart(state.restarted_at)
        self._server_id = self._connection.server_id
        await self._failover.attach(client, name)
        await self._durables.attach(client)
        await self.bridges.attach(client)
        await self.subscribers.attach(client)
        self.log.adopt(state)
        self._stream_check.see(state)
        await self._registration.attach(client)

    def _on_lost(self) -> None:
        self._inbox.reset()
        self._confirmations.reset()

    async def _start_over(self) -> None:
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
