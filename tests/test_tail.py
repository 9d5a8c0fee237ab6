"""The tail: it reads the stream in order, as it is now, and starts again where that fails."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from bridge.errors import Unavailable
from bridge.jetstream.consumer_api import ConsumerApi
from bridge.jetstream.log.tail import Tail
from bridge.jetstream.stream import stream_state
from bridge.subscription import Selection
from tests.support.wire import STREAM, Wire

ALL = Selection("p")


class Scene:
    """A tail on a wire; `began` has where each of its consumers began."""

    def __init__(self) -> None:
        self.wire = Wire()
        self.wire.api = self._api
        self.began: list[int] = []
        self.names: list[str] = []
        self.state = {"messages": 0, "first_seq": 1, "last_seq": 0}
        self.created = "2026-01-01T00:00:00Z"
        self.started_over = 0
        self._looked = 0
        self._made = asyncio.Event()

    def _api(self, subject: str, body: dict[str, Any]) -> dict[str, Any]:
        if subject.startswith("CONSUMER.CREATE"):
            self.began.append(body["config"]["opt_start_seq"])
            self.names.append(body["config"]["name"])
            self._made.set()
            return {"name": body["config"]["name"]}
        if subject.startswith("CONSUMER.DELETE"):
            return {}
        return {"created": self.created, "config": {"num_replicas": 1}, "state": dict(self.state)}

    def holds(self, first: int, last: int, messages: int | None = None) -> None:
        count = last - first + 1 if messages is None else messages
        self.state = {"messages": count, "first_seq": first, "last_seq": last}

    async def run(self, test: Callable[[Tail], Awaitable[None]]) -> None:
        inbox = await self.wire.inbox(patience=30)
        api = ConsumerApi(cast("Any", self.wire), STREAM)
        tail = Tail(cast("Any", self.wire), inbox, api, STREAM, self._start_over)
        tail.adopt(await stream_state(cast("Any", self.wire), STREAM))
        running = asyncio.create_task(tail.run())
        try:
            async with asyncio.timeout(10):
                await test(tail)
        finally:
            running.cancel()
            await asyncio.wait((running,))

    async def _start_over(self) -> None:
        self.started_over += 1

    async def reads_again(self) -> None:
        """Wait until there is a second consumer."""
        while len(self.began) < 2:
            self._made.clear()
            await self._made.wait()

    async def arrive(self, *sequences: int) -> None:
        """Let messages arrive at the consumer that is read now."""
        await self.pulled()
        for sequence in sequences:
            await self.wire.deliver(self.names[-1], sequence)

    async def pulled(self) -> None:
        """Wait until the newest consumer is asked for messages."""
        await self.wire.await_asked(self._looked + 1)
        self._looked = len(self.wire.asked)

    async def no_more(self) -> None:
        await self.wire.end(self.wire.asked[-1], "404", "No Messages")


def shown(tail: Tail) -> list[int]:
    return [entry.sequence for entry in tail.mirror.forwards(ALL, 0, 0.0) if entry is not None]


def test_what_arrives_is_retained_and_wakes_who_watches() -> None:
    async def run(tail: Tail) -> None:
        news = tail.watch(ALL)
        await scene.arrive(1, 2)
        await news
        assert shown(tail) == [1, 2]
        assert tail.last_sequence == 2

    scene = Scene()
    asyncio.run(scene.run(run))


def test_behind_a_delivery_that_went_missing_it_reads_again_from_the_last_in_order() -> None:
    async def run(tail: Tail) -> None:
        await scene.arrive(1, 2)
        scene.wire.count_from(3)
        await scene.wire.deliver(scene.names[-1], 4)
        assert tail.last_sequence == 2, "3 is still to come"
        await scene.reads_again()
        assert scene.began == [1, 3]
        scene.wire.count_from(0)
        await scene.arrive(3, 4)
        assert shown(tail) == [1, 2, 3, 4]

    scene = Scene()
    asyncio.run(scene.run(run))


def test_catching_up_ends_when_a_look_finds_no_more() -> None:
    async def run(tail: Tail) -> None:
        asked = asyncio.create_task(tail.catch_up())
        await scene.arrive(1)
        assert not asked.done()
        await scene.no_more()
        await scene.pulled()  # the first look began before the question
        await scene.no_more()
        await asked
        assert shown(tail) == [1]

    scene = Scene()
    asyncio.run(scene.run(run))


def test_what_was_deleted_inside_the_stream_is_noticed_and_read_anew() -> None:
    """No message tells of it, but there are fewer than were read."""

    async def run(tail: Tail) -> None:
        await scene.arrive(1, 2, 3)
        assert shown(tail) == [1, 2, 3]
        scene.holds(1, 3, messages=2)
        await tail.verify()
        await scene.reads_again()
        assert scene.began == [1, 1]
        scene.wire.count_from(0)
        await scene.arrive(1, 3)
        assert shown(tail) == [1, 3]

    scene = Scene()
    asyncio.run(scene.run(run))


def test_another_stream_of_the_name_is_not_taken_for_the_one_that_was_read() -> None:
    async def run(tail: Tail) -> None:
        await scene.arrive(1)
        scene.created = "2026-02-02T00:00:00Z"
        with pytest.raises(Unavailable, match="made again"):
            await tail.verify()
        assert scene.started_over == 1

    scene = Scene()
    asyncio.run(scene.run(run))
