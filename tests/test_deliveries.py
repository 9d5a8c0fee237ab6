"""Held messages: what a wait has in hand, and what is on its way to it, when it is cut off."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from bridge.errors import Unavailable
from bridge.jetstream.inbox import Inbox
from bridge.jetstream.message import ACK, NAK, Message
from bridge.jetstream.subscriptions.deliveries import Deliveries, HeldEvents
from bridge.jetstream.subscriptions.delivery_marks import KnownMarks
from bridge.jetstream.subscriptions.durables import Durables
from bridge.subscription import Selection, Subscription
from tests.support.wire import Wire

SUBSCRIPTION = Subscription(Selection("p", ("a",)), "reader")


class _There:
    """Stands for what surrounds a delivery: the subscription's consumer is there, the log empty."""

    epoch = 1
    last_sequence = 0

    def has(self, _: str) -> bool:
        return True

    def add(self, _: Subscription) -> None:
        """It is known already."""

    async def info(self, *_: object) -> SimpleNamespace:
        return SimpleNamespace()

    def follow(self, _: str) -> None:
        """Nothing was missed."""

    def unfollow(self, _: str) -> None:
        """Nothing was missed."""

    async def repair(self, _: Subscription) -> None:
        """It never went."""

    async def look_into(self, _: Message) -> None:
        """No number comes twice."""


def held_on(wire: Wire, inbox: Inbox) -> HeldEvents:
    there: Any = _There()
    marks = KnownMarks()
    durables = Durables(wire, inbox, there, there, marks, there)  # type: ignore[arg-type]
    deliveries = Deliveries(durables, there, there, marks, there, there, ack_wait=30)
    return deliveries.deliver(SUBSCRIPTION)


def test_what_is_on_its_way_goes_back_behind_what_is_in_hand() -> None:
    """Given back for itself it would come again before what is older."""

    async def run() -> None:
        wire = Wire()
        held = held_on(wire, await wire.inbox())
        name = SUBSCRIPTION.name
        fetching = asyncio.create_task(held.fetch(2, lambda: 30.0, holds=True))
        await wire.await_asked(1)
        replies = [await wire.deliver(name, sequence) for sequence in (1, 2)]
        assert [message.sequence for message in await fetching] == [1, 2]

        fetching = asyncio.create_task(held.fetch(2, lambda: 30.0, holds=True))
        await wire.await_asked(2)
        fetching.cancel()
        await asyncio.sleep(0)
        replies.append(await wire.deliver(name, 3))
        assert not fetching.done()
        assert wire.posted == []
        await wire.end(wire.asked[-1], "404", "No Messages")
        await asyncio.wait((fetching,))
        await held.give_back()
        assert wire.posted == [(reply, NAK) for reply in replies]

    asyncio.run(run())


def test_a_wait_whose_connection_ends_unanswered_does_not_say_that_nothing_is_there() -> None:
    async def run() -> None:
        wire = Wire()
        inbox = await wire.inbox(patience=30)
        held = held_on(wire, inbox)
        over = asyncio.get_running_loop().time() + 0.01
        fetching = asyncio.create_task(
            held.fetch(1, lambda: over - asyncio.get_running_loop().time())
        )
        await wire.await_asked(1)
        inbox.reset()
        with pytest.raises(Unavailable):
            await fetching

    asyncio.run(run())


def test_a_message_that_comes_again_is_one_event_and_its_later_delivery_is_answered() -> None:
    async def run() -> None:
        wire = Wire()
        held = held_on(wire, await wire.inbox())
        name = SUBSCRIPTION.name
        fetching = asyncio.create_task(held.fetch(1, lambda: 30.0))
        await wire.await_asked(1)
        await wire.deliver(name, 1)
        assert len(await fetching) == 1
        fetching = asyncio.create_task(held.fetch(2, lambda: 30.0))
        await wire.await_asked(2)
        again = await wire.deliver(name, 1, delivered=2)
        after = await wire.deliver(name, 2)
        assert [message.sequence for message in await fetching] == [2]
        await held.accept()
        assert sorted(wire.posted) == sorted([(again, ACK), (after, ACK)])

    asyncio.run(run())
