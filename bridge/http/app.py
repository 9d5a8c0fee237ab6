"""The HTTP application: its parts, and which of them serves a request and tells of an error.

The endpoints that must be fast are called on raw ASGI; everything else is FastAPI's. Pure ASGI,
because middleware that wraps the request stream would hide that a client went away.
"""

import asyncio
import logging
import re
from dataclasses import dataclass

from fastapi import FastAPI, Request
from fastapi.responses import Response
from fastapi_offline import FastAPIOffline
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from bridge import __version__
from bridge.bus import Bus
from bridge.errors import BridgeError, MethodNotAllowed, NotFound, RequestInvalid
from bridge.http.access import Access, RateLimiter
from bridge.http.corrections import EVENTS, PROBES, STREAM, WAIT, nowhere, other_method
from bridge.http.directory_routes import directory_routes
from bridge.http.exchange import ClientGone, Exchange
from bridge.http.hot_routes import PublishRoute, WaitRoute
from bridge.http.internal_port import InternalPort
from bridge.http.mcp_route import MCP, McpRoute
from bridge.http.metrics import Metrics
from bridge.http.openapi import describe
from bridge.http.operations import operations_routes
from bridge.http.problem import tell
from bridge.http.rest_routes import exchange_of, rest_routes
from bridge.http.stream_route import StreamRoute
from bridge.http.token_routes import token_routes
from bridge.http.tracing import Tracing
from bridge.http.ui_routes import ui_routes
from bridge.request_counts import RequestCounts
from bridge.tokens import TokenAuthority

log = logging.getLogger("bridge.http")

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

CLIENT_CLOSED_REQUEST = 499
"""What a request whose client went away counts as; nobody receives it."""

_SLASHES = re.compile(r"//+")
_RAW_SLASHES = re.compile(rb"//+")


@dataclass(frozen=True)
class HttpOptions:
    """Limits and policies of the HTTP side; sizes in bytes, times in seconds.

    `internal_port` is the second port that it is served at, 0 for none.
    """

    max_batch_bytes: int = 8_388_608
    rate_limit: float = 0
    rate_burst: int = 1
    answer_timeout: float = 60
    cors_origins: tuple[str, ...] = ()
    mcp_wait: float = 50
    internal_port: int = 0


def create_app(
    bus: Bus,
    authority: TokenAuthority,
    options: HttpOptions,
    traffic: RequestCounts,
    tracing: Tracing | None = None,
) -> ASGIApp:
    """Put the ASGI application together; it counts its answers in `traffic`."""
    tracing = tracing or Tracing()
    metrics = Metrics(bus, traffic)
    limiter = RateLimiter(options.rate_limit, options.rate_burst)
    access = Access(authority, limiter, bus.presence.note)
    publish = PublishRoute(
        bus,
        access,
        metrics,
        tracing,
        max_batch_bytes=options.max_batch_bytes,
    )

    async def ask(scope: Scope, receive: Receive, send: Send) -> None:
        await application(scope, receive, send)

    mcp = _mcp(ask, options.mcp_wait)
    rest = _rest(bus, access, metrics)
    wait = WaitRoute(bus, access, metrics, tracing, answer_timeout=options.answer_timeout)
    stream = StreamRoute(bus, access, metrics, tracing)
    tools = McpRoute(mcp, access, options.cors_origins)
    application = Dispatch(rest, publish, wait, stream, tools, bus, metrics)
    served: ASGIApp = application
    if options.cors_origins:
        served = _Cors(
            served,
            allow_origins=options.cors_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "X-Request-ID"],
            expose_headers=EXPOSED,
        )
    return InternalPort(served, options.internal_port) if options.internal_port else served


class _Cors(CORSMiddleware):
    """CORS whose answers to preflight requests, which no endpoint sees, say `no-store` too."""

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        response.headers["Cache-Control"] = "no-store"
        return response


def _mcp(api: ASGIApp, wait_seconds: float) -> ASGIApp | None:
    """Make what serves the Model Context Protocol, where its package is installed."""
    try:
        from bridge.mcp.over_http import McpOverHttp  # noqa: PLC0415 - an extra of its own
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("mcp", "mcp_types"):
            raise
        return None
    return McpOverHttp(api, wait_seconds)


def _rest(bus: Bus, access: Access, metrics: Metrics) -> FastAPI:
    app: FastAPI = FastAPIOffline(
        redoc_url=None,
        title="Agent event bridge",
        version=__version__,
        redirect_slashes=False,
    )
    app.include_router(rest_routes(bus, access))
    app.include_router(directory_routes(bus, access))
    app.include_router(token_routes(bus, access))
    app.include_router(ui_routes())
    app.include_router(operations_routes(bus, access, metrics))
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]  # FastAPI's way to extend it
    app.exception_handler(BridgeError)(_leave_to_dispatch)
    app.exception_handler(HTTPException)(_leave_to_dispatch)
    app.exception_handler(Exception)(_fail)
    return app


async def _leave_to_dispatch(request: Request, error: Exception) -> Response:
    """Hand an error to the dispatch, which tells of all of them in one way."""
    if isinstance(error, HTTPException):
        error = _own(request, error)
    if not isinstance(error, BridgeError):
        raise error
    exchange_of(request).error = error
    return Response()


