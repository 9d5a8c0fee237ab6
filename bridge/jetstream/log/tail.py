"""The tail: keeps the mirror at the stream's end through one ordered consumer.

While somebody waits for the next event, or asks for what is there now, it is read as it comes; at
other times twice a second, many messages at once, which costs a busy publisher a fraction.

An ordered consumer (NATS ADR-17) needs no acks and no durability: it is made again behind the last
message that arrived in order whenever anything is amiss.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from math import inf

from bridge.errors import Unavailable
from bridge.jetstream.connection import API_TIMEOUT_SECONDS, ApiError, Connection
from bridge.jetstream.consumer_api import ConsumerApi
from bridge.jetstream.inbox import Inbox
from bridge.jetstream.log.index import Entry
from bridge.jetstream.log.mirror import Mirror
from bridge.jetstream.log.read_marks import ReadMarks
from bridge.jetstream.message import Message, life
from bridge.jetstream.pulls import Ended
from bridge.jetstream.stream import STREAM_NOT_FOUND, StreamState, stream_state
from bridge.subscription import Selection

log = logging.getLogger("bridge.tail")

BATCH = 500
PULL_SECONDS = 60.0
HEARTBEAT_SECONDS = 1.0
"""One pull for everybody who reads along, so it may well be missed sooner than others."""

IDLE_SECONDS = 120
EXPIRE_SECONDS = 1.0
PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 1.6
IDLE_LOOK_SECONDS = 0.5
CATCH_UP_SECONDS = 2.0


class Tail:
    """Follows the stream into a `Mirror`; `stream_lost` is awaited when the stream is gone."""

    def __init__(
        self,
        connection: Connection,
        inbox: Inbox,
        api: ConsumerApi,
        stream: str,
        stream_lost: Callable[[], Awaitable[None]],
    ) -> None:
        self._connection = connection
        self._inbox = inbox
        self._api = api
        self._stream = stream
        self._stream_lost = stream_lost
        self._mirror: Mirror | None = None
        self._arrived: list[Message] = []
        self.marks = ReadMarks()
        self._skew = 0.0
        self._consumer = ""
        self._expected = 1
        self._restart = asyncio.Event()
        self._numbers = count(1)
        self._changed = asyncio.Event()
        self._wanted = asyncio.Event()
        self._asking: list[asyncio.Future[None]] = []
        self._reaching = 0
        self._live = False
        self._settled = False
        self.known_at = -inf
        """What was stored before was read, as an answer has shown; in the loop's time."""

    @property
    def mirror(self) -> Mirror:
        """The stream's content.

        Raises Unavailable before the stream was seen for the first time.
        """
        if self._mirror is None:
            raise Unavailable("the bridge is starting and has not read the event store yet")
        self._absorb(self._mirror)
        return self._mirror

    @property
    def caught_up(self) -> bool:
        """Whether everything is here that the stream held when it was last looked at."""
        return self._mirror is not None and self.marks.caught_up

    @property
    def epoch(self) -> int:
        """The stream's creation time in ns since 1970, 0 before it is known."""
        return self._mirror.epoch if self._mirror is not None else 0

    @property
    def last_sequence(self) -> int:
        """How far the stream was read; see `ReadMarks.read`."""
        return self.marks.read

    @property
    def retained(self) -> int:
        """How many messages the mirror holds."""
        return len(self.mirror) if self._mirror is not None else 0

    @property
    def capacity(self) -> float:
        """How many messages the stream may hold: infinite without a limit, 0 before it was read."""
        if self._mirror is None:
            return 0
        return self._mirror.max_messages if self._mirror.max_messages > 0 else float("inf")

    @property
    def stored_bytes(self) -> tuple[float, float]:
        """How many bytes the stream holds and may hold: infinite without a limit."""
        if self._mirror is None:
            return 0, 0
        limit = self._mirror.max_bytes
        return self.mirror.bytes, limit if limit > 0 else float("inf")

    def now(self) -> float:
        """Give the time in Unix seconds by the server's clock, which dates the messages."""
        return time.time() + self._skew

    def is_another(self, state: StreamState) -> bool:
        """Tell whether the stream is not the one that was read, or is one that went back."""
        old = self._mirror
        if old is None:
            return True
        return old.epoch != state.epoch or state.last_sequence < self.marks.arrived

    def adopt(self, state: StreamState) -> None:
        """Take note of the stream that a new connection found; another one starts a new mirror."""
        self.marks.note_found(state.last_sequence)
        self._note_end(state)
        old = self._mirror
        if old is None or self.is_another(state):
            if old is not None:
                log.warning("stream %s is another one now; reading it anew", self._stream)
            self._renew(state)
            if old is not None:
                old.wake_all()
        else:
            self._align(old, state)
        self._restart.set()

    def _renew(self, state: StreamState) -> None:
        self._mirror = Mirror(
            state.epoch,
            earlier=state.earlier,
            max_messages=state.max_messages,
            max_bytes=state.max_bytes,
            max_age=state.max_age,
            loaded_from=max(state.first_sequence, 1),
        )
        self._arrived.clear()
        self.marks.begin_behind(self._mirror.last_sequence)

    async def ask_end(self) -> int:
        """Ask the stream for its newest sequence; see `verify`. Raises Unavailable."""
        return (await self.verify(CATCH_UP_SECONDS)).last_sequence

    async def verify(self, timeout: float = API_TIMEOUT_SECONDS) -> StreamState:
        """Make sure that the stream is still the one that the mirror is of; say how it stands.

        Raises Unavailable if it is not, or is gone, and the bridge then starts over with it; also
        if it does not answer within `timeout` seconds.
        """
        read = self.last_sequence  # more may arrive while the question is under way
        try:
            state = await stream_state(self._connection, self._stream, timeout)
        except ApiError as error:
            if error.err_code == STREAM_NOT_FOUND:
                log.warning("stream %s is gone", self._stream)
                await self._stream_lost()
            raise Unavailable(f"JetStream cannot tell of stream {self._stream}: {error}") from error
        self._skew = state.skew
        if state.epoch != self.epoch or state.last_sequence < read:
            await self._stream_lost()
            raise Unavailable(f"stream {self._stream} was made again; try again in a moment")
        self._note_end(state)
        if self.last_sequence >= state.last_sequence:
            self._align(self.mirror, state)
        return state

    async def reach(self, sequence: int, timeout: float) -> bool:
        """Wait until the mirror has come as far as `sequence`, at most `timeout` seconds."""
        if self.last_sequence >= sequence:
            return True
        self._reaching += 1
        self._wanted.set()
        try:
            async with asyncio.timeout(timeout):
                while self.last_sequence < sequence:
                    self._changed.clear()
                    await self._changed.wait()
            return True
        except TimeoutError:
            return False
        finally:
            self._reaching -= 1

    async def catch_up(self) -> None:
        """Read what the stream holds by now, whichever bridge stored it.

        In an outage, or if NATS does not answer, what was read before is all there is. While it is
        read as it comes there is nothing to ask; `known_at` tells what is certain.
        """
        if not self._connection.is_up:
            return
        if not self._live:
            caught_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._asking.append(caught_up)
            self._wanted.set()
            try:
                await asyncio.wait_for(caught_up, CATCH_UP_SECONDS)
            except TimeoutError:
                return
        await self.see_own_writes()

    async def see_own_writes(self) -> None:
        """Read as far as this process itself has stored, unless that takes too long."""
        await self.reach(self.marks.stored_here, CATCH_UP_SECONDS)

    def watch(self, selection: Selection) -> asyncio.Future[None]:
        """Give a future that resolves when an event comes that may match; see `Mirror.watch`."""
        self._wanted.set()
        return self.mirror.watch(selection)

    async def run(self) -> None:
        """Follow the stream until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow())
            tasks.create_task(self._expire())

    async def _follow(self) -> None:
        pause = PAUSE_SECONDS
        while True:
            await self._restart.wait()
            try:
                await self._connection.usable(wait=3600)
                self._restart.clear()
                await self._read_until_restart()
                pause = PAUSE_SECONDS
            except (Unavailable, ApiError) as error:
                log.info("the tail starts again: %s", error)
                self._restart.set()
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _read_until_restart(self) -> None:
        name = f"bridge-tail-{self._inbox.id}-{next(self._numbers)}"
        await self._api.create(
            {
                "name": name,
                "description": f"{self._connection.name} reads what everybody publishes",
                "deliver_policy": "by_start_sequence",
                "opt_start_seq": self.marks.arrived + 1,
                "ack_policy": "none",
                "max_deliver": 1,
                "replay_policy": "instant",
                "inactive_threshold": IDLE_SECONDS * 1_000_000_000,
                "mem_storage": True,
                "num_replicas": 1,
            }
        )
        self._consumer, self._expected, self._settled = name, 1, False
        self._inbox.read(name, self._receive)
        try:
            while not self._restart.is_set():
                await self._read_some(name)
        finally:
            self._inbox.unlisten(name)
            await self._remove(name)

    async def _read_some(self, name: str) -> None:
        """Read as events come while somebody waits; else what is there, and rest a little."""
        self._wanted.clear()
        wanted = bool(self._reaching or self.mirror.is_watched)
        self._live = wanted and self._settled and not self._asking
        asking, self._asking = self._asking, []
        end, asked_at = self.marks.end, asyncio.get_running_loop().time()
        why = None
        try:
            expires = PULL_SECONDS if self._live else None
            pull = await self._inbox.pull(name, BATCH, expires, HEARTBEAT_SECONDS)
            why = await self._first_of(pull.ended, self._restart)
        finally:
            self._live = False
            if why is not Ended.EMPTY:
                self._asking += asking
        if why is Ended.EMPTY:
            self._settled = True
            self.known_at = asked_at
            self.marks.note_nothing_behind(end)
            self._changed.set()
            for future in asking:
                if not future.done():
                    future.set_result(None)
            if not self._reaching and not self.mirror.is_watched:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wanted.wait(), IDLE_LOOK_SECONDS)
        elif why in (Ended.GONE, Ended.LOST, Ended.SILENT, None):
            self._restart.set()
            await asyncio.sleep(PAUSE_SECONDS)

    def _note_end(self, state: StreamState) -> None:
        self.marks.note_end(state.last_sequence, clustered=state.replicas > 1, behind=state.behind)

    @staticmethod
    async def _first_of(ended: asyncio.Future[Ended], restart: asyncio.Event) -> Ended | None:
        restarting = asyncio.create_task(restart.wait())
        try:
            await asyncio.wait((ended, restarting), return_when=asyncio.FIRST_COMPLETED)
        finally:
            restarting.cancel()
        return ended.result() if ended.done() else None

    async def _remove(self, name: str) -> None:
        try:
            if self._connection.is_up:
                await self._api.abandon(name)
        except Unavailable as error:
            log.debug("consumer %s goes by itself when idle: %s", name, error)

    def _receive(self, message: Message) -> None:
        if message.consumer_sequence != self._expected or message.consumer != self._consumer:
            self._restart.set()  # something between was lost: read again from the last in order
            return
        self._expected += 1
        if self._mirror is None or message.sequence <= self.marks.arrived:
            return
        self.marks.arrived = message.sequence
        self._arrived.append(message)
        if self._mirror.is_watched or len(self._arrived) >= BATCH:
            self._absorb(self._mirror)
        self._changed.set()

    def _absorb(self, mirror: Mirror) -> None:
        """Take what has arrived into the mirror: when somebody looks, and many at once if not."""
        arrived, self._arrived = self._arrived, []
        for message in arrived:
            mirror.add(
                Entry(
                    message.sequence,
                    message.address,
                    partial(message.event, mirror.epoch),
                    stored_at=message.stored_at,
                    expires_at=message.stored_at + life(message.headers, mirror.max_age),
                    alias=message.alias,
                    size=message.stored_bytes,
                )
            )

    def _align(self, mirror: Mirror, state: StreamState) -> None:
        """Forget what the stream no longer holds for reasons that no message told of."""
        mirror.max_messages, mirror.max_age = state.max_messages, state.max_age
        mirror.max_bytes = state.max_bytes
        mirror.cut_before(state.first_sequence)
        mirror.expire(self.now())
        if len(mirror) > state.messages and self.last_sequence == state.last_sequence:
            log.info("messages were deleted inside the stream; reading it anew")
            self._renew(state)
            mirror.wake_all()
            self._restart.set()

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(EXPIRE_SECONDS)
            if self._mirror is not None:
                self.mirror.expire(self.now())
