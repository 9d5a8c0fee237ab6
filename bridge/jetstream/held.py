"""Held messages: delivered to this process, and not yet answered to JetStream."""

import asyncio
from collections.abc import Callable

from bridge.jetstream.message import Message

RENEWALS_PER_ACK_WAIT = 3


class Held:
    """Messages in hand, kept from being delivered again until they are accepted or given back.

    `ack_wait` is in seconds: JetStream delivers a message again when it hears nothing for so long,
    so while messages are held it is told that they are in progress. `on_give_back` is called with
    the number of messages that are given back.
    """

    def __init__(self, ack_wait: float, on_give_back: Callable[[int], None]) -> None:
        self._messages: dict[tuple[int, float], Message] = {}
        self._on_give_back = on_give_back
        self.ack_wait = ack_wait
        self._interval = ack_wait / RENEWALS_PER_ACK_WAIT
        self._timer: asyncio.TimerHandle | None = None
        self._renewals: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, message: Message) -> bool:
        """Take a message in hand; False if it was and has come again, as from a new consumer.

        Then the later delivery is the one to answer.
        """
        # A stream that was made again gives its sequences a second time.
        identity = message.sequence, message.stored_at
        new = identity not in self._messages
        self._messages[identity] = message
        if self._timer is None:
            self._arm()
        return new

    async def accept(self) -> None:
        """Acknowledge every message: it has reached its reader."""
        for message in self._release():
            await message.ack()

    async def give_back(self) -> None:
        """Give every message back, in order: its reader has gone."""
        messages = self._release()
        self._on_give_back(len(messages))
        for message in messages:
            await message.nak()

    def _release(self) -> list[Message]:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        messages, self._messages = self._messages, {}
        return list(messages.values())

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._renew)

    def _renew(self) -> None:
        task = asyncio.create_task(_renew_all(list(self._messages.values())))
        self._renewals.add(task)
        task.add_done_callback(self._renewals.discard)
        self._arm()


async def _renew_all(messages: list[Message]) -> None:
    for message in messages:
        await message.in_progress()
