"""Confirmations: what is sent to JetStream, and its word for each, through one inbox.

nats-py's own request makes a task and a timer for each message; stored events and settled
deliveries are the hot path of the bridge, so here it is a counter and a future.
"""

import asyncio
from itertools import count

from nats.aio.msg import Msg

from bridge.errors import Unavailable
from bridge.jetstream.connection import Connection
from bridge.jetstream.natspy import NO_RESPONDERS, NatsClient

WATCH_SECONDS = 0.1


class Confirmations:
    """Sends messages and matches the answers to them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: dict[str, tuple[asyncio.Future[Msg], float]] = {}
        self._tokens = count(1)
        self._prefix = ""

    async def attach(self, client: NatsClient) -> None:
        """Receive answers on a new connection; those of the one before will not come any more."""
        self.reset()
        self._prefix = f"{client.new_inbox()}."
        subscription = await client.subscribe(f"{self._prefix}*")
        client.take(subscription, self._receive)

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

    async def ask(self, subject: str, payload: bytes, wait: float, headers: bytes = b"") -> Msg:
        """Send a message and wait for the answer, about `wait` seconds at most.

        `headers` are as `header_block` writes them. Raises TimeoutError, or Unavailable where there
        is no connection, or nobody to take the message.
        """
        await self._connection.usable(wait)
        token = f"{next(self._tokens):x}"
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Msg] = loop.create_future()
        self._waiting[token] = (future, loop.time() + wait)
        try:
            await self._connection.ask(subject, payload, self._prefix + token, headers)
            answer = await future
        finally:
            self._waiting.pop(token, None)
        if answer.headers and answer.headers.get("Status") == NO_RESPONDERS:
            raise Unavailable("JetStream has no leader to take it right now", retry_after=1)
        return answer

    def _receive(self, msg: Msg) -> None:
        waiting = self._waiting.get(msg.subject[len(self._prefix) :])
        if waiting is not None and not waiting[0].done():
            waiting[0].set_result(msg)
