"""Waiters: who of several waits on one consumer gets what, and what nobody is there for."""

import asyncio

import pytest

from bridge.errors import NotFound
from bridge.jetstream.message import ACK, NAK, Message
from bridge.jetstream.subscriptions.consumers import Leaderless
from bridge.jetstream.subscriptions.delivery_marks import KnownMarks
from bridge.jetstream.subscriptions.waiters import REPAIR_PAUSES, Waiters
from tests.support.wire import Wire

NAME = "p--reader--a--0000"


class Scene:
    """Waiters on a wire, with what they ask of failover."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.marks = KnownMarks()
        self.marks.of(NAME).learn("first", 0, 0)
        self.repairs = 0
        self.repaired: Exception | None = None
        self.looked_into: list[int] = []

    async def open(self) -> Waiters:
        inbox = await self.wire.inbox(patience=30)
        waiters = Waiters(NAME, inbox, self.repair, self.look_into, self.marks)
        inbox.listen(NAME, waiters.receive)
        return waiters

    async def repair(self) -> None:
        self.repairs += 1
        await asyncio.sleep(0)
        if self.repaired is not None:
            raise self.repaired

    async def look_into(self, message: Message) -> None:
        self.looked_into.append(message.sequence)
        await asyncio.sleep(0)
        self.marks.of(NAME).go_back(message.consumer_sequence, 5.0)

    async def nothing_there(self, asked: int) -> None:
        """Answer a look at what is there now."""
        await self.wire.await_asked(asked + 1)
        await self.wire.end(self.wire.asked[asked], "404", "No Messages")


def fetching(
    waiters: Waiters, arrived: list[Message], limit: int = 1, seconds: float = 30.0
) -> asyncio.Task[None]:
    until = asyncio.get_running_loop().time() + seconds
    return asyncio.create_task(
        waiters.fetch(limit, lambda: until - asyncio.get_running_loop().time(), arrived)
    )


def sequences(messages: list[Message]) -> list[int]:
    return [message.sequence for message in messages]


def test_each_event_goes_to_the_first_wait_with_room_and_one_pull_serves_all() -> None:
    async def run() -> None:
        wire = Wire()
        scene = Scene(wire)
        waiters = await scene.open()
        first: list[Message] = []
        second: list[Message] = []
        both = (fetching(waiters, first), fetching(waiters, second))
        await scene.nothing_there(0)
        await scene.nothing_there(1)
        await wire.await_asked(3)
        assert [asked.body["batch"] for asked in wire.asked[2:]] == [1]
        await wire.deliver(NAME, 7)
        await both[0]
        await wire.await_asked(4)
        await wire.deliver(NAME, 8)
        await both[1]
        assert (sequences(first), sequences(second)) == ([7], [8])
        assert waiters.idle

    asyncio.run(run())


def test_what_comes_when_nobody_has_room_goes_back_at_once() -> None:
    async def run() -> None:
        wire = Wire()
        scene = Scene(wire)
        await scene.open()
        reply = await wire.deliver(NAME, 7)
        assert wire.posted == [(reply, NAK)]

    asyncio.run(run())


def test_what_its_reader_has_had_is_acknowledged_again_and_given_to_nobody() -> None:
    async def run() -> None:
        wire = Wire()
        scene = Scene(wire)
        waiters = await scene.open()
        scene.marks.of(NAME).learn("first", 3, 7)
        arrived: list[Message] = []
        fetch = fetching(waiters, arrived)
        await wire.await_asked(1)
        wire.count_from(3)
        again = await wire.deliver(NAME, 7)
        fresh = await wire.deliver(NAME, 8)
        await fetch
        assert sequences(arrived) == [8]
        assert wire.posted == [(again, ACK)]
        assert fresh

    asyncio.run(run())


def test_a_number_that_comes_again_is_looked_into_before_anything_is_given() -> None:
    """And what comes after it waits for that too: it would overtake."""

    async def run() -> None:
        wire = Wire()
        scene = Scene(wire)
        waiters = await scene.open()
        scene.marks.of(NAME).learn("first", 9, 5)
        arrived: list[Message] = []
        fetch = fetching(waiters, arrived, limit=2)
        await wire.await_asked(1)
        await wire.deliver(NAME, 6)
        await wire.deliver(NAME, 7)
        assert arrived == []
        await fetch
        assert sequences(arrived) == [6, 7]
        assert scene.looked_into == [6], "once, for all that follow"

    asyncio.run(run())


def test_what_may_have_been_given_before_says_so() -> None:
    async def run() -> None:
        wire = Wire()
        scene = Scene(wire)
        waiters = await scene.open()
        scene.marks.of(NAME).given_before = 7.5  # the wire stores each in its own second
        arrived: list[Message] = []
        fetch = fetching(waiters, arrived, limit=2)
        await wire.await_asked(1)
        await wire.deliver(NAME, 7)
        await wire.deliver(NAME, 8)
        await fetch
        assert [message.delivered for message in arrived] == [2, 1]

    asyncio.run(run())


def test_a_deletion_ends_its_waits_and_says_so() -> None:
    async def run() -> None:
        wire = Wire()
        scene = Scene(wire)
        waiters = await scene.open()
        fetch = fetching(waiters, [])
        await scene.nothing_there(0)
        await wire.await_asked(2)
        waiters.doom()
        await wire.end(wire.asked[1], "409", "Consumer Deleted")
        with pytest.raises(NotFound):
            await fetch
        assert scene.repairs == 0

    asyncio.run(run())


def test_a_lost_consumer_is_made_again_once_for_all_its_waits() -> None:
    async def run() -> None:
        wire = Wire()
        scene = Scene(wire)
        waiters = await scene.open()
        both = (fetching(waiters, [], seconds=0.2), fetching(waiters, [], seconds=0.2))
        await wire.await_asked(2)
        await wire.end(wire.asked[0], "503", "No Responders")
        await wire.end(wire.asked[1], "503", "No Responders")
        await scene.nothing_there(2)
        await scene.nothing_there(3)
        await asyncio.gather(*both)
        assert scene.repairs == 1

    asyncio.run(run())


def test_one_that_cannot_be_made_again_is_tried_as_often_as_there_are_pauses_and_once_more() -> (
    None
):
    async def run() -> None:
        wire = Wire()
        scene = Scene(wire)
        scene.repaired = Leaderless("no leader")
        waiters = await scene.open()
        fetch = fetching(waiters, [], seconds=0.45)
        for asked in range(len(REPAIR_PAUSES) + 1):
            await wire.await_asked(asked + 1)
            await wire.end(wire.asked[asked], "503", "No Responders")
        with pytest.raises(Leaderless):
            await fetch
        assert scene.repairs == len(REPAIR_PAUSES) + 1

    asyncio.run(run())
