"""Server-Sent Events: every event as it comes, on raw ASGI (WHATWG HTML, Server-sent events)."""

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

import orjson

from bridge.bus import Bus, Tidings
from bridge.bus.lean import shown
from bridge.errors import BridgeError
from bridge.events import Event
from bridge.http import cloudevents
from bridge.http.access import Access
from bridge.http.exchange import Exchange
from bridge.http.metrics import Metrics
from bridge.http.parameters import stream_query
from bridge.http.problem import tell
from bridge.http.tracing import Tracing

RETRY_MILLISECONDS = 1000
Write = Callable[[Event], dict[str, Any]]
_HEADERS = ((b"content-type", b"text/event-stream"), (b"x-accel-buffering", b"no"))
"""The second asks a proxy of nginx's kind to pass on what comes."""


class StreamRoute:
    """Streams: `GET /api/events/stream` with or without event types.

    A slow reader slows itself alone: nothing is read for it while the server's buffer is full.
    """

    def __init__(self, bus: Bus, access: Access, metrics: Metrics, tracing: Tracing) -> None:
        self._tracing = tracing
        self._bus = bus
        self._access = access
        self._metrics = metrics

    async def __call__(self, exchange: Exchange, event_types: str | None) -> None:
        """Stream events until the client goes or the bridge ends."""
        principal = exchange.principal = await self._access.principal(
            exchange.header(b"authorization")
        )
        exchange.extra_headers = self._access.limiter.take(principal)
        query = stream_query(event_types, exchange.scope["query_string"])
        since = exchange.text_header(b"last-event-id") or query.since or "now"
        await exchange.skip_body()
        selection = self._bus.selection(principal, query)
        gone = asyncio.ensure_future(exchange.disconnected())
        as_asked = partial(shown, fields=query.fields)
        write = _as_cloudevent if cloudevents.wanted(exchange) else as_asked
        told = self._bus.streams.read(principal, selection, since)
        writing = asyncio.ensure_future(self._write(exchange, told, write))
        self._metrics.streaming += 1
        try:
            await asyncio.wait((gone, writing), return_when=asyncio.FIRST_COMPLETED)
            if writing.done():
                await writing
        finally:
            self._metrics.streaming -= 1
            for task in (gone, writing):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def _write(self, exchange: Exchange, told: Any, write: Write) -> None:
        """Write what is told. The first decides whether it is an error, and an error an answer."""
        async with contextlib.aclosing(told) as items:
            try:
                async for item in items:
                    if exchange.status == 0:
                        await exchange.open(200, _HEADERS)
                    if item.event is not None:
                        self._metrics.delivered["replay"] += 1
                    await exchange.write(_written(item, write))
                    if item.event is not None:
                        self._tracing.delivered([item.event])
            except BridgeError as error:
                if exchange.status == 0:
                    raise
                _, problem, _ = tell(error, exchange.request_id)
                await exchange.write(b"event: problem\ndata: %b\n\n" % orjson.dumps(problem))
        if exchange.status == 0:
            await exchange.open(200, _HEADERS)
        await exchange.write(b"retry: %d\n\n" % RETRY_MILLISECONDS)
        await exchange.finish()


def _as_cloudevent(event: Event) -> dict[str, Any]:
    return cloudevents.cloudevent(event, {})


def _written(item: Tidings, write: Write) -> bytes:
    cursor = item.cursor.encode()
    if item.gap is not None:
        content = orjson.dumps({**item.gap.as_json(), "cursor": item.cursor})
        return b"event: gap\nid: %b\ndata: %b\n\n" % (cursor, content)
    if item.event is None:
        content = orjson.dumps({"cursor": item.cursor})
        return b"event: cursor\nid: %b\ndata: %b\n\n" % (cursor, content)
    return b"id: %b\ndata: %b\n\n" % (cursor, orjson.dumps(write(item.event)))
