"""`/mcp`: the tools over Streamable HTTP, inside the bridge.

Each call goes through the bridge's own HTTP API, in this process and with the caller's own token:
so it has the caller's permissions, project and limits, and says what the API says.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from bridge.client import AsyncEventClient
from bridge.mcp.tools import make_server

PATH = "/mcp"
HERE = "http://bridge"
RETRY_SECONDS = 5.0


class _OwnTask(httpx.AsyncBaseTransport):
    """Asks in a task of its own, which is cancelled once when its asker is.

    The tools run in cancel scopes of anyio, which cancel again at every step: an API call would not
    get to give back what it holds.
    """

    def __init__(self, api: ASGIApp) -> None:
        self._transport = httpx.ASGITransport(app=api)
        self._ending: set[asyncio.Task[httpx.Response]] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Ask, and give the answer."""
        asking = asyncio.create_task(self._transport.handle_async_request(request))
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            asking.cancel()
            self._ending.add(asking)
            asking.add_done_callback(self._ending.discard)
            raise


class McpOverHttp:
    """An ASGI application that serves the tools, and asks `api`, another one, for what they do.

    Who calls and from which origin is for whoever stands before it to check. No session is kept:
    each bridge answers each request.
    """

    def __init__(self, api: ASGIApp, wait_seconds: float) -> None:
        transport = _OwnTask(api)

        @asynccontextmanager
        async def connect(ctx: Context[Any, Any]) -> AsyncIterator[AsyncEventClient]:
            request = ctx.request_context.request
            if request is None:
                raise ToolError("there is no token: send `Authorization: Bearer <token>`")
            token = request.headers.get("authorization", "").partition(" ")[2].strip()
            async with AsyncEventClient(
                HERE, token, transport=transport, retry_for=RETRY_SECONDS
            ) as client:
                yield client

        self._app: Starlette = make_server(connect, wait_seconds).streamable_http_app(
            streamable_http_path=PATH,
            stateless_http=True,
            transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        )

        self._serving: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if self._serving is None:
            self._serving = asyncio.create_task(self._serve(), name="mcp")
        ready = asyncio.create_task(self._ready.wait())
        await asyncio.wait((ready, self._serving), return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            ready.cancel()
            self._serving.result()
        await self._app(scope, receive, send)

    async def _serve(self) -> None:
        """Hold open what the requests run in, from the first one to the end of the process."""
        async with self._app.router.lifespan_context(self._app):
            self._ready.set()
            await asyncio.Event().wait()
