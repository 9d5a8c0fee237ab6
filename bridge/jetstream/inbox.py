"""The inbox: consumers are asked for messages by pulls, all through one subscription.

A pull's messages arrive under their own subjects, so they are told apart by the consumer named in
the ack reply; only what the server says about the pull itself (nothing there, expired, consumer
gone) carries the pull's inbox. A NATS subscription for each pull would cost more memory than the
waiting client behind it.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable
from itertools import count

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import NotJSMessageError

from bridge.errors import Unavailable
from bridge.jetstream.connection import GOODBYE_SECONDS, Connection
from bridge.jetstream.message import Message
from bridge.jetstream.natspy import NO_RESPONDERS, NatsClient
from bridge.jetstream.pulls import Ended, Pull, ended_by

log = logging.getLogger("bridge.inbox")

HEARTBEAT_SECONDS = 5.0
MISSED_HEARTBEATS = 2.5
"""After so many heartbeats' silence the server has forgotten the pull: a leader died, say."""

NO_WAIT_SECONDS = 3.0
"""A pull that must not wait is answered at once; longer silence means that it was lost."""

SETTLE_SECONDS = 0.025
"""Under load nats-server acknowledges a message some milliseconds before its consumers know."""

WATCH_SECONDS = 1.0

RESTLESS_SECONDS = 5.0
"""So long after a leader has moved, more may go with the server that it was on.

One that is shut down in order first hands on what it leads with others, and a second later ends
what it has alone, of which it says nothing.
"""

STRAY_SECONDS = 0.5
"""So long a pull may still be sent to a leader that is none any more."""

PING = b'{"batch": 1, "expires": 1, "idle_heartbeat": 1000000000}'
"""A pull with a heartbeat that is longer than its time: a leader refuses it and does nothing."""

PENDING_MESSAGES = 1_000_000
MAX_BATCH_BYTES = 8 * 1024 * 1024
"""What one pull may bring, so that an answer has a bounded size."""

_LEADER_ELECTED = "$JS.EVENT.ADVISORY.CONSUMER.LEADER_ELECTED"
_NANOSECONDS = 1_000_000_000
_STATUS = "Status"
_PINGED = "p"
"""What the token of a ping has before its pull's, which is a hexadecimal number."""

MAX_LEADERS = 50_000
_DESCRIPTION = "Description"
_LEFT = "Nats-Pending-Messages"
"""How many messages of a pull's batch are not on their way when a status ends it."""

Receiver = Callable[[Message], Awaitable[None]]
Reader = Callable[[Message], None]


