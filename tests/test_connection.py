"""The connection to NATS: which server is tried after which."""

import asyncio
import socket

from bridge.jetstream.connection import Connection
from bridge.jetstream.endpoint import Endpoint
from tests.support import NatsServer


def test_a_server_that_hangs_does_not_keep_the_bridge_from_the_others(own_nats: NatsServer) -> None:
    """It accepts connections, as a paused process does, and never says a word."""

    async def nothing(_: object) -> None: ...

    async def connected(hanging: str) -> bool:
        endpoint = Endpoint([hanging, own_nats.url])
        connection = Connection(endpoint, nothing, lambda: None, greeting=1)
        connection._servers = [hanging, own_nats.url]  # which is left to chance otherwise
        running = asyncio.create_task(connection.run())
        await connection.usable(wait=20)
        running.cancel()
        await asyncio.wait((running,))
        return connection.up_before

    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert asyncio.run(connected(f"nats://127.0.0.1:{listener.getsockname()[1]}"))
