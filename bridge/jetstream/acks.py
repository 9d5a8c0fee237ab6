"""Acks: publishing to a stream, and JetStream's word for each message, through one inbox.

nats-py's own asynchronous publish makes a task, a semaphore and two timers for each message; this
is the hot path of the bridge, so here it is a counter and a future.
"""

import asyncio
from itertools import count
from typing import NamedTuple

import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg

from bridge.errors import EventTooLarge, Unavailable
from bridge.jetstream.connection import ApiError, Connection

PENDING_MESSAGES = 1_000_000
NO_RESPONDERS = "503"
IN_PROCESS = 10158
"""JetStream's word for a message ID that it has, and has not stored on enough servers yet."""

WATCH_SECONDS = 0.1
_FRAME = len("NATS/1.0\r\n\r\n")


class Ack(NamedTuple):
    """JetStream has stored a message at `sequence`, or had it before (`duplicate`)."""

    sequence: int
    duplicate: bool


class Acks:
    """Publishes messages and matches JetStream's answers to them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: dict[str, tuple[asyncio.Future[Ack], float]] = {}
        self._tokens = count(1)
        self._prefix = ""

    async def attach(self, client: Client) -> None:
        """Receive answers on a new connection; those of the one before will not come any more."""
        self.reset()
        self._prefix = f"{client.new_inbox()}."
        await client.subscribe(
            f"{self._prefix}*",
            cb=self._receive,
            pending_msgs_limit=PENDING_MESSAGES,
            pending_bytes_limit=0,
        )

    def reset(self) -> None:
        """Give up every answer that is awaited: its connection has ended."""
        waiting, self._waiting = self._waiting, {}
        for future, _ in waiting.values():
            if not future.done():
                future.set_exception(Unavailable("the connection to NATS was lost"))

    async def watch(self) -> None:
        """Give up answers that are overdue, until cancelled: one timer instead of one for each."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            now = loop.time()
            for future, deadline in list(self._waiting.values()):
                if now > deadline and not future.done():
                    future.set_exception(TimeoutError())

    async def publish(
        self, subject: str, payload: bytes, headers: dict[str, str], wait: float
    ) -> Ack:
        """Publish a message and wait for JetStream's answer, about `wait` seconds at most.

        Raises TimeoutError, Unavailable (no connection, no leader), ApiError (refused) or
        EventTooLarge.
        """
        await self._connection.usable(wait)
        self.check_size(payload, headers)
        token = f"{next(self._tokens):x}"
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Ack] = loop.create_future()
        self._waiting[token] = (future, loop.time() + wait)
        try:
            await self._connection.ask(subject, payload, self._prefix + token, headers)
            return await future
        finally:
            self._waiting.pop(token, None)

    def check_size(self, payload: bytes, headers: dict[str, str]) -> None:
        """Raise EventTooLarge for a message that the server would not take."""
        most = self._connection.max_payload
        if most and len(payload) + _size(headers) > most:
            raise EventTooLarge(
                "the event is larger than the NATS server takes; publish a reference to large "
                "data instead of the data",
                limit_bytes=most,
            )

    async def _receive(self, msg: Msg) -> None:
        waiting = self._waiting.get(msg.subject[len(self._prefix) :])
        if waiting is None or waiting[0].done():
            return
        future = waiting[0]
        if msg.headers and msg.headers.get("Status") == NO_RESPONDERS:
            future.set_exception(Unavailable("the stream has no leader right now", retry_after=1))
            return
        answer = orjson.loads(msg.data)
        if (refusal := answer.get("error")) and refusal.get("err_code") == IN_PROCESS:
            future.set_exception(Unavailable("an earlier try is not confirmed yet", retry_after=1))
            return
        if refusal:
            future.set_exception(
                ApiError(refusal["code"], refusal.get("err_code", 0), refusal["description"])
            )
            return
        future.set_result(Ack(answer["seq"], answer.get("duplicate", False)))


def _size(headers: dict[str, str]) -> int:
    """Give the bytes of a header block on the wire, which count as payload (NATS ADR-4)."""
    return _FRAME + sum(len(key) + len(value.encode()) + 4 for key, value in headers.items())
