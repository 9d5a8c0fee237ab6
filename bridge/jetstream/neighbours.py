"""Neighbours: the bridges of one stream tell each other what JetStream keeps for nobody.

All of them hear everything on one subject, and pass over what they have said themselves. Nothing
that must outlive a process is told here alone.
"""

import asyncio
import json
import logging
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg

from bridge.jetstream.connection import Connection
from bridge.jetstream.service import NAME

log = logging.getLogger("bridge.neighbours")

SUBJECT = f"$SRV.BRIDGES.{NAME}"

ANSWER_SECONDS = 0.5
SOON_SECONDS = 0.005
MAX_ITEMS = 1000
QUIET_SECONDS = 0.05
"""So long after the last answer nobody else is expected to answer."""

Hear = Callable[[Any], None]
Told = tuple[str, Sequence[Any]]
"""Of which kind it is, and a list of what."""


class Neighbours:
    """What is told has a kind, for which there is one who `hear`s, and JSON as its content."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.id = uuid.uuid4().hex[:12]
        self._hear: dict[str, Hear] = {
            "asked": self._on_asked,
            "ask": self._on_ask,
            "answer": self._on_answer,
        }
        self._from = b'{"from":"%b",' % self.id.encode()
        self._soon: dict[str, list[Any]] = {}
        self._known: list[Callable[[], Iterable[Told]]] = []
        self._serving: dict[str, Callable[[Any], Any]] = {}
        self._asking: dict[str, tuple[dict[str, Any], asyncio.Event]] = {}
        self._numbers = count(1)
        self._replies: set[asyncio.Task[None]] = set()

    def hear(self, kind: str, hear: Hear) -> None:
        """Let what is told of a kind be heard."""
        self._hear[kind] = hear

    def know(self, known: Callable[[], Iterable[Told]]) -> None:
        """Let what is known here be told to bridges that may not have heard it.

        Those are the ones that are new, and all when this one is connected anew: what was sent last
        over the connection before may be lost.
        """
        self._known.append(known)

    async def attach(self, client: Client) -> None:
        """Hear the others on a new connection; tell them what is known here, and ask the same."""
        await client.subscribe(SUBJECT, cb=self._on_told)
        for kind, content in self._all_known():
            await client.publish(SUBJECT, self._written(kind, content))
        await client.publish(SUBJECT, self._written("asked", True))

    def _all_known(self) -> list[Told]:
        return [part for known in self._known for told in known() for part in _in_parts(*told)]

    def _on_asked(self, _: object) -> None:
        for kind, content in self._all_known():
            self.reply(kind, content)

    async def tell(self, kind: str, content: Any) -> None:
        """Tell every bridge that is connected, in order with whatever else is sent to NATS."""
        await self._connection.post(SUBJECT, self._written(kind, content), keep=False)

    def tell_soon(self, kind: str, items: Sequence[Any]) -> None:
        """Tell a list, in a moment and together with others of its kind: much costs little."""
        if not self._soon:
            asyncio.get_running_loop().call_later(SOON_SECONDS, self._tell_all)
        self._soon.setdefault(kind, []).extend(items)

    def _tell_all(self) -> None:
        told, self._soon = self._soon, {}
        for kind, items in told.items():
            for part in _in_parts(kind, items):
                self.reply(*part)

    def reply(self, kind: str, content: Any) -> None:
        """Tell something because of what was heard."""
        task = asyncio.create_task(self.tell(kind, content))
        self._replies.add(task)
        task.add_done_callback(self._replies.discard)

    def serve(self, kind: str, answer: Callable[[Any], Any]) -> None:
        """Answer questions of a kind with what `answer` gives as JSON."""
        self._serving[kind] = answer

    async def ask(self, kind: str, content: Any) -> Mapping[str, Any]:
        """Ask every bridge, and give what those said, by ID, that answered within a moment."""
        number = f"{self.id}-{next(self._numbers)}"
        answers: dict[str, Any] = {}
        came = asyncio.Event()
        self._asking[number] = answers, came
        try:
            await self.tell("ask", [number, kind, content])
            async with asyncio.timeout(ANSWER_SECONDS):
                while True:
                    came.clear()
                    await asyncio.wait_for(came.wait(), QUIET_SECONDS if answers else None)
        except TimeoutError:
            return answers
        finally:
            del self._asking[number]

    def _on_ask(self, asked: tuple[str, str, Any]) -> None:
        number, kind, content = asked
        if (answer := self._serving.get(kind)) is not None:
            self.reply("answer", [number, self.id, answer(content)])

    def _on_answer(self, told: tuple[str, str, Any]) -> None:
        number, bridge, answer = told
        if (asking := self._asking.get(number)) is not None:
            asking[0][bridge] = answer
            asking[1].set()

    def _written(self, kind: str, content: Any) -> bytes:
        return self._from + json.dumps({kind: content}, separators=(",", ":")).encode()[1:]

    async def _on_told(self, msg: Msg) -> None:
        if msg.data.startswith(self._from):
            return
        try:
            for kind, content in json.loads(msg.data).items():
                if (hear := self._hear.get(kind)) is not None:
                    hear(content)
        except (ValueError, AttributeError, TypeError, KeyError) as error:
            log.warning("what was told on %s is no bridge's: %s", SUBJECT, error)


def _in_parts(kind: str, items: Sequence[Any]) -> Iterator[Told]:
    """Split what is told into messages of bounded size."""
    for start in range(0, len(items), MAX_ITEMS):
        yield kind, items[start : start + MAX_ITEMS]
