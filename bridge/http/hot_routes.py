"""The endpoints that must be fast, on raw ASGI: publish and wait.

An answer to a wait is written whole; its events are acknowledged when it has left the server's
buffer and the connection was not cut meanwhile. A client that goes away while it waits is noticed
at once, so that nothing is delivered to it in vain.
"""

import asyncio
import contextlib
import time
from dataclasses import replace
from typing import Any

import orjson

from bridge.bus import Bus, Receipt, WaitQuery, WaitResult
from bridge.bus.lean import shown
from bridge.errors import NotAcceptable, RequestInvalid, Unavailable
from bridge.events import NewEvent, Trace, read_trace, rfc3339
from bridge.http import cloudevents
from bridge.http.access import Access
from bridge.http.bodies import new_event, new_events, one_of_many
from bridge.http.exchange import ClientGone, Exchange, RawHeaders, settled
from bridge.http.json_bodies import decode, decode_objects
from bridge.http.metrics import Metrics
from bridge.http.parameters import ask_query, wait_query, warnings_of
from bridge.http.rounding import by_event, rounded
from bridge.http.tracing import Tracing
from bridge.tokens import Principal

ACCEPTED = 202
EVENT_STREAM = "text/event-stream"
MAX_NAMED_SUBSCRIBERS = 100

OVERDUE_SECONDS = 1.0
"""A wait may take so much longer than it was allowed; then NATS has so long to answer a ping."""


