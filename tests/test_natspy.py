"""What of nats-py is done otherwise: the same as it does, and nothing ends the reading."""

import asyncio

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import ConnectionClosedError

from bridge.jetstream.natspy import NatsClient, header_block

BLOCKS = st.lists(
    st.sampled_from([b"Nats-Msg-Id: ", b"Nats-TTL: ", b"1", b" ", b":", b"\r\n", b"\r", b"\xff"])
).map(b"".join)


@given(BLOCKS)
@example(b"Nats-Msg-Id: a/b/c\r\n\r\n")
@example(b"Nats-Msg-Id:  \r\n\r\n")
@example(b"Nats-Msg-Id: a\r\nNats-TTL: 1\r\n\r\n")
@example(b"Nats-Msg-Id: a\r\nNats-Msg-Id: b\r\n\r\n")
@example(b"Nats-Msg-Id: a\r\nb")
def test_headers_are_read_as_nats_py_reads_them(block: bytes) -> None:
    assert NatsClient._parse_header_lines(block) == Client._parse_header_lines(block)


def test_what_is_taken_never_comes_to_the_subscription(nats_url: str) -> None:
    """The rest does, and a message that cannot be taken keeps nobody from reading on."""
    taken: list[bytes] = []
    queued: list[bytes] = []

    def take(msg: Msg) -> None:
        if msg.data == b"odd":
            raise ValueError
        taken.append(msg.data)

    async def receive(msg: Msg) -> None:
        queued.append(msg.data)

    async def run() -> None:
        client = NatsClient()
        await client.connect(nats_url)
        subscription = await client.subscribe("natspy.test", cb=receive)
        client.take(subscription, take, lambda reply: reply == b"take")
        for data, reply in ((b"1", "take"), (b"2", ""), (b"odd", "take"), (b"3", "take")):
            await client.publish("natspy.test", data, reply)
        await client.drain()

    asyncio.run(run())
    assert taken == [b"1", b"3"]
    assert queued == [b"2"]


def test_what_is_sent_arrives_as_it_was_written(nats_url: str) -> None:
    arrived: list[tuple[str, bytes, dict[str, str] | None]] = []
    told = {"Nats-Msg-Id": ":p/a/é 1", "Nats-TTL": "90"}

    async def receive(msg: Msg) -> None:
        arrived.append((msg.reply, msg.data, msg.headers))

    async def run() -> None:
        client = NatsClient()
        await client.connect(nats_url)
        await client.subscribe("natspy.sent", cb=receive)
        await client.send("natspy.sent", b"1", "answers", header_block(told))
        await client.send("natspy.sent", b"2", "answers", b"")
        await client.drain()
        with pytest.raises(ConnectionClosedError):
            await client.send("natspy.sent", b"3", "answers", b"")

    asyncio.run(run())
    assert arrived == [("answers", b"1", told), ("answers", b"2", None)]
