"""Neighbours: the bridges of one stream tell each other what JetStream keeps for nobody.

All of them hear everything, themselves included, on one subject. Nothing that must outlive a
process is told here alone.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg

from bridge.jetstream.connection import Connection
from bridge.jetstream.service import NAME

log = logging.getLogger("bridge.neighbours")

SUBJECT = f"$SRV.BRIDGES.{NAME}"

Hear = Callable[[Any], None]


class Neighbours:
    """What is told has a kind, for which there is one who `hear`s, and JSON as its content."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._hear: dict[str, Hear] = {"asked": self._on_asked}
        self._answers: dict[str, Callable[[], None]] = {}
        self._replies: set[asyncio.Task[None]] = set()

    def hear(self, kind: str, hear: Hear) -> None:
        """Let what is told of a kind be heard."""
        self._hear[kind] = hear

    def answer(self, question: str, answer: Callable[[], None]) -> None:
        """Ask a question on each new connection, and let `answer` tell what is known here."""
        self._answers[question] = answer

    async def attach(self, client: Client) -> None:
        """Hear the others on a new connection, and ask what was told before."""
        await client.subscribe(SUBJECT, cb=self._on_told)
        await client.publish(SUBJECT, json.dumps({"asked": list(self._answers)}).encode())

    def _on_asked(self, questions: list[str]) -> None:
        for question in questions:
            if (answer := self._answers.get(question)) is not None:
                answer()

    async def tell(self, kind: str, content: Any) -> None:
        """Tell every bridge that is connected, in order with whatever else is sent to NATS."""
        told = json.dumps({kind: content}, separators=(",", ":")).encode()
        await self._connection.post(SUBJECT, told, keep=False)

    def reply(self, kind: str, content: Any) -> None:
        """Tell something because of what was heard."""
        task = asyncio.create_task(self.tell(kind, content))
        self._replies.add(task)
        task.add_done_callback(self._replies.discard)

    async def _on_told(self, msg: Msg) -> None:
        try:
            for kind, content in json.loads(msg.data).items():
                if (hear := self._hear.get(kind)) is not None:
                    hear(content)
        except (ValueError, AttributeError, TypeError, KeyError) as error:
            log.warning("what was told on %s is no bridge's: %s", SUBJECT, error)