class PublishRoute:
    """Takes events in; what it answers 202 to is stored in JetStream."""

    def __init__(
        self,
        bus: Bus,
        access: Access,
        metrics: Metrics,
        tracing: Tracing,
        *,
        max_batch_bytes: int,
    ) -> None:
        self._tracing = tracing
        self._bus = bus
        self._access = access
        self._metrics = metrics
        self._max_batch_bytes = max_batch_bytes

    async def one(self, exchange: Exchange, event_type: str) -> None:
        """Publish the event in the body."""
        principal = exchange.principal = await self._access.principal(
            exchange.header(b"authorization")
        )
        exchange.extra_headers = self._access.limiter.take(principal)
        body = await exchange.body(self._bus.max_event_bytes)
        new = self._one(exchange, body, event_type)
        if told := rounded(body):
            new = replace(new, warnings=(*new.warnings, *map(str, told)))
        query = ask_query(exchange.scope["query_string"])
        with self._tracing.publishing(new.event_type, _trace(exchange)) as new.trace:
            if query is not None:
                await self._ask(exchange, principal, new, query)
                return
            receipt = await self._bus.publish(principal, new)
        self._count(receipt)
        await exchange.answer(ACCEPTED, _receipt(receipt))

    @staticmethod
    def _one(exchange: Exchange, body: bytes, event_type: str | None) -> NewEvent:
        """Read an event as the bridge's JSON, or as a CloudEvent."""
        if cloudevents.is_binary(exchange):
            return cloudevents.binary(exchange, body, event_type)
        if cloudevents.media_type(exchange.header(b"content-type")) == cloudevents.ONE:
            return cloudevents.structured(
                decode(body, cloudevents.json_header(exchange)), event_type
            )
        content = decode(body, exchange.header)
        return new_event(content, event_type, exchange.text_header(b"idempotency-key"))

    async def _ask(
        self, exchange: Exchange, principal: Principal, new: NewEvent, query: WaitQuery
    ) -> None:
        """Publish, and answer with the replies. A client that goes away meanwhile asks again."""
        gone = asyncio.ensure_future(exchange.disconnected())
        asking = asyncio.ensure_future(self._bus.ask(principal, new, query))
        self._metrics.waiting += 1
        try:
            await asyncio.wait((asking, gone), return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                raise ClientGone
            receipt, replies = await asking
        finally:
            self._metrics.waiting -= 1
            asking.cancel()
            gone.cancel()
        self._count(receipt)
        self._metrics.delivered["replay"] += len(replies.events)
        await exchange.answer(200, {**_receipt(receipt), "reply": _batch(query, replies)})

    async def many(self, exchange: Exchange) -> None:
        """Publish the array of events in the body, all or nothing for validation."""
        principal = exchange.principal = await self._access.principal(
            exchange.header(b"authorization")
        )
        body = await exchange.body(self._max_batch_bytes, "send fewer events at once")
        kind = cloudevents.media_type(exchange.header(b"content-type"))
        if kind == cloudevents.ONE or cloudevents.is_binary(exchange):
            new = self._one(exchange, body, None)
            exchange.extra_headers = self._access.limiter.take(principal)
            with self._tracing.publishing(new.event_type, _trace(exchange)) as new.trace:
                receipt = await self._bus.publish(principal, new)
            self._count(receipt)
            await exchange.answer(ACCEPTED, _receipt(receipt))
            return
        if exchange.header(b"idempotency-key") is not None:
            raise RequestInvalid(
                "the header Idempotency-Key names a single event; give each event of the array its "
                "own `event_id` instead",
                field="Idempotency-Key",
            )
        events = await self._read(body, exchange)
        if told := rounded(body):
            for index, said in by_event(told, [event.data for event in events]).items():
                warnings = (*events[index].warnings, *said)
                events[index] = replace(events[index], warnings=warnings)
        exchange.extra_headers = self._access.limiter.take(principal, len(events))
        with self._tracing.publishing(f"{len(events)} events", _trace(exchange)) as trace:
            for event in events:
                event.trace = trace
            receipts = await self._bus.publish_all(principal, events)
        for receipt in receipts:
            self._count(receipt)
        await exchange.answer(ACCEPTED, [_receipt(receipt) for receipt in receipts])

    async def _read(self, body: bytes, exchange: Exchange) -> list[NewEvent]:
        """Read an array; one larger than any event may be, bit by bit."""
        limit = self._bus.max_event_bytes
        if cloudevents.media_type(exchange.header(b"content-type")) == cloudevents.BATCH:
            return cloudevents.batched(decode(body, cloudevents.json_header(exchange)))
        if len(body) <= limit:
            return new_events(decode(body, exchange.header))
        events: list[NewEvent] = []
        async for content in decode_objects(body, exchange.header, limit):
            events.append(one_of_many(content, len(events)))
        return events or new_events([])

    def _count(self, receipt: Receipt) -> None:
        if not receipt.duplicate:
            self._metrics.published += 1


def _in_form(form: str | None, query: WaitQuery, batch: WaitResult) -> tuple[Any, RawHeaders]:
    """Write the answer to a wait in the format that was asked for.

    A batch of CloudEvents is nothing but those: what else is to be told is in headers.
    """
    answer = _batch(query, batch)
    if form is None:
        return answer, ((b"content-type", b"application/json"),)
    more = ("ack_id", "lease_expires_at")
    answer["events"] = [
        cloudevents.cloudevent(event, {name: told.get(name) for name in more})
        for event, told in zip(batch.events, answer["events"], strict=True)
    ]
    if form == cloudevents.ONE:
        return answer, ((b"content-type", b"application/json"),)
    told = {name: answer[name] for name in ("next_cursor", "ended_by", "more_available")}
    told |= {"ack_id": answer["ack_id"]} if "ack_id" in answer else {}
    headers = [
        (f"x-{name.replace('_', '-')}".encode(), orjson.dumps(value).strip(b'"'))
        for name, value in told.items()
    ]
    return answer["events"], [(b"content-type", cloudevents.BATCH.encode()), *headers]


def _trace(exchange: Exchange) -> Trace | None:
    return read_trace(exchange.header(b"traceparent"), exchange.header(b"tracestate"))


def _receipt(receipt: Receipt) -> dict[str, Any]:
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


class WaitRoute:
    """Long polls: `GET /api/events/wait` with or without event types.

    A client that takes its answer for longer than `answer_timeout` seconds keeps no events from
    others.
    """

    def __init__(
        self,
        bus: Bus,
        access: Access,
        metrics: Metrics,
        tracing: Tracing,
        *,
        answer_timeout: float,
    ) -> None:
        self._tracing = tracing
        self._answer_timeout = answer_timeout
        self._ending: set[asyncio.Future[None]] = set()
        self._bus = bus
        self._access = access
        self._metrics = metrics

    async def __call__(self, exchange: Exchange, event_types: str | None) -> None:
        """Wait for events and deliver them."""
        principal = exchange.principal = await self._access.principal(
            exchange.header(b"authorization")
        )
        exchange.extra_headers = self._access.limiter.take(principal)
        if (exchange.header(b"accept") or "").strip() == EVENT_STREAM:
            raise NotAcceptable(
                "a wait answers JSON; for a stream of events ask for GET /api/events/stream/"
                f"{event_types or '{event_types}'}"
            )
        query = wait_query(event_types, exchange.scope["query_string"])
        await exchange.skip_body()
        gone = asyncio.ensure_future(exchange.disconnected())
        try:
            with self._tracing.waiting(event_types, _trace(exchange)):
                waiting = self._bus.wait(principal, query)
                batch = await self._unless_gone(waiting, gone, query.timeout)
            if self._bus.draining:
                exchange.closing = True
            await self._deliver(exchange, query, batch, gone)
        finally:
            gone.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await gone
        await exchange.finish()

    async def _unless_gone(
        self, waiting: Any, gone: asyncio.Future[None], timeout: float
    ) -> WaitResult:
        """Wait for the batch, or until the client has gone: then whatever was held goes back.

        Raises Unavailable when it is overdue and NATS hangs, which nothing but time tells of.
        """
        task: asyncio.Task[WaitResult] = asyncio.ensure_future(waiting)
        self._metrics.waiting += 1
        try:
            allowed = timeout + OVERDUE_SECONDS
            while not await _first_of(task, gone, allowed):
                allowed = OVERDUE_SECONDS
                try:
                    await self._bus.ping_store(OVERDUE_SECONDS)
                except Unavailable:
                    if not task.done():
                        self._abandon_later(task)
                        raise
            if not gone.done():
                return await task
        except asyncio.CancelledError:
            await _abandon(task)
            raise
        finally:
            self._metrics.waiting -= 1
        await _abandon(task)
        raise ClientGone

    def _abandon_later(self, task: asyncio.Task[WaitResult]) -> None:
        """End a wait that may take its time for it, since it waits for NATS."""
        ending = asyncio.ensure_future(_abandon(task))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def _deliver(
        self, exchange: Exchange, query: WaitQuery, batch: WaitResult, gone: asyncio.Future[None]
    ) -> None:
        try:
            await settled()
            written = not gone.done()
            if written:
                async with asyncio.timeout(
                    None if batch.delivery is None else self._answer_timeout
                ):
                    await exchange.begin(200, *_in_form(cloudevents.wanted(exchange), query, batch))
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
        if batch.events:
            self._tracing.delivered(batch.events)

    def _count(self, batch: WaitResult) -> None:
        kind = "replay" if batch.delivery is None else "durable"
        self._metrics.delivered[kind] += len(batch.events)
        self._metrics.redelivered += sum(event.delivery_count > 1 for event in batch.events)


async def _first_of(
    task: asyncio.Task[WaitResult], gone: asyncio.Future[None], seconds: float
) -> bool:
    """Wait for the batch or the client's end; False if neither came in time."""
    futures = (task, gone)
    done, _ = await asyncio.wait(futures, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    return bool(done)


async def _abandon(task: asyncio.Task[WaitResult]) -> None:
    """End a wait whose client has gone; if it has just brought a batch, give that back."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Unavailable):
        batch = await task
        await batch.give_back()


def _batch(query: WaitQuery, batch: WaitResult) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "events": [shown(event, query.fields) for event in batch.events],
        "more_available": batch.more_available,
        "next_cursor": batch.next_cursor,
        "timeout": batch.timed_out,
        "ended_by": batch.ended_by,
        "timestamp": rfc3339(time.time()),
    }
    if batch.gap is not None:
        answer["gap"] = batch.gap.as_json()
    if batch.leases is not None:
        expires = rfc3339(batch.leases.until)
        for event, ack_id in zip(answer["events"], batch.leases.ack_ids, strict=True):
            event["ack_id"], event["lease_expires_at"] = ack_id, expires
        answer["ack_id"] = batch.leases.ack_id
    if batch.hints is not None:
        answer["hints"] = [hint.as_json() for hint in batch.hints]
    if warnings := [*warnings_of(query), *batch.warnings]:
        answer["warnings"] = warnings
    return answer
