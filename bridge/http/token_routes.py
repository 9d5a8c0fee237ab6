"""Tokens: made for other agents, renewed, revoked, and good again; on FastAPI."""

from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import Response

from bridge.bus import Bus
from bridge.errors import RequestInvalid
from bridge.events import rfc3339
from bridge.http import schemas
from bridge.http.access import Access
from bridge.http.json_bodies import decode
from bridge.http.openapi import problems
from bridge.http.rest_routes import body_of, caller, exchange_of, valid
from bridge.tokens import MintedToken, Principal
from bridge.tokens.revocations import read_moment

Body = TypeVar("Body", bound=schemas.RequestBody)

MAX_BYTES = 65_536
NOW = "now"


def token_routes(bus: Bus, access: Access) -> APIRouter:
    """Make the routes under `/api/tokens`."""
    router = APIRouter(prefix="/api", tags=["tokens"])
    _minting(router, access)
    _revoking(router, bus, access)
    return router


async def _wish(request: Request, kind: type[Body]) -> Body:
    exchange = exchange_of(request)
    return valid(kind, decode(await exchange.body(MAX_BYTES), exchange.header))


def _minting(router: APIRouter, access: Access) -> None:
    @router.post(
        "/tokens",
        status_code=201,
        response_model=schemas.TokenAnswer,
        responses=problems(400, 401, 403, 413, 429, 503),
        openapi_extra={"requestBody": body_of(schemas.TokenRequest)},
    )
    async def mint(
        request: Request, principal: Annotated[Principal, caller(access)]
    ) -> dict[str, Any]:
        """Mint a token for another agent of the same project; needs `spawn_agents`."""
        exchange_of(request).route = "tokens"
        wish = await _wish(request, schemas.TokenRequest)
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
        status_code=201,
        response_model=schemas.TokenAnswer,
        responses=problems(400, 401, 429, 503),
    )
    async def refresh(
        request: Request, principal: Annotated[Principal, caller(access)]
    ) -> dict[str, Any]:
        """Renew the caller's own token for as long as it was made for."""
        exchange_of(request).route = "tokens"
        return _token(access.authority.refresh(principal))


def _revoking(router: APIRouter, bus: Bus, access: Access) -> None:
    @router.get(
        "/tokens/revoked",
        response_model=schemas.RevocationsAnswer,
        response_model_exclude_none=True,
        responses=problems(401, 403, 429, 503),
    )
    async def revoked(
        request: Request, principal: Annotated[Principal, caller(access)]
    ) -> dict[str, Any]:
        """List which tokens of the project are void; needs `spawn_agents`."""
        exchange_of(request).route = "tokens"
        return {"revoked": [each.as_json() for each in bus.revoking.listed(principal)]}

    @router.post(
        "/tokens/revoked",
        status_code=201,
        response_model=schemas.RevocationAnswer,
        response_model_exclude_none=True,
        responses=problems(400, 401, 403, 413, 429, 503),
        openapi_extra={"requestBody": body_of(schemas.RevokeRequest)},
    )
    async def revoke(
        request: Request, principal: Annotated[Principal, caller(access)]
    ) -> dict[str, Any]:
        """Make tokens of the project void, on every bridge within 5 s; needs `spawn_agents`.

        Open waits and streams with them end. A token that is made once this has answered is good.
        """
        exchange_of(request).route = "tokens"
        wish = await _wish(request, schemas.RevokeRequest)
        made = await bus.revoking.revoke(
            principal,
            jti=wish.jti,
            agent_id=wish.agent_id,
            issued_before=_moment("issued_before", wish.issued_before),
            expires_at=_moment("expires_at", wish.expires_at),
        )
        return made.as_json()

    @router.delete(
        "/tokens/revoked",
        status_code=204,
        responses=problems(400, 401, 403, 404, 413, 429, 503),
        openapi_extra={
            "parameters": _as_query(schemas.RevocationRequest),
            "requestBody": body_of(schemas.RevocationRequest) | {"required": False},
        },
    )
    async def take_back(
        request: Request, principal: Annotated[Principal, caller(access)]
    ) -> Response:
        """Take a revocation back: the same tokens are good again; needs `spawn_agents`.

        What is said by a body or by the query, since many programs send no body with a DELETE.
        """
        exchange_of(request).route = "tokens"
        if request.query_params:
            wish = valid(schemas.RevocationRequest, dict(request.query_params))
        else:
            wish = await _wish(request, schemas.RevocationRequest)
        await bus.revoking.take_back(
            principal,
            jti=wish.jti,
            agent_id=wish.agent_id,
            issued_before=_moment("issued_before", wish.issued_before),
        )
        return Response(status_code=204)


def _as_query(model: type[schemas.RequestBody]) -> list[dict[str, Any]]:
    """Describe a body's fields as those of a query."""
    text = {"in": "query", "schema": {"type": "string"}}
    fields = model.model_fields.items()
    return [{"name": name, "description": field.description, **text} for name, field in fields]


def _token(minted: MintedToken) -> dict[str, Any]:
    return {
        "token": minted.token,
        "agent_id": minted.agent_id,
        "agent_type": minted.agent_type,
        "project_id": minted.project,
        "expires_at": rfc3339(minted.expires_at),
        "jti": minted.jti,
    }


def _moment(field: str, text: str | None) -> float | None:
    """Read a time; none for what is left out, and for now."""
    if text is None or (field == "issued_before" and text == NOW):
        return None
    try:
        return read_moment(text)
    except ValueError as error:
        raise RequestInvalid(
            f"`{field}` is {text[:40]!r}; it must be an RFC 3339 time like 2026-01-31T12:00:00Z",
            field=field,
        ) from error
