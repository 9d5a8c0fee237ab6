"""The endpoints that need not be the fastest, on FastAPI: history, subscriptions, tokens."""

import time
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from bridge.bus import Bus
from bridge.errors import NotFound
from bridge.events import rfc3339
from bridge.http import schemas
from bridge.http.access import Access
from bridge.http.exchange import Exchange
from bridge.http.jsontext import decode
from bridge.http.minting import wanted
from bridge.http.openapi import HISTORY_PARAMETERS, problems
from bridge.http.queries import history_query
from bridge.tokens import MintedToken, Principal

MAX_TOKEN_REQUEST_BYTES = 65_536


def exchange_of(request: Request) -> Exchange:
    """Give the exchange that the edge made for this request."""
    exchange: Exchange = request.scope["exchange"]
    return exchange


def caller(access: Access) -> Any:
    """Make the dependency that authenticates a request and counts it against the rate limit."""

    async def principal(request: Request) -> Principal:
        exchange = exchange_of(request)
        exchange.principal = await access.principal(exchange.header(b"authorization"))
        exchange.extra_headers = access.limiter.take(exchange.principal)
        return exchange.principal

    return Depends(principal)


def rest_routes(bus: Bus, access: Access) -> APIRouter:
    """Make the routes of history, subscriptions and tokens."""
    router = APIRouter(prefix="/api")
    _history(router, bus, access)
    _subscriptions(router, bus, access)
    _tokens(router, access)
    return router


def _history(router: APIRouter, bus: Bus, access: Access) -> None:
    @router.get(
        "/events",
        tags=["events"],
        responses={200: {"model": schemas.Page}, **problems(400, 401, 429, 503)},
        openapi_extra={"parameters": HISTORY_PARAMETERS},
    )
    async def history(
        request: Request, principal: Annotated[Principal, caller(access)]
    ) -> Response:
        """Show retained events, newest first. Touches no subscription."""
        exchange_of(request).route = "history"
        page = await bus.history(history_query(principal.project, request.scope["query_string"]))
        content = {
            "events": [event.as_json() for event in page.events],
            "more_available": page.more_available,
            "next_cursor": page.next_cursor,
            "timestamp": rfc3339(time.time()),
        }
        return Response(orjson.dumps(content), media_type="application/json")


def _subscriptions(router: APIRouter, bus: Bus, access: Access) -> None:
    @router.get(
        "/subscriptions",
        tags=["subscriptions"],
        response_model=schemas.Subscriptions,
        responses=problems(401, 429, 503),
    )
    async def subscriptions(
        request: Request, principal: Annotated[Principal, caller(access)]
    ) -> dict[str, Any]:
        """List the caller's durable subscriptions; every one with permission `spawn_agents`."""
        exchange_of(request).route = "subscriptions"
        return {"subscriptions": await bus.overview.subscriptions(principal)}

    @router.delete(
        "/subscriptions/{name:path}",
        tags=["subscriptions"],
        status_code=204,
        responses=problems(401, 404, 429, 503),
    )
    async def delete_subscription(
        request: Request, name: str, principal: Annotated[Principal, caller(access)]
    ) -> Response:
        """Delete a durable subscription; the next wait like it begins with all that is retained."""
        exchange_of(request).route = "subscriptions"
        try:
            await bus.overview.delete_subscription(principal, name)
        except NotFound:
            # Names may contain `%`, and many a client sends them as they were listed.
            as_sent = request.scope["raw_path"].decode("ascii").rpartition("/")[2]
            await bus.overview.delete_subscription(principal, as_sent)
        return Response(status_code=204)


def _tokens(router: APIRouter, access: Access) -> None:
    @router.post(
        "/tokens",
        tags=["tokens"],
        status_code=201,
        response_model=schemas.Token,
        responses=problems(400, 401, 403, 413, 429, 503),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {"schema": schemas.TokenRequest.model_json_schema()}
                },
            }
        },
    )
    async def mint(
        request: Request, principal: Annotated[Principal, caller(access)]
    ) -> dict[str, Any]:
        """Mint a token for another agent of the same project; needs `spawn_agents`."""
        exchange = exchange_of(request)
        exchange.route = "tokens"
        wish = wanted(decode(await exchange.body(MAX_TOKEN_REQUEST_BYTES), exchange.header))
        return _token(
            access.authority.mint_for(
                principal,
                wish.agent_id,
                wish.agent_type,
                wish.permissions,
                wish.ttl_seconds,
            )
        )

    @router.post(
        "/tokens/refresh",
        tags=["tokens"],
        status_code=201,
        response_model=schemas.Token,
        responses=problems(400, 401, 429, 503),
    )
    async def refresh(
        request: Request, principal: Annotated[Principal, caller(access)]
    ) -> dict[str, Any]:
        """Renew the caller's own token for as long as it was made for."""
        exchange_of(request).route = "tokens"
        return _token(access.authority.refresh(principal))


def _token(minted: MintedToken) -> dict[str, Any]:
    return {
        "token": minted.token,
        "agent_id": minted.agent_id,
        "agent_type": minted.agent_type,
        "project_id": minted.project,
        "expires_at": rfc3339(minted.expires_at),
    }