class Inbox:
    """Where every message that this process asked for arrives, and goes to who asked.

    `listen` names the receiver for a consumer's messages. One that arrives for nobody (its waiter
    went away) is given back at once, so that it is not kept from others until `ack_wait`.
    A pull that the server does not answer within `patience` seconds of when it must is lost, which
    is looked for every `look` seconds.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        patience: float = NO_WAIT_SECONDS,
        look: float = WATCH_SECONDS,
        goodbye: float = GOODBYE_SECONDS,
    ) -> None:
        self._goodbye = goodbye
        self._patience = patience
        self._look = look
        self._connection = connection
        self._receivers: dict[str, Receiver] = {}
        self._reader: tuple[bytes, Reader] | None = None
        self._pulls: dict[str, Pull] = {}
        self._by_consumer: dict[str, list[Pull]] = {}
        self._tokens = count(1)
        self._prefix = ""
        self._stream = ""
        self._strays: dict[str, list[Message]] = {}
        self._leaders: dict[str, str] = {}
        self._restless_until = 0.0
        self._ending: set[asyncio.Task[None]] = set()
        self._client: NatsClient | None = None
        self.id = ""
        self._subscription: Subscription | None = None
        self.max_batch_bytes = MAX_BATCH_BYTES

    async def attach(self, client: NatsClient, stream: str) -> None:
        """Receive on a new connection; pulls of the one before are lost."""
        self.reset()
        self._client = client
        self._stream = stream
        self.id = client.new_inbox().rpartition(".")[2]
        self._prefix = f"{client.new_inbox()}."
        self.max_batch_bytes = max(MAX_BATCH_BYTES, client.max_payload + 65_536)
        self._subscription = await self._subscribe(client, f"{self._prefix}*")
        client.take(self._subscription, self._take, self._is_read)
        await client.subscribe(f"{_LEADER_ELECTED}.{stream}.*", cb=self._on_election)

    async def _subscribe(self, client: NatsClient, subject: str) -> Subscription:
        return await client.subscribe(
            subject,
            cb=self._receive,
            pending_msgs_limit=PENDING_MESSAGES,
            pending_bytes_limit=0,
        )

    async def close(self) -> None:
        """Take no more messages; what is on its way is handled or given back before this returns.

        Without interest in its inbox the server drops a pull, so nothing is sent into the void.
        """
        if self._subscription is not None and self._connection.is_up:
            await self._drain(self._subscription)

    def reset(self) -> None:
        """Give up every pull: the connection that they went out on has ended."""
        for pull in list(self._pulls.values()):
            self._end(pull, Ended.LOST)

    def listen(self, consumer: str, receiver: Receiver) -> None:
        """Send a consumer's messages to `receiver` from now on."""
        self._receivers[consumer] = receiver

    def read(self, consumer: str, reader: Reader) -> None:
        """Show a consumer's messages to `reader` from now on, of which nothing is acknowledged.

        There are many, and more than `listen` costs they need not.
        """
        self._reader = (b".%b." % consumer.encode(), reader)

    def unlisten(self, consumer: str) -> None:
        """Give back a consumer's messages from now on."""
        self._receivers.pop(consumer, None)
        if self._reader is not None and self._reader[0] == b".%b." % consumer.encode():
            self._reader = None

    async def pull(
        self,
        consumer: str,
        batch: int,
        expires: float | None = None,
        heartbeat: float = HEARTBEAT_SECONDS,
        *,
        settle: bool = False,
        cancellable: bool = False,
    ) -> Pull:
        """Ask for up to `batch` messages: those there now, or those that come in `expires` seconds.

        While there are none the server is heard of every `heartbeat` seconds. With `settle`, those
        there now include all that was acknowledged before: it takes `SETTLE_SECONDS` to tell that
        there are none. A `cancellable` one can be ended with `cancel`, for the price of an inbox of
        its own.
        Raises Unavailable when there is no connection.
        """
        await self._connection.usable()
        request: dict[str, object] = {"batch": batch, "max_bytes": self.max_batch_bytes}
        if expires is None:
            request["no_wait"] = True
            if settle:  # both together: those there now, and if there are none the first that comes
                request["expires"] = int(SETTLE_SECONDS * _NANOSECONDS)
        else:
            request["expires"] = int(expires * _NANOSECONDS)
            if expires > 2 * heartbeat:
                request["idle_heartbeat"] = int(heartbeat * _NANOSECONDS)
        silence = heartbeat * MISSED_HEARTBEATS
        token = f"{next(self._tokens):x}"
        pull = Pull(token, consumer, batch, expires, silence, self._patience)
        self._pulls[pull.token] = pull
        self._by_consumer.setdefault(consumer, []).append(pull)
        payload, reply = json.dumps(request).encode(), self._prefix + pull.token
        try:
            if cancellable and self._client is not None:
                reply = f"{self._prefix}own.{pull.token}"
                pull.own = await self._subscribe(self._client, reply)
            await self._connection.ask(self._subject(consumer), payload, reply)
        except Unavailable:  # it was never sent, so no later wait may take it over
            self._end(pull, Ended.LOST)
            raise
        return pull

    def _subject(self, consumer: str) -> str:
        return f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{consumer}"

    def outstanding(self, consumer: str) -> Pull | None:
        """Give a pull on the consumer that waits for something to come, if there is one.

        A wait whose client went away leaves its pull behind; the next wait takes it over.
        """
        return next((pull for pull in self._by_consumer.get(consumer, ()) if pull.waits), None)

    async def cancel(self, consumer: str) -> list[Message] | None:
        """End the pull that waits on a consumer, and give what it brought at the last moment.

        None if there is no pull that can be ended.

        The server drops a pull whose inbox nobody listens to. Otherwise it would take the next
        message, for nobody: one of several that are given back would come last, and be counted as
        delivered once more.
        """
        pull = self.outstanding(consumer)
        if pull is None or pull.own is None:
            return None
        pull.waits = False
        strays = self._strays[consumer] = []
        try:
            await self._drain(pull.own)
        finally:
            del self._strays[consumer]
            pull.own = None
            self._end(pull, Ended.EXPIRED)
        return strays

    async def _drain(self, subscription: Subscription) -> None:
        """End a subscription; what is on its way is received before this returns."""
        with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
            await asyncio.wait_for(subscription.drain(), self._goodbye)  # type: ignore[no-untyped-call]

    async def watch(self) -> None:
        """Notice pulls that the server has forgotten, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._look)
            now = loop.time()
            for pull in list(self._pulls.values()):
                if pull.remaining != pull.seen:
                    pull.seen, pull.heard = pull.remaining, now
                overdue = now > min(pull.deadline, pull.heard + pull.silence)
                if overdue or self._connection.refuses(self._subject(pull.consumer)):
                    log.debug("pull on %s was lost", pull.consumer)
                    answered = pull.waits or pull.why is not None
                    self._end(pull, Ended.LOST if answered else Ended.SILENT)
            if now < self._restless_until:
                await self._ping()

    def _is_read(self, reply: bytes) -> bool:
        return self._reader is not None and self._reader[0] in reply

    def _take(self, msg: Msg) -> None:
        if self._reader is not None:
            message = Message(msg, self._connection.post)
            self._count(message)
            self._reader[1](message)

    async def _receive(self, msg: Msg) -> None:
        if msg.subject.startswith(self._prefix):
            self._on_status(msg)
            return
        try:
            message = Message(msg, self._connection.post)
        except NotJSMessageError:
            log.warning("a message on the bridge's inbox is not JetStream's: %s", msg.subject)
            return
        self._count(message)
        receiver = self._receivers.get(message.consumer)
        if receiver is not None:
            await receiver(message)
        elif message.consumer in self._strays:
            self._strays[message.consumer].append(message)
        else:
            await message.nak()

    def _count(self, message: Message) -> None:
        pulls = self._by_consumer.get(message.consumer)
        if pulls:
            pull = pulls[0]
            pull.remaining -= 1
            if pull.remaining <= 0:
                self._end(pull, pull.why or Ended.FULL)

    def _on_status(self, msg: Msg) -> None:
        token = msg.subject.rpartition(".")[2]
        pull = self._pulls.get(token.removeprefix(_PINGED))
        if pull is None:
            return
        headers = msg.headers or {}
        status = headers.get(_STATUS, "")
        if token.startswith(_PINGED) and status != NO_RESPONDERS:
            return
        if status == "100":
            pull.heard = asyncio.get_running_loop().time()
            return
        why = ended_by(status, headers.get(_DESCRIPTION, ""))
        left = headers.get(_LEFT)
        if left is None or not pull.await_rest(why, int(left)):
            self._end(pull, why)

    async def _on_election(self, msg: Msg) -> None:
        """Give up what waits on a consumer: the new leader knows nothing of it.

        Without this a pull at a leader that died would be missed only after some heartbeats. If it
        has moved, so may have all that its server had.
        """
        consumer, leader = msg.subject.rpartition(".")[2], json.loads(msg.data).get("leader", "")
        before = self._leaders.pop(consumer, leader)
        moved = before != leader or consumer in self._by_consumer
        self._leaders[consumer] = leader
        if len(self._leaders) > MAX_LEADERS:
            del self._leaders[next(iter(self._leaders))]
        self._give_up(consumer)
        if moved:
            loop = asyncio.get_running_loop()
            loop.call_later(STRAY_SECONDS, self._give_up, consumer)
            self._restless_until = loop.time() + RESTLESS_SECONDS

    def _give_up(self, consumer: str) -> None:
        for pull in list(self._by_consumer.get(consumer, ())):
            if pull.waits:
                self._end(pull, Ended.LOST)

    async def _ping(self) -> None:
        """End the pulls of consumers that no server has any more."""
        waiting = [pull for pull in self._pulls.values() if pull.waits]
        with contextlib.suppress(Unavailable):  # a new connection loses them all
            for pull in waiting:
                reply = f"{self._prefix}{_PINGED}{pull.token}"
                await self._connection.ask(self._subject(pull.consumer), PING, reply)

    def _end(self, pull: Pull, why: Ended) -> None:
        self._pulls.pop(pull.token, None)
        pulls = self._by_consumer.get(pull.consumer)
        if pulls and pull in pulls:
            pulls.remove(pull)
            if not pulls:
                del self._by_consumer[pull.consumer]
        if pull.own is not None:
            ending = asyncio.create_task(self._drain(pull.own))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
        pull.end(why)
