"""Pulls: asking consumers for messages, all through one inbox.

A pull is a request for some messages of one consumer (NATS ADR-37). Its messages arrive under their
own subjects, so they are told apart by the consumer named in the ack reply; only what the server
says about the pull itself (nothing there, expired, consumer gone) carries the pull's inbox. A NATS
subscription for each pull would cost more memory than the waiting client behind it.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable
from enum import Enum
from itertools import count

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import NotJSMessageError

from bridge.jetstream.connection import Connection
from bridge.jetstream.message import NAK, Message

log = logging.getLogger("bridge.pulls")

HEARTBEAT_SECONDS = 5.0
MISSED_HEARTBEATS = 2.5
"""After so many heartbeats' silence the server has forgotten the pull: a leader died, say."""

NO_WAIT_SECONDS = 3.0
"""A pull that must not wait is answered at once; longer silence means that it was lost."""

SETTLE_SECONDS = 0.025
"""Under load nats-server acknowledges a message some milliseconds before its consumers know."""

WATCH_SECONDS = 1.0
PENDING_MESSAGES = 1_000_000
MAX_BATCH_BYTES = 8 * 1024 * 1024
"""What one pull may bring, so that an answer has a bounded size."""

_LEADER_ELECTED = "$JS.EVENT.ADVISORY.CONSUMER.LEADER_ELECTED"
_NANOSECONDS = 1_000_000_000
_STATUS = "Status"
_DESCRIPTION = "Description"

Receiver = Callable[[Message], Awaitable[None]]


class Ended(Enum):
    """Why a pull is over."""

    FULL = "all that was asked for arrived"
    EMPTY = "nothing more is there"
    EXPIRED = "its time is up"
    GONE = "there is no such consumer"
    LOST = "the server no longer knows of it"
    SILENT = "nobody has answered, though it should not have waited"


class Pull:
    """One request for up to `batch` messages; `ended` resolves when no more will come of it."""

    __slots__ = (
        "consumer",
        "deadline",
        "ended",
        "expires_at",
        "heard",
        "remaining",
        "seen",
        "silence",
        "token",
        "waits",
    )

    def __init__(
        self, token: str, consumer: str, batch: int, expires: float | None, heartbeat: float
    ) -> None:
        now = asyncio.get_running_loop().time()
        self.token = token
        self.consumer = consumer
        self.remaining = self.seen = batch
        self.waits = expires is not None
        self.expires_at = now + (expires or 0.0)
        self.deadline = self.expires_at + NO_WAIT_SECONDS
        self.heard = now
        self.silence = heartbeat * MISSED_HEARTBEATS
        self.ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()

    def end(self, why: Ended) -> None:
        """Say that no more comes of this pull; what is said first stands."""
        if not self.ended.done():
            self.ended.set_result(why)


