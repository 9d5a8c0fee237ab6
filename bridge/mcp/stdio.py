"""`bridge mcp`: the tools over standard input and output, for the program that started it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mcp.server.mcpserver import Context

from bridge.client import AsyncEventClient
from bridge.mcp.tools import make_server


def run(client: AsyncEventClient, wait_seconds: float) -> None:
    """Serve until standard input ends."""

    @asynccontextmanager
    async def connect(_: Context[Any, Any]) -> AsyncIterator[AsyncEventClient]:
        yield client

    async def serve() -> None:
        async with client:
            await make_server(connect, wait_seconds).run_stdio_async()

    asyncio.run(serve())
