"""The endpoints that need not be the fastest, on FastAPI: history, subscriptions, deliveries."""

import time
from collections.abc import Awaitable, Callable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, get_args

import orjson
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from bridge.bus import Bus
from bridge.bus.lean import shown
from bridge.errors import NotFound, RequestInvalid
from bridge.events import rfc3339
from bridge.http import cloudevents, schemas
from bridge.http.access import Access
from bridge.http.exchange import Exchange
from bridge.http.json_bodies import decode
from bridge.http.openapi import described, problems
from bridge.http.parameters import HISTORY, history_query
from bridge.suggest import did_you_mean, snake
from bridge.tokens import Principal

Body = TypeVar("Body", bound=schemas.RequestBody)
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

MAX_DELIVERIES_BYTES = 1_048_576
_KINDS: Mapping[Any, str] = {int: "a whole number", str: "a text"}
_MEANT: Mapping[str, str] = {
    "agent": "agent_id",
    "id": "agent_id",
    "name": "agent_id",
    "sub": "agent_id",
    "type": "agent_type",
    "role": "agent_type",
    "scope": "permissions",
    "scopes": "permissions",
    "ttl": "ttl_seconds",
    "exp": "ttl_seconds",
    "ack_id": "ack_ids",
    "event_id": "event_ids",
    "expires_in": "ttl_seconds",
    "before": "issued_before",
    "token_id": "jti",
}


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
    """Make the routes of history, subscriptions and deliveries."""
    router = APIRouter(prefix="/api")
    _history(router, bus, access)
    _subscriptions(router, bus, access)
    _deliveries(router, bus, access)
    return router


def _history(router: APIRouter, bus: Bus, access: Access) -> None:
    @router.get(
        "/events",
        tags=["events"],
        responses={200: {"model": schemas.HistoryAnswer}, **problems(400, 401, 403, 429, 503)},
        openapi_extra={"parameters": described(HISTORY)},
    )
    async def history(
        request: Request, principal: Annotated[Principal, caller(access)]
    ) -> Response:
        """Show retained events, newest first. Touches no subscription."""
        exchange_of(request).route = "history"
        query = history_query(principal.project, request.scope["query_string"])
        page = await bus.history(principal, query)
        form = cloudevents.wanted(exchange_of(request))
        if form is not None:
            events = [cloudevents.cloudevent(event, {}) for event in page.events]
        else:
            events = [shown(event, query.fields) for event in page.events]
            if query.deliveries:
                told = await bus.directory.deliveries(principal, page.events)
                for event, deliveries in zip(events, told, strict=True):
                    event["deliveries"] = deliveries
        if form == cloudevents.BATCH:
            headers = {"x-next-cursor": page.next_cursor}
            return Response(orjson.dumps(events), media_type=cloudevents.BATCH, headers=headers)
        content = {
            "events": events,
            "more_available": page.more_available,
            "next_cursor": page.next_cursor,
            "timestamp": rfc3339(time.time()),
        }
        return Response(orjson.dumps(content), media_type="application/json")


