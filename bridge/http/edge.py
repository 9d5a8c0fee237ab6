"""The edge: every request passes here, gets its identity, its endpoint, and its errors told.

The endpoints that must be fast are called on raw ASGI; everything else is FastAPI's. Pure ASGI,
because middleware that wraps the request stream would hide that a client went away.
"""

import asyncio
import logging

from starlette.types import ASGIApp, Receive, Scope, Send

from bridge.bus import Bus
from bridge.errors import BridgeError, MethodNotAllowed
from bridge.http.exchange import ClientGone, Exchange
from bridge.http.metrics import Metrics
from bridge.http.paths import EVENTS, WAIT, other_method, tidy
from bridge.http.problem import tell
from bridge.http.publish import Publish
from bridge.http.wait import Wait

log = logging.getLogger("bridge.http")

CLIENT_CLOSED_REQUEST = 499
"""What a request whose client went away counts as; nobody receives it."""


class Edge:
    """The outermost ASGI application of the bridge."""

    def __init__(
        self,
        rest: ASGIApp,
        publish: Publish,
        wait: Wait,
        bus: Bus,
        metrics: Metrics,
    ) -> None:
        self._rest = rest
        self._publish = publish
        self._wait = wait
        self._bus = bus
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; other kinds of connection are passed on."""
        if scope["type"] != "http":
            await self._rest(scope, receive, send)
            return
        if "//" in scope["path"] or scope["path"].endswith("/"):
            tidy(scope)
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
        if not path.startswith(EVENTS):
            await self._others(exchange)
        elif path.startswith(WAIT + "/") or (path == WAIT and method != "POST"):
            # `wait` may be an event's type as well: a POST publishes it.
            self._allow(exchange, *(("GET", "POST") if path == WAIT else ("GET",)))
            exchange.route = "wait"
            await self._wait(exchange, path[len(WAIT) + 1 :] or None)
        elif path == EVENTS and method == "POST":
            exchange.route = "publish_many"
            await self._publish.many(exchange)
        elif path == EVENTS:
            self._allow(exchange, "GET", "POST")
            await self._others(exchange)
        elif path.startswith(EVENTS + "/"):
            self._allow(exchange, "POST")
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


def _context(exchange: Exchange) -> dict[str, str]:
    """Give what every log line of a request carries; never a token or event data."""
    context = {"request_id": exchange.request_id}
    if exchange.principal is not None:
        context |= {"agent": exchange.principal.agent_id, "project": exchange.principal.project}
    return context
