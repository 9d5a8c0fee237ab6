"""The endpoints that tell what there is, who is there, and why nothing came; on FastAPI."""

import time
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response

from bridge.bus import Bus
from bridge.events import rfc3339
from bridge.http import schemas
from bridge.http.access import Access
from bridge.http.openapi import described, problems
from bridge.http.parameters import EXPLAIN, explain_query
from bridge.http.rest_routes import caller, exchange_of
from bridge.tokens import Principal


def directory_routes(bus: Bus, access: Access) -> APIRouter:
    """Make the routes of explanations, receipts, the catalogue and agents."""
    router = APIRouter(prefix="/api")
    _events(router, bus, access)
    _who_and_what(router, bus, access)
    return router


def _events(router: APIRouter, bus: Bus, access: Access) -> None:
    explained: dict[str, Any] = {
        "tags": ["events"],
        "responses": {200: {"model": schemas.ExplainAnswer}, **problems(400, 401, 403, 429, 503)},
        "openapi_extra": {"parameters": described(EXPLAIN)},
    }

    @router.get("/events/explain", name="explain_own_topics", **explained)
    @router.get("/events/explain/{event_types}", **explained)
    async def explain(
        request: Request,
        principal: Annotated[Principal, caller(access)],
        event_types: str | None = None,
    ) -> Response:
        """Say what is retained for a wait with these types and filter, and why it gets nothing."""
        exchange_of(request).route = "explain"
        query = explain_query(event_types, request.scope["query_string"])
        content = await bus.explain(principal, bus.selection(principal, query))
        content["timestamp"] = rfc3339(time.time())
        return Response(orjson.dumps(content), media_type="application/json")

    @router.get(
        "/events/{event_id:path}",
        tags=["events"],
        responses={200: {"model": schemas.EventAnswer}, **problems(401, 404, 429, 503)},
    )
    async def event(
        request: Request, event_id: str, principal: Annotated[Principal, caller(access)]
    ) -> Response:
        """Show a retained event, and what became of it for each subscription that it is for."""
        exchange_of(request).route = "event"
        content = await bus.directory.event(principal, event_id)
        return Response(orjson.dumps(content), media_type="application/json")


def _who_and_what(router: APIRouter, bus: Bus, access: Access) -> None:
    @router.get(
        "/catalog",
        tags=["directory"],
        response_model=schemas.CatalogAnswer,
        responses=problems(401, 429, 503),
    )
    async def catalog(
        request: Request, principal: Annotated[Principal, caller(access)]
    ) -> dict[str, Any]:
        """List topics, event types and agent types, and the types that are retained besides."""
        exchange_of(request).route = "catalog"
        return await bus.directory.catalog(principal)

    @router.get(
        "/agents",
        tags=["directory"],
        response_model=schemas.AgentsAnswer,
        responses=problems(401, 429, 503),
    )
    async def agents(
        request: Request, principal: Annotated[Principal, caller(access)]
    ) -> dict[str, Any]:
        """Say who was seen in the last hour or has subscriptions, and who waits for what now."""
        exchange_of(request).route = "agents"
        return await bus.directory.agents(principal)
