"""Pulls: when one is over, whatever order the server's words about it arrive in."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from bridge.errors import Unavailable
from bridge.jetstream.inbox import Inbox
from bridge.jetstream.pulls import Ended
from tests.support.wire import Wire

Check = Callable[[Wire, Inbox], Awaitable[None]]


def on_the_wire(check: Check) -> None:
    async def run() -> None:
        wire = Wire()
        inbox = await wire.inbox()

        async def take(_: object) -> None:
            """Messages are only counted here."""

        inbox.listen("c", take)
        await check(wire, inbox)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("description", "left", "why"),
    [
        ("Batch Completed", 0, Ended.FULL),
        ("Message Size Exceeds MaxBytes", 1, Ended.FULL),
        ("Leadership Change", 1, Ended.LOST),
    ],
)
def test_a_status_that_overtakes_messages_ends_the_pull_behind_them(
    description: str, left: int, why: Ended
) -> None:
    """A replicated consumer's messages wait for a quorum, and the status does not."""

    async def check(wire: Wire, inbox: Inbox) -> None:
        pull = await inbox.pull("c", 2 + left)
        [asked] = wire.asked
        await wire.end(asked, "409", description, left)
        assert not pull.ended.done()
        await wire.deliver("c", 1)
        assert not pull.ended.done()
        await wire.deliver("c", 2)
        assert pull.ended.result() is why

    on_the_wire(check)


@pytest.mark.parametrize(
    ("status", "description", "left", "why"),
    [
        ("404", "No Messages", None, Ended.EMPTY),
        ("408", "Request Timeout", 2, Ended.EXPIRED),
        ("409", "Message Size Exceeds MaxBytes", 2, Ended.FULL),
        ("409", "Exceeded MaxWaiting", None, Ended.LOST),
        ("409", "Consumer Deleted", None, Ended.GONE),
        ("503", "", None, Ended.GONE),
    ],
)
def test_a_status_with_nothing_under_way_ends_the_pull_at_once(
    status: str, description: str, left: int | None, why: Ended
) -> None:
    async def check(wire: Wire, inbox: Inbox) -> None:
        pull = await inbox.pull("c", 3)
        [asked] = wire.asked
        await wire.deliver("c", 1)
        await wire.end(asked, status, description, left)
        assert pull.ended.result() is why

    on_the_wire(check)


def test_a_pull_whose_messages_are_under_way_is_not_taken_over() -> None:
    async def check(wire: Wire, inbox: Inbox) -> None:
        pull = await inbox.pull("c", 1, expires=30)
        assert inbox.outstanding("c") is pull
        await wire.end(wire.asked[0], "409", "Batch Completed", 0)
        assert inbox.outstanding("c") is None

    on_the_wire(check)


def test_messages_that_never_come_are_given_up() -> None:
    async def check(wire: Wire, inbox: Inbox) -> None:
        pull = await inbox.pull("c", 1, expires=30)
        await wire.end(wire.asked[0], "409", "Batch Completed", 0)
        watching = asyncio.create_task(inbox.watch())
        assert await asyncio.wait_for(pull.ended, 10) is Ended.LOST
        watching.cancel()

    on_the_wire(check)


def test_a_pull_that_could_not_be_sent_is_not_outstanding() -> None:
    """A later wait would take it over and hear nothing until some heartbeats are missed."""

    async def check(wire: Wire, inbox: Inbox) -> None:
        wire.breaks = True
        with pytest.raises(Unavailable):
            await inbox.pull("c", 1, expires=30)
        assert inbox.outstanding("c") is None

    on_the_wire(check)


def test_a_pull_that_nats_refuses_is_lost_soon() -> None:
    """NATS tells of a missing permission, but not to the pull's inbox."""

    async def check(wire: Wire, inbox: Inbox) -> None:
        pull = await inbox.pull("c", 1, expires=30)
        [asked] = wire.asked
        wire.refused.add(asked.subject)
        watching = asyncio.create_task(inbox.watch())
        assert await asyncio.wait_for(pull.ended, 10) is Ended.LOST
        watching.cancel()

    on_the_wire(check)


def test_what_went_with_a_server_is_looked_for_when_a_leader_has_moved() -> None:
    """A server that leaves hands on what others have too, and of all else it says nothing."""

    async def check(wire: Wire, inbox: Inbox) -> None:
        looking = asyncio.create_task(inbox.watch())
        moved = await inbox.pull("c", 1, expires=30)
        gone = await inbox.pull("alone", 1, expires=30)
        there = await inbox.pull("other", 1, expires=30)
        await wire.elect("c", "n2")
        assert moved.ended.result() is Ended.LOST
        await wire.await_asked(5)
        for ping in wire.asked[3:5]:
            if "alone" in ping.subject:
                await wire.end(ping, "503", "")
            else:
                await wire.end(ping, "400", "Bad Request - heartbeat value too large")
        assert gone.ended.result() is Ended.GONE
        assert not there.ended.done()
        looking.cancel()

    on_the_wire(check)


def test_a_pull_that_may_have_gone_to_the_old_leader_is_given_up_too() -> None:
    async def check(wire: Wire, inbox: Inbox) -> None:
        await wire.elect("c", "n1")
        await wire.elect("c", "n2")
        pull = await inbox.pull("c", 1, expires=30)
        async with asyncio.timeout(10):
            assert await pull.ended is Ended.LOST

    on_the_wire(check)


def test_a_new_consumer_s_first_leader_disturbs_nobody() -> None:
    async def check(wire: Wire, inbox: Inbox) -> None:
        looking = asyncio.create_task(inbox.watch())
        other = await inbox.pull("other", 1, expires=30)
        await wire.elect("c", "n1")
        await wire.elect("c", "n1")
        pull = await inbox.pull("c", 1)
        async with asyncio.timeout(10):  # until it was looked more than once
            assert await pull.ended is Ended.SILENT
        assert len(wire.asked) == 2
        assert not other.ended.done()
        looking.cancel()

    on_the_wire(check)
