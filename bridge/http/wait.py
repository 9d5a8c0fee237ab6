"""The wait endpoint, and delivery: events are acknowledged after their answer was written.

An answer is written whole; its events are acknowledged when it has left the server's buffer and
the connection was not cut meanwhile. A client that goes away while it waits is noticed at once, so
that nothing is delivered to it in vain.
"""

import asyncio
import contextlib
import time
from typing import Any

from bridge.bus import Bus
from bridge.events import rfc3339
from bridge.http.access import Access
from bridge.http.exchange import ClientGone, Exchange, settled
from bridge.http.metrics import Metrics
from bridge.http.queries import wait_query, warnings_of
from bridge.queries import Batch, WaitQuery

TAKING_ACK_WAITS = 3
"""After so many `ack_wait` a client that does not take its answer keeps no events from others."""


class Wait:
    """Long polls: `GET /api/events/wait` with or without event types."""

    def __init__(self, bus: Bus, access: Access, metrics: Metrics) -> None:
        self._bus = bus
        self._access = access
        self._metrics = metrics

    async def __call__(self, exchange: Exchange, event_types: str | None) -> None:
        """Wait for events and deliver them."""
        principal = exchange.principal = await self._access.principal(
            exchange.header(b"authorization")
        )
        exchange.extra_headers = self._access.limiter.take(principal)
        query = wait_query(event_types, exchange.scope["query_string"])
        await exchange.skip_body()
        gone = asyncio.ensure_future(exchange.disconnected())
        try:
            batch = await self._unless_gone(self._bus.wait(principal, query), gone)
            if self._bus.draining:
                exchange.closing = True
            await self._deliver(exchange, query, batch, gone)
        finally:
            gone.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await gone
        await exchange.finish()

    async def _unless_gone(self, waiting: Any, gone: asyncio.Future[None]) -> Batch:
        """Wait for the batch, or until the client has gone: then whatever was held goes back."""
        task: asyncio.Task[Batch] = asyncio.ensure_future(waiting)
        self._metrics.waiting += 1
        try:
            await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
            if not gone.done():
                return await task
        except asyncio.CancelledError:
            await _abandon(task)
            raise
        finally:
            self._metrics.waiting -= 1
        await _abandon(task)
        raise ClientGone

    async def _deliver(
        self, exchange: Exchange, query: WaitQuery, batch: Batch, gone: asyncio.Future[None]
    ) -> None:
        try:
            await settled()
            written = not gone.done()
            if written:
                async with asyncio.timeout(_patience(batch)):
                    await exchange.begin(200, _answer(query, batch))
                await settled()
                # A client may well close its connection as soon as it has read the answer.
                written = not (gone.done() and exchange.was_cut)
        except TimeoutError:
            written = False
        except BaseException:
            await batch.give_back()
            raise
        if not written:
            await batch.give_back()
            raise ClientGone
        await batch.accept()
        self._count(batch)

    def _count(self, batch: Batch) -> None:
        kind = "replay" if batch.held is None else "durable"
        self._metrics.delivered[kind] += len(batch.events)
        self._metrics.redelivered += sum(event.delivery_count > 1 for event in batch.events)


async def _abandon(task: asyncio.Task[Batch]) -> None:
    """End a wait whose client has gone; if it has just brought a batch, give that back."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        batch = await task
        await batch.give_back()


def _patience(batch: Batch) -> float | None:
    """Give how long its client may take to take an answer, in seconds: None if nothing is held."""
    return batch.held.ack_wait * TAKING_ACK_WAITS if batch.held is not None else None


def _answer(query: WaitQuery, batch: Batch) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "events": [event.as_json() for event in batch.events],
        "more_available": batch.more_available,
        "next_cursor": batch.next_cursor,
        "timeout": batch.timed_out,
        "timestamp": rfc3339(time.time()),
    }
    if batch.gap is not None:
        answer["gap"] = batch.gap.as_json()
    if warnings := warnings_of(query):
        answer["warnings"] = warnings
    return answer
