"""Publish endpoints: `POST /api/events/{event_type}` and `POST /api/events`."""

from typing import Any

from bridge.bus import Bus
from bridge.errors import RequestInvalid
from bridge.http.access import Access
from bridge.http.bodies import new_event, new_events
from bridge.http.exchange import Exchange
from bridge.http.jsontext import decode
from bridge.http.metrics import Metrics
from bridge.queries import Receipt

ACCEPTED = 202
MAX_NAMED_SUBSCRIBERS = 100


class Publish:
    """Takes events in; what it answers 202 to is stored in JetStream."""

    def __init__(
        self,
        bus: Bus,
        access: Access,
        metrics: Metrics,
        *,
        max_event_bytes: int,
        max_batch_bytes: int,
    ) -> None:
        self._bus = bus
        self._access = access
        self._metrics = metrics
        self._max_event_bytes = max_event_bytes
        self._max_batch_bytes = max_batch_bytes

    async def one(self, exchange: Exchange, event_type: str) -> None:
        """Publish the event in the body."""
        principal = exchange.principal = await self._access.principal(
            exchange.header(b"authorization")
        )
        exchange.extra_headers = self._access.limiter.take(principal)
        content = decode(await exchange.body(self._max_event_bytes), exchange.header)
        new = new_event(content, event_type, exchange.text_header(b"idempotency-key"))
        receipt = await self._bus.publish(principal, new)
        self._count(receipt)
        await exchange.answer(ACCEPTED, _answer(receipt))

    async def many(self, exchange: Exchange) -> None:
        """Publish the array of events in the body, all or nothing for validation."""
        principal = exchange.principal = await self._access.principal(
            exchange.header(b"authorization")
        )
        body = await exchange.body(self._max_batch_bytes, "send fewer events at once")
        if exchange.header(b"idempotency-key") is not None:
            raise RequestInvalid(
                "the header Idempotency-Key names a single event; give each event of the array its "
                "own `event_id` instead",
                field="Idempotency-Key",
            )
        events = new_events(
            decode(body, exchange.header),
            self._max_event_bytes,
            check_sizes=len(body) > self._max_event_bytes,
        )
        exchange.extra_headers = self._access.limiter.take(principal, len(events))
        receipts = await self._bus.publish_all(principal, events)
        for receipt in receipts:
            self._count(receipt)
        await exchange.answer(ACCEPTED, [_answer(receipt) for receipt in receipts])

    def _count(self, receipt: Receipt) -> None:
        if not receipt.duplicate:
            self._metrics.published += 1


def _answer(receipt: Receipt) -> dict[str, Any]:
    event = receipt.event
    answer = {
        "event_id": event.event_id,
        "published": True,
        "duplicate": receipt.duplicate,
        "topic": event.topic,
        "ttl_seconds": event.ttl_seconds,
        "timestamp": event.timestamp,
        "cursor": receipt.cursor,
        "subscribers_notified": receipt.subscribers[:MAX_NAMED_SUBSCRIBERS],
        "subscriber_count": len(receipt.subscribers),
    }
    if receipt.warnings:
        answer["warnings"] = list(receipt.warnings)
    return answer
