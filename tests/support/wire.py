"""A stand-in for the wire to NATS: what code sends is kept, and the test says what comes back.

For code whose work is the order of things on the wire. What is about NATS itself is tested against
a real nats-server.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from bridge.errors import Unavailable
from bridge.jetstream.connection import Unanswered
from bridge.jetstream.inbox import Inbox

Handler = Callable[[Any], Awaitable[None]]
Taker = Callable[[Any], None]
STREAM = "EVENTS"


@dataclass(frozen=True)
class Asked:
    """A request that was sent, and the inbox that its answers go to."""

    subject: str
    body: dict[str, Any]
    reply: str


def unanswered(subject: str, _: dict[str, Any]) -> dict[str, Any]:
    """Be a server that does not answer."""
    raise Unanswered(f"nobody answers {subject}")


class Wire:
    """Stands for a `Connection` and for the client that it hands out."""

    max_payload = 1_048_576

    def __init__(self) -> None:
        self.is_up = True
        self.breaks = False
        self.name = "test"
        self.api: Callable[[str, dict[str, Any]], dict[str, Any]] = unanswered
        self.asked: list[Asked] = []
        self.posted: list[tuple[str, bytes]] = []
        self.refused: set[str] = set()
        self._handlers: dict[str, Handler] = {}
        self._takers: list[tuple[Taker, Callable[[bytes], bool]]] = []
        self._consumer_sequence = 0
        self._sent = asyncio.Event()

    def new_inbox(self) -> str:
        return "_INBOX.test"

    async def subscribe(self, subject: str, cb: Handler, **_: object) -> SimpleNamespace:
        self._handlers[subject] = cb
        return SimpleNamespace()

    def take(self, _: object, taker: Taker, wanted: Callable[[bytes], bool] | None = None) -> None:
        """Hand messages past their subscription, as `NatsClient.take` does."""
        if wanted is not None:
            self._takers.append((taker, wanted))

    async def request(
        self, subject: str, body: dict[str, Any] | None = None, **_: object
    ) -> dict[str, Any]:
        """Let `api` answer, which is given the subject without its beginning, or raise."""
        return self.api(subject.removeprefix("$JS.API."), body or {})

    async def question(self, subject: str, _: float = 0) -> dict[str, Any]:
        return await self.request(subject)

    async def usable(self, wait: float = 2.0) -> None:
        """Always so: outages are tested on a real one."""

    def refuses(self, subject: str) -> bool:
        return subject in self.refused

    async def ask(self, subject: str, payload: bytes, reply: str, _: object = None) -> None:
        if self.breaks:
            raise Unavailable("the connection was lost")
        self.asked.append(Asked(subject, json.loads(payload), reply))
        self._sent.set()

    async def post(self, subject: str, payload: bytes, **_: bool) -> None:
        self.posted.append((subject, payload))

    async def inbox(self, patience: float = 0.01) -> Inbox:
        """Make an inbox on this wire, which loses its patience soon."""
        inbox = Inbox(self, patience=patience, look=0.01)  # type: ignore[arg-type]
        await inbox.attach(self, STREAM)  # type: ignore[arg-type]
        return inbox

    async def await_asked(self, count: int) -> None:
        """Wait until so many requests were sent."""
        async with asyncio.timeout(10):
            while len(self.asked) < count:
                self._sent.clear()
                await self._sent.wait()

    def count_from(self, number: int) -> None:
        """Let the consumer's deliveries be numbered on from here."""
        self._consumer_sequence = number

    async def deliver(
        self, consumer: str, sequence: int, *, delivered: int = 1, pending: int = 0
    ) -> str:
        """Let a message arrive, and give the subject that answers it."""
        self._consumer_sequence += 1
        numbers = f"{delivered}.{sequence}.{self._consumer_sequence}.{sequence * 10**9}.{pending}"
        reply = f"$JS.ACK.{STREAM}.{consumer}.{numbers}"
        message = SimpleNamespace(
            subject=f"events.p.testing.a._{sequence}", reply=reply, data=b"{}", headers=None
        )
        for taker, wanted in self._takers:
            if wanted(reply.encode()):
                taker(message)
                return reply
        await self._handlers["_INBOX.test.*"](message)
        return reply

    async def elect(self, consumer: str, leader: str) -> None:
        """Tell that a consumer has this leader now."""
        subject = f"$JS.EVENT.ADVISORY.CONSUMER.LEADER_ELECTED.{STREAM}"
        told = SimpleNamespace(subject=f"{subject}.{consumer}", data=b'{"leader": "%b"}')
        told.data %= leader.encode()
        await self._handlers[f"{subject}.*"](told)

    async def end(
        self, asked: Asked, status: str, description: str, left: int | None = None
    ) -> None:
        """Let the status arrive that ends a pull; `left` messages of it will not be sent."""
        headers = {"Status": status, "Description": description}
        if left is not None:
            headers["Nats-Pending-Messages"] = str(left)
        message = SimpleNamespace(subject=asked.reply, reply="", data=b"", headers=headers)
        await self._handlers["_INBOX.test.*"](message)
