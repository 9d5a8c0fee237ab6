"""A client of NATS that knows nothing of the bridge."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import nats
from nats.js import JetStreamContext

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
