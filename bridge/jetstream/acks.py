"""Acks: publishing to a stream, and JetStream's word for each message, through one inbox.

nats-py's own asynchronous publish makes a task, a semaphore and two timers for each message; this
is the hot path of the bridge, so here it is a counter and a future.
"""

import asyncio
import json
from dataclasses import dataclass
from itertools import count

from nats.aio.client import Client
from nats.aio.msg import Msg

from bridge.errors import Unavailable
from bridge.jetstream.connection import ApiError, Connection

PENDING_MESSAGES = 1_000_000
NO_RESPONDERS = "503"


@dataclass(frozen=True, slots=True)
class Ack:
    """JetStream has stored a message at `sequence`, or had it before (`duplicate`)."""

    sequence: int
    duplicate: bool


class Acks:
    """Publishes messages and matches JetStream's answers to them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: dict[str, asyncio.Future[Ack]] = {}
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
        for future in waiting.values():
            if not future.done():
                future.set_exception(Unavailable("the connection to NATS was lost"))

    async def publish(
        self, subject: str, payload: bytes, headers: dict[str, str], wait: float
    ) -> Ack:
        """Publish a message and wait at most `wait` seconds for JetStream's answer.

        Raises TimeoutError, Unavailable (no connection, no leader), ApiError (refused) or
        nats.errors.MaxPayloadError.
        """
        await self._connection.usable(wait)
        token = f"{next(self._tokens):x}"
        future: asyncio.Future[Ack] = asyncio.get_running_loop().create_future()
        self._waiting[token] = future
        try:
            await self._connection.ask(subject, payload, self._prefix + token, headers)
            async with asyncio.timeout(wait):
                return await future
        finally:
            self._waiting.pop(token, None)

    async def _receive(self, msg: Msg) -> None:
        future = self._waiting.get(msg.subject[len(self._prefix) :])
        if future is None or future.done():
            return
        if msg.headers and msg.headers.get("Status") == NO_RESPONDERS:
            future.set_exception(Unavailable("the stream has no leader right now", retry_after=1))
            return
        answer = json.loads(msg.data)
        if refusal := answer.get("error"):
            future.set_exception(
                ApiError(refusal["code"], refusal.get("err_code", 0), refusal["description"])
            )
            return
        future.set_result(Ack(answer["seq"], answer.get("duplicate", False)))