def _subscriptions(router: APIRouter, bus: Bus, access: Access) -> None:
    @router.get(
        "/subscriptions",
        tags=["subscriptions"],
        response_model=schemas.SubscriptionsAnswer,
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
        await _by_name(
            request, name, -1, lambda named: bus.overview.delete_subscription(principal, named)
        )
        return Response(status_code=204)


def _deliveries(router: APIRouter, bus: Bus, access: Access) -> None:
    errors = problems(400, 401, 403, 409, 413, 429, 503)

    async def given(request: Request, kind: type[Body]) -> Body:
        exchange = exchange_of(request)
        exchange.route = "deliveries"
        body = await exchange.body(MAX_DELIVERIES_BYTES, "send fewer at once")
        return valid(kind, decode(body, exchange.header))

    def settles(verb: str, model: type[BaseModel]) -> Callable[[F], F]:
        extra = {"requestBody": body_of(model)}
        return router.post(
            f"/deliveries/{verb}",
            tags=["deliveries"],
            response_model=schemas.SettledAnswer,
            responses=errors,
            openapi_extra=extra,
        )

    @settles("ack", schemas.AckRequest)
    async def ack(
        request: Request, principal: Annotated[Principal, caller(access)]
    ) -> dict[str, Any]:
        """Say that leased events are done: this subscription is never given them again."""
        wish = await given(request, schemas.AckRequest)
        return (await bus.leasing.acknowledge(principal, wish.ack_ids)).as_json()

    @settles("extend", schemas.ExtendRequest)
    async def extend(
        request: Request, principal: Annotated[Principal, caller(access)]
    ) -> dict[str, Any]:
        """Begin leases anew; each has a new `ack_id` then."""
        wish = await given(request, schemas.ExtendRequest)
        return (await bus.leasing.extend(principal, wish.ack_ids, wish.lease / 1000)).as_json()

    @settles("release", schemas.ReleaseRequest)
    async def release(
        request: Request, principal: Annotated[Principal, caller(access)]
    ) -> dict[str, Any]:
        """Give leased events back: they are delivered again, to anyone, after the delay."""
        wish = await given(request, schemas.ReleaseRequest)
        return (await bus.leasing.release(principal, wish.ack_ids, wish.delay / 1000)).as_json()

    @settles("reject", schemas.RejectRequest)
    async def reject(
        request: Request, principal: Annotated[Principal, caller(access)]
    ) -> dict[str, Any]:
        """Make leased events dead letters: they are not to be tried again."""
        wish = await given(request, schemas.RejectRequest)
        return (await bus.leasing.reject(principal, wish.ack_ids, wish.reason)).as_json()

    @router.post(
        "/subscriptions/{name:path}/redrive",
        tags=["subscriptions"],
        response_model=schemas.SettledAnswer,
        responses=problems(400, 401, 404, 413, 429, 503),
        openapi_extra={"requestBody": body_of(schemas.RedriveRequest)},
    )
    async def redrive(
        request: Request, name: str, principal: Annotated[Principal, caller(access)]
    ) -> dict[str, Any]:
        """Deliver dead letters once more, to this subscription alone."""
        wish = await given(request, schemas.RedriveRequest)
        settled = await _by_name(
            request, name, -2, lambda named: bus.leasing.redrive(principal, named, wish.event_ids)
        )
        return settled.as_json()


async def _by_name(
    request: Request, name: str, segment: int, do: Callable[[str], Awaitable[T]]
) -> T:
    """Do something with a subscription by its name, which is a segment of the path.

    Names may contain `%`, and many a client sends them as they were listed.
    """
    try:
        return await do(name)
    except NotFound:
        as_sent = request.scope["raw_path"].decode("ascii").split("/")[segment]
        if as_sent == name:
            raise
        return await do(as_sent)


def body_of(model: type[BaseModel]) -> dict[str, Any]:
    """Describe a request's body for OpenAPI."""
    content = {"application/json": {"schema": model.model_json_schema()}}
    return {"required": True, "content": content}


def valid(kind: type[Body], content: Any) -> Body:
    """Validate a body, or say in plain words what is wrong with it. Raises RequestInvalid."""
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        found = error.errors()
    told = dict.fromkeys(_told(kind, details) for details in found)
    fields = {"field": str(found[0]["loc"][0])[:80]} if found[0]["loc"] else {}
    wrong = "; ".join(told)
    end = "" if wrong.endswith("?") else "."
    raise RequestInvalid(f"{wrong}{end} Send {kind.example}", **fields)


def _told(kind: type[schemas.RequestBody], details: ErrorDetails) -> str:
    if not details["loc"]:
        return "the body must be a JSON object"
    name = str(details["loc"][0])
    if details["type"] == "missing":
        return f"`{name}` is missing"
    field = kind.model_fields.get(name)
    if field is None:
        return f"`{name[:80]}` {_unknown(snake(name[:80]), kind.model_fields)}"
    return f"`{name}` must be {_kind(field.annotation)}{_limits(field)}"


def _kind(annotation: Any) -> str:
    if isinstance(annotation, UnionType):
        [annotation] = set(get_args(annotation)) - {NoneType}
    return _KINDS.get(annotation, "a list of texts")


def _limits(field: FieldInfo) -> str:
    found = {type(each).__name__: each for each in field.metadata}
    if "Ge" in found and "Le" in found:
        return f" from {found['Ge'].ge} to {found['Le'].le}"
    return ""


def _unknown(name: str, known: Mapping[str, FieldInfo]) -> str:
    if name in ("project", "project_id"):
        return "is not asked for: a token is always for the caller's own project; leave it out"
    return f"is no field of it; {did_you_mean(_MEANT.get(name, name), known)}"
