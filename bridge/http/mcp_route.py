"""`/mcp`: who may come in, before the Model Context Protocol takes over."""

from urllib.parse import urlsplit

from starlette.types import ASGIApp

from bridge.errors import Forbidden, NotFound
from bridge.http.access import Access
from bridge.http.exchange import Exchange

MCP = "/mcp"


class McpRoute:
    """Checks the token and the origin: a page of another place must not act for its reader."""

    def __init__(self, app: ASGIApp | None, access: Access, origins: tuple[str, ...]) -> None:
        self._app = app
        self._access = access
        self._origins = origins

    async def __call__(self, exchange: Exchange) -> None:
        """Let a request through to the tools. Raises NotFound, Forbidden or TokenInvalid."""
        if self._app is None:
            raise NotFound(
                "this bridge is installed without the Model Context Protocol: "
                "pip install 'agent-event-bridge[mcp]'"
            )
        self._check_origin(exchange)
        exchange.principal = await self._access.principal(exchange.header(b"authorization"))
        await exchange.pass_on(self._app)

    def _check_origin(self, exchange: Exchange) -> None:
        origin = exchange.header(b"origin")
        if origin is None or origin in self._origins or "*" in self._origins:
            return
        if urlsplit(origin).netloc != exchange.header(b"host"):
            raise Forbidden(
                f"pages of {origin[:80]} may not ask this bridge; BRIDGE_CORS_ORIGINS names those "
                "that may"
            )
