"""Answers on the wire: what of an application's messages is written together, and what is not."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from bridge.http.uvicorn_protocol import HttpProtocol, Patience

LENGTH_OF_TWO = (b"content-length", b"2")


class Wire(asyncio.Transport):
    """A connection of which every write is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        if data:
            self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


def start(*headers: tuple[bytes, bytes]) -> dict[str, Any]:
    """Begin an answer."""
    return {"type": "http.response.start", "status": 200, "headers": headers}


def body(content: bytes, *, more: bool = False) -> dict[str, Any]:
    """Give a piece of an answer's body."""
    return {"type": "http.response.body", "body": content, "more_body": more}


def written(*messages: dict[str, Any], method: str = "GET", times: int = 1) -> Wire:
    """Let an application answer requests on one connection with these messages."""
    return asyncio.run(_answered(messages, f"{method} / HTTP/1.1\r\nhost: a\r\n\r\n", times))


async def _answered(messages: Sequence[dict[str, Any]], request: str, times: int) -> Wire:
    async def app(_: Any, __: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False)
    config.load()
    state = ServerState()
    protocol = HttpProtocol(Patience(), config, state, {})
    wire = Wire()
    protocol.connection_made(wire)
    for _ in range(times):
        protocol.data_received(request.encode())
        while state.tasks:
            await asyncio.wait(state.tasks)
    return wire


def test_an_answer_is_one_write() -> None:
    """Each write is a system call, and a packet of its own."""
    wire = written(start(LENGTH_OF_TWO, (b"a", b"b")), body(b"{}"), times=2)
    assert wire.writes == [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\na: b\r\n\r\n{}"] * 2
    assert not wire.closed


def test_a_body_in_pieces_is_written_as_it_comes() -> None:
    wire = written(start(LENGTH_OF_TWO), body(b"{", more=True), body(b"}"))
    assert wire.writes == [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{", b"}"]


def test_an_answer_without_its_length_is_in_chunks() -> None:
    wire = written(start(), body(b"a", more=True), body(b"b"))
    assert b"transfer-encoding: chunked\r\n" in wire.writes[0]
    assert wire.writes[-2:] == [b"1\r\na\r\n", b"1\r\nb\r\n0\r\n\r\n"]


def test_an_answer_to_head_has_no_body() -> None:
    wire = written(start(LENGTH_OF_TWO), body(b""), method="HEAD")
    assert wire.writes == [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"]


def test_an_answer_that_closes_its_connection_does() -> None:
    wire = written(start(LENGTH_OF_TWO, (b"connection", b"close")), body(b"{}"))
    assert b"".join(wire.writes).endswith(b"connection: close\r\n\r\n{}")
    assert wire.closed


@pytest.mark.parametrize("content", [b"", b"{", b"{ }"])
def test_a_length_that_is_not_the_bodys_ends_the_connection(content: bytes) -> None:
    wire = written(start(LENGTH_OF_TWO), body(content))
    assert wire.closed


def test_a_header_cannot_bring_another_with_it() -> None:
    wire = written(start(LENGTH_OF_TWO, (b"a", b"b\r\nc: d")), body(b"{}"))
    assert b"c: d" not in b"".join(wire.writes)
    assert wire.closed
