"""A second port: who scrapes and probes needs no way to the API, and agents none to metrics."""

from starlette.types import ASGIApp, Receive, Scope, Send

from bridge.errors import NotFound
from bridge.http.corrections import PROBES
from bridge.http.exchange import Exchange
from bridge.http.problem import tell

METRICS = "/metrics"


class InternalPort:
    """Serves probes and metrics alone at the internal port, and metrics at no other."""

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app = app
        self._port = port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, unless the other port is for it."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send)
        await exchange.answer(*tell(refusal, exchange.request_id))

    def _refusal(self, scope: Scope) -> NotFound | None:
        _, port = scope["server"]  # the socket's own, which no header of a request can change
        if port != self._port:
            if scope["path"] != METRICS:
                return None
            return NotFound("metrics are at this bridge's internal port, BRIDGE_INTERNAL_PORT")
        if scope["path"] in (*PROBES, METRICS):
            return None
        answered = ", ".join((*PROBES, METRICS))
        return NotFound(f"this port answers {answered} alone; the API is at BRIDGE_PORT")