class Inbox:
    """Where every message that this process asked for arrives, and goes to who asked.

    `listen` names the receiver for a consumer's messages. One that arrives for nobody (its waiter
    went away) is given back at once, so that it is not kept from others until `ack_wait`.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._receivers: dict[str, Receiver] = {}
        self._pulls: dict[str, Pull] = {}
        self._by_consumer: dict[str, list[Pull]] = {}
        self._tokens = count(1)
        self._prefix = ""
        self._stream = ""
        self.id = ""
        self._subscription: Subscription | None = None
        self.max_batch_bytes = MAX_BATCH_BYTES

    async def attach(self, client: Client, stream: str) -> None:
        """Receive on a new connection; pulls of the one before are lost."""
        self.reset()
        self._stream = stream
        self.id = client.new_inbox().rpartition(".")[2]
        self._prefix = f"{client.new_inbox()}."
        self.max_batch_bytes = max(MAX_BATCH_BYTES, client.max_payload + 65_536)
        self._subscription = await client.subscribe(
            f"{self._prefix}*",
            cb=self._receive,
            pending_msgs_limit=PENDING_MESSAGES,
            pending_bytes_limit=0,
        )
        await client.subscribe(f"{_LEADER_ELECTED}.{stream}.*", cb=self._on_election)

    async def close(self) -> None:
        """Take no more messages; what is on its way is handled or given back before this returns.

        Without interest in its inbox the server drops a pull, so nothing is sent into the void.
        """
        if self._subscription is not None and self._connection.is_up:
            with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
                await asyncio.wait_for(self._subscription.drain(), 2)  # type: ignore[no-untyped-call]

    def reset(self) -> None:
        """Give up every pull: the connection that they went out on has ended."""
        for pull in list(self._pulls.values()):
            self._end(pull, Ended.LOST)

    def listen(self, consumer: str, receiver: Receiver) -> None:
        """Send a consumer's messages to `receiver` from now on."""
        self._receivers[consumer] = receiver

    def unlisten(self, consumer: str) -> None:
        """Give back a consumer's messages from now on."""
        self._receivers.pop(consumer, None)

    async def pull(
        self,
        consumer: str,
        batch: int,
        expires: float | None = None,
        heartbeat: float = HEARTBEAT_SECONDS,
        *,
        settle: bool = False,
    ) -> Pull:
        """Ask for up to `batch` messages: those there now, or those that come in `expires` seconds.

        While there are none the server is heard of every `heartbeat` seconds. With `settle`, those
        there now include all that was acknowledged before: it takes `SETTLE_SECONDS` to tell that
        there are none.
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
        pull = Pull(f"{next(self._tokens):x}", consumer, batch, expires, heartbeat)
        self._pulls[pull.token] = pull
        self._by_consumer.setdefault(consumer, []).append(pull)
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{consumer}"
        await self._connection.ask(subject, json.dumps(request).encode(), self._prefix + pull.token)
        return pull

    def outstanding(self, consumer: str) -> Pull | None:
        """Give a pull on the consumer that waits for something to come, if there is one.

        A wait whose client went away leaves its pull behind; the next wait takes it over.
        """
        return next((pull for pull in self._by_consumer.get(consumer, ()) if pull.waits), None)

    async def watch(self) -> None:
        """Notice pulls that the server has forgotten, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            now = loop.time()
            for pull in list(self._pulls.values()):
                if pull.remaining != pull.seen:
                    pull.seen, pull.heard = pull.remaining, now
                if now > min(pull.deadline, pull.heard + pull.silence):
                    log.debug("pull on %s was lost", pull.consumer)
                    self._end(pull, Ended.LOST if pull.waits else Ended.SILENT)

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
        if receiver is None:
            await self._connection.post(msg.reply, NAK)
        else:
            await receiver(message)

    def _count(self, message: Message) -> None:
        pulls = self._by_consumer.get(message.consumer)
        if pulls:
            pull = pulls[0]
            pull.remaining -= 1
            if pull.remaining <= 0:
                self._end(pull, Ended.FULL)

    def _on_status(self, msg: Msg) -> None:
        pull = self._pulls.get(msg.subject[len(self._prefix) :])
        if pull is None:
            return
        headers = msg.headers or {}
        status = headers.get(_STATUS, "")
        if status == "100":
            pull.heard = asyncio.get_running_loop().time()
            return
        self._end(pull, _reason(status, headers.get(_DESCRIPTION, "")))

    async def _on_election(self, msg: Msg) -> None:
        """Give up what waits on a consumer: the new leader knows nothing of it.

        Without this a pull at a leader that died would be missed only after some heartbeats.
        """
        for pull in list(self._by_consumer.get(msg.subject.rpartition(".")[2], ())):
            if pull.waits:
                self._end(pull, Ended.LOST)

    def _end(self, pull: Pull, why: Ended) -> None:
        self._pulls.pop(pull.token, None)
        pulls = self._by_consumer.get(pull.consumer)
        if pulls and pull in pulls:
            pulls.remove(pull)
            if not pulls:
                del self._by_consumer[pull.consumer]
        pull.end(why)


def _reason(status: str, description: str) -> Ended:
    """Sort the statuses of ADR-37: 404 and 408 are the ordinary ends of a pull."""
    if status == "404":
        return Ended.EMPTY
    if status == "408":
        return Ended.EXPIRED
    if status == "503" or description.startswith("Consumer Deleted"):
        return Ended.GONE
    if description.startswith("Message Size Exceeds MaxBytes"):
        return Ended.FULL
    log.debug("a pull ended with status %s %s", status, description)
    return Ended.LOST