async def _fail(request: Request, error: Exception) -> Response:  # noqa: ARG001 - FastAPI's form
    """Say nothing of a failure here: it is raised again, and the dispatch tells of it."""
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


class Dispatch:
    """The outermost ASGI application of the bridge."""

    def __init__(
        self,
        rest: ASGIApp,
        publish: PublishRoute,
        wait: WaitRoute,
        stream: StreamRoute,
        mcp: McpRoute,
        bus: Bus,
        metrics: Metrics,
    ) -> None:
        self._rest = rest
        self._publish = publish
        self._wait = wait
        self._stream = stream
        self._mcp = mcp
        self._bus = bus
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; other kinds of connection are passed on."""
        if scope["type"] != "http":
            await self._rest(scope, receive, send)
            return
        if "//" in scope["path"] or scope["path"].endswith("/"):
            _tidy(scope)
        exchange = Exchange(scope, receive, send)
        exchange.closing = self._bus.draining
        try:
            await self._serve(exchange)
        except ClientGone:
            exchange.status = CLIENT_CLOSED_REQUEST
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("request failed", extra=_context(exchange))
            if exchange.status:  # the answer has begun: nothing can be told any more
                raise
            await exchange.answer(*tell(None, exchange.request_id))
        finally:
            self._record(exchange)

    async def _serve(self, exchange: Exchange) -> None:
        try:
            await self._dispatch(exchange)
        except BridgeError as error:
            await self._tell(exchange, error)

    async def _dispatch(self, exchange: Exchange) -> None:
        path, method = exchange.path, exchange.method
        if path == MCP:
            exchange.route = "mcp"
            await self._mcp(exchange)
        elif not path.startswith(EVENTS):
            await self._others(exchange)
        elif path.startswith(WAIT + "/") or (path == WAIT and method != "POST"):
            # `wait` may be an event's type as well: a POST publishes it.
            self._allow(exchange, *(("GET", "POST") if path == WAIT else ("GET",)))
            exchange.route = "wait"
            await self._wait(exchange, path[len(WAIT) + 1 :] or None)
        elif path.startswith(STREAM + "/") or (path == STREAM and method != "POST"):
            self._allow(exchange, *(("GET", "POST") if path == STREAM else ("GET",)))
            exchange.route = "stream"
            await self._stream(exchange, path[len(STREAM) + 1 :] or None)
        elif path == EVENTS and method == "POST":
            exchange.route = "publish_many"
            await self._publish.many(exchange)
        elif path == EVENTS or method == "GET":
            self._allow(exchange, "GET", "POST")
            await self._others(exchange)
        elif path.startswith(EVENTS + "/"):
            self._allow(exchange, "GET", "POST")
            exchange.route = "publish"
            await self._publish.one(exchange, path[len(EVENTS) + 1 :])
        else:
            await self._others(exchange)

    async def _others(self, exchange: Exchange) -> None:
        """Let FastAPI answer; an error that its endpoints raise comes back here to be told."""
        await exchange.pass_on(self._rest)
        if exchange.error is not None:
            await self._tell(exchange, exchange.error)

    @staticmethod
    def _allow(exchange: Exchange, *methods: str) -> None:
        if exchange.method not in methods:
            raise MethodNotAllowed(
                other_method(exchange.path, exchange.method, methods),
                allowed=list(methods),
            )

    async def _tell(self, exchange: Exchange, error: BridgeError) -> None:
        status, body, headers = tell(error, exchange.request_id)
        log.log(
            logging.WARNING if status >= 500 else logging.INFO,
            "%s %s refused: %s %s",
            exchange.method,
            exchange.path[:200],
            error.code,
            error.message if status >= 500 else error.slug,
            extra=_context(exchange),
        )
        await exchange.answer(status, body, headers)

    def _record(self, exchange: Exchange) -> None:
        seconds = exchange.elapsed()
        self._metrics.observe(exchange.route, exchange.status, seconds)
        if exchange.route == "publish":
            self._metrics.publish_seconds.observe(seconds)
        elif exchange.route == "wait":
            self._metrics.wait_seconds.observe(seconds)
        if log.isEnabledFor(logging.DEBUG):
            log.debug(
                "%s %s -> %s in %.1f ms",
                exchange.method,
                exchange.path[:200],
                exchange.status,
                seconds * 1000,
                extra=_context(exchange),
            )


def _tidy(scope: Scope) -> None:
    """Drop doubled slashes and the one at the end, under `/api`, where a base URL brings them in.

    Elsewhere a path stays as it is: a proxy may guard `/metrics` and let `//metrics` through.
    """
    path = _SLASHES.sub("/", scope["path"])
    if path.startswith("/api/"):
        scope["path"] = path.removesuffix("/")
        scope["raw_path"] = _RAW_SLASHES.sub(b"/", scope["raw_path"]).removesuffix(b"/")


def _context(exchange: Exchange) -> dict[str, str]:
    """Give what every log line of a request carries; never a token or event data."""
    context = {"request_id": exchange.request_id}
    if exchange.principal is not None:
        context |= {"agent": exchange.principal.agent_id, "project": exchange.principal.project}
    return context
