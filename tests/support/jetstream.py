"""A client of NATS that knows nothing of the bridge."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

import nats
from nats.js import JetStreamContext
from nats.js.errors import ServerError

T = TypeVar("T")


def on_jetstream(url: str, work: Callable[[JetStreamContext], Awaitable[T]]) -> T:
    """Do something with JetStream and give what comes of it."""

    async def main() -> T:
        client = await nats.connect(url)
        try:
            return await work(client.jetstream())
        finally:
            await client.close()

    return asyncio.run(main())


async def consumer_names(js: JetStreamContext) -> list[str]:
    """Name every consumer of the bridge's stream, which JetStream lists a page at a time."""
    names: list[str] = []
    while page := await js.consumers_info("EVENTS", offset=len(names)):
        names += [each.name for each in page]
    return names


def delete_consumer(url: str, name: str) -> None:
    """Delete a consumer of the bridge's stream."""

    async def do(js: JetStreamContext) -> None:
        # nats-server 2.11 may delete it and yet fail: "directory not empty".
        with contextlib.suppress(ServerError):
            await js.delete_consumer("EVENTS", name)

    on_jetstream(url, do)
