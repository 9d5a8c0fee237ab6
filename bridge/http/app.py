"""Assembly: the HTTP application from its parts, which are passed in."""

from dataclasses import dataclass

from fastapi import FastAPI, Request
from fastapi.responses import Response
from fastapi_offline import FastAPIOffline
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from bridge import __version__
from bridge.bus import Bus
from bridge.errors import BridgeError, MethodNotAllowed, NotFound, RequestInvalid
from bridge.http.access import Access, RateLimiter
from bridge.http.edge import Edge
from bridge.http.metrics import Metrics
from bridge.http.openapi import describe
from bridge.http.operations import operations_routes
from bridge.http.paths import PROBES, nowhere, other_method
from bridge.http.publish import Publish
from bridge.http.rest import exchange_of, rest_routes
from bridge.http.wait import Wait
from bridge.tokens import TokenAuthority
from bridge.traffic import Traffic

EXPOSED = (
    "Allow",
    "Retry-After",
    "WWW-Authenticate",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "X-Request-ID",
)
"""The headers that a page of another origin may read."""


@dataclass(frozen=True)
class HttpOptions:
    """Limits and policies of the HTTP side; sizes in bytes, the rate in requests a second."""

    max_event_bytes: int = 524_288
    max_batch_bytes: int = 8_388_608
    rate_limit: float = 0
    rate_burst: int = 1
    cors_origins: tuple[str, ...] = ()


def create_app(
    bus: Bus, authority: TokenAuthority, options: HttpOptions, traffic: Traffic
) -> ASGIApp:
    """Put the ASGI application together; it counts its answers in `traffic`."""
    metrics = Metrics(bus, traffic)
    limiter = RateLimiter(options.rate_limit, options.rate_burst)
    access = Access(authority, limiter)
    publish = Publish(
        bus,
        access,
        metrics,
        max_event_bytes=options.max_event_bytes,
        max_batch_bytes=options.max_batch_bytes,
    )
    rest = _rest(bus, access, metrics)
    edge = Edge(rest, publish, Wait(bus, access, metrics), bus, metrics)
    if not options.cors_origins:
        return edge
    return _Cors(
        edge,
        allow_origins=options.cors_origins,
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "X-Request-ID"],
        expose_headers=EXPOSED,
    )


class _Cors(CORSMiddleware):
    """CORS whose answers to preflight requests, which no endpoint sees, say `no-store` too."""

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        response.headers["Cache-Control"] = "no-store"
        return response


def _rest(bus: Bus, access: Access, metrics: Metrics) -> FastAPI:
    app: FastAPI = FastAPIOffline(
        redoc_url=None, title="Agent event bridge", version=__version__, redirect_slashes=False
    )
    app.include_router(rest_routes(bus, access))
    app.include_router(operations_routes(bus, access, metrics))
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]  # FastAPI's way to extend it
    app.exception_handler(BridgeError)(_leave_to_edge)
    app.exception_handler(HTTPException)(_leave_to_edge)
    app.exception_handler(Exception)(_fail)
    return app


async def _leave_to_edge(request: Request, error: Exception) -> Response:
    """Hand an error to the edge, which tells of all of them in one way."""
    if isinstance(error, HTTPException):
        error = _own(request, error)
    if not isinstance(error, BridgeError):
        raise error
    exchange_of(request).error = error
    return Response()


async def _fail(request: Request, error: Exception) -> Response:  # noqa: ARG001 - FastAPI's form
    """Say nothing of a failure here: it is raised again, and the edge tells of it."""
    exchange_of(request).failed = True
    return Response()


def _own(request: Request, error: HTTPException) -> BridgeError:
    """Turn the framework's own refusals into the bridge's."""
    path, method = exchange_of(request).path, request.method
    if error.status_code == 405:
        allowed = [part.strip() for part in (error.headers or {}).get("Allow", "").split(",")]
        allowed += ["HEAD"] if path in PROBES else []
        return MethodNotAllowed(other_method(path, method, allowed), allowed=allowed)
    if error.status_code == 404:
        return NotFound(nowhere(path))
    return RequestInvalid(str(error.detail))
