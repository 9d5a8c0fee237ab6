"""Endpoints for whoever runs the bridge: probes, health, status, metrics."""

import time
from importlib.resources import files
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from bridge import __version__
from bridge.bus import Bus
from bridge.http import schemas
from bridge.http.access import Access
from bridge.http.metrics import Metrics
from bridge.http.openapi import problems
from bridge.http.rest_routes import caller, exchange_of
from bridge.tokens import Principal

SERVICE = "agent-event-bridge"


def operations_routes(bus: Bus, access: Access, metrics: Metrics) -> APIRouter:
    """Make the routes outside `/api`; only `/status` takes a token."""
    router = APIRouter(tags=["operations"])
    started = time.monotonic()
    _probes(router, bus, started)

    @router.get("/status", responses=problems(401, 429, 503))
    async def status(
        request: Request, principal: Annotated[Principal, caller(access)]
    ) -> dict[str, Any]:
        """Sum up the project's events, subscriptions and agents, and the latest latencies."""
        exchange_of(request).route = "status"
        return {
            "service": SERVICE,
            "version": __version__,
            "uptime_seconds": round(time.monotonic() - started, 1),
            **await bus.overview.status(principal),
            "latencies": metrics.latencies(),
            "requests": metrics.served(),
        }

    guide = (files("bridge.http") / "llms.txt").read_bytes()

    @router.get("/llms.txt", response_class=Response)
    async def for_a_model(request: Request) -> Response:
        """Say what an agent that has only HTTP needs to know, in a page."""
        exchange_of(request).route = "guide"
        return Response(guide, headers={"content-type": "text/plain; charset=utf-8"})

    @router.get("/metrics", response_class=Response)
    async def prometheus(request: Request) -> Response:
        """Give the metrics of this process in Prometheus' text format."""
        exchange_of(request).route = "metrics"
        return Response(metrics.text(), headers={"content-type": CONTENT_TYPE_LATEST})

    return router


def _probes(router: APIRouter, bus: Bus, started: float) -> None:
    @router.head("/livez", include_in_schema=False)
    @router.get("/livez")
    async def live(request: Request) -> dict[str, str]:
        """Answer as long as the process can: asks nothing of NATS."""
        exchange_of(request).route = "probe"
        return {"status": "ok"}

    @router.head("/readyz", include_in_schema=False)
    @router.get("/readyz", responses={503: {"description": "Not ready; `reason` says why"}})
    async def ready(request: Request) -> JSONResponse:
        """Answer 200 when events can be served: connected, stream read, not shutting down."""
        exchange_of(request).route = "probe"
        problem = bus.health().problem
        if problem:
            return JSONResponse({"status": "unavailable", "reason": problem}, 503)
        return JSONResponse({"status": "ok"})

    @router.head("/health", include_in_schema=False)
    @router.get(
        "/health",
        response_model=schemas.HealthAnswer,
        responses={503: {"model": schemas.HealthAnswer}},
    )
    async def health(request: Request) -> JSONResponse:
        """Say how the bridge stands, check by check."""
        exchange_of(request).route = "probe"
        found = bus.health()
        checks = {
            "nats": "ok" if found.connected else "not connected",
            "stream": found.stream_problem or "ok",
            "draining": "yes" if found.draining else "no",
        }
        content = {
            "status": "unavailable" if found.problem else "ok",
            "service": SERVICE,
            "version": __version__,
            "uptime_seconds": round(time.monotonic() - started, 1),
            "checks": checks,
        }
        return JSONResponse(content, 503 if found.problem else 200)
