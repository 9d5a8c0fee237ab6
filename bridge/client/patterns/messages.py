"""Patterns of single messages: ask and be answered, tell all, wait with patience, log."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from bridge.client.answers import Published
from bridge.client.calls import Calls
from bridge.client.flow import Flow
from bridge.client.patterns.pattern import pattern
from bridge.client.replies import TRANSIENT, Unreachable
from bridge.errors import BridgeError
from bridge.events import Event

log = logging.getLogger("bridge.client.patterns")


@pattern
def request_response(
    calls: Calls,
    request_type: str,
    response_type: str,
    data: Mapping[str, Any] | None = None,
    *,
    topic: str = "coordination",
    timeout: float = 60.0,
    correlation_id: str | None = None,
) -> Flow[Event | None]:
    """Publish a request and give the first response to it, None after `timeout` seconds.

    Event System Guide, "Request-Response Pattern". The response is an event behind the request with
    its correlation ID, a new one unless given; see `ask`.

    >>> from bridge.client import EventClient
    >>> from bridge.client.patterns import request_response
    >>> def review(event):
    ...     client.publish(
    ...         "review_complete", {"approved": True}, correlation_id=event.correlation_id
    ...     )
    >>> with EventClient() as client, client.on("review_requested", review):
    ...     reply = request_response(
    ...         client, "review_requested", "review_complete", {"target": "api.py"}, timeout=10
    ...     )
    >>> reply.data
    {'approved': True}
    """
    asked = yield from calls.ask(
        request_type,
        data,
        reply=response_type,
        timeout=timeout,
        topic=topic,
        correlation_id=correlation_id,
    )
    return asked.reply.events[0] if asked.reply else None


@pattern
def broadcast(
    calls: Calls,
    event_type: str,
    data: Mapping[str, Any] | None = None,
    *,
    topic: str = "coordination",
) -> Flow[Published]:
    """Tell every agent: publish on the topic that all of them hear, marked as a broadcast.

    Event System Guide, "Broadcast Pattern".

    >>> from bridge.client import EventClient
    >>> from bridge.client.patterns import broadcast
    >>> with EventClient() as client:
    ...     told = broadcast(client, "release_frozen", {"until": "Monday"})
    ...     client.wait(timeout=10).events[0].data
    {'until': 'Monday', 'broadcast': True}
    """
    return (yield from calls.publish(event_type, {**(data or {}), "broadcast": True}, topic=topic))


@pattern
def wait_for_any(
    calls: Calls,
    event_types: Iterable[str],
    *,
    filter: str | None = None,  # noqa: A002 - the contract's name
    timeout: float = 30.0,
) -> Flow[list[Event]]:
    """Wait for an event of any of several types; none after `timeout` seconds.

    Event System Guide, "Multiple Event Types", in one request.

    >>> from bridge.client import EventClient
    >>> from bridge.client.patterns import wait_for_any
    >>> with EventClient() as client:
    ...     _ = client.publish("error_encountered", {"error": "disk full"})
    ...     events = wait_for_any(client, ["implementation_complete", "error_encountered"])
    >>> [event.event_type for event in events]
    ['error_encountered']
    """
    return (yield from calls.wait(*event_types, filter=filter, timeout=timeout)).events


@pattern
def robust_wait(
    calls: Calls,
    *event_types: str,
    filter: str | None = None,  # noqa: A002 - the contract's name
    timeout: float = 30.0,
    max_attempts: int = 3,
) -> Flow[list[Event]]:
    """Wait `max_attempts` times `timeout` seconds; no events if all that was in vain.

    Event System Guide, "Handle Timeouts Gracefully". Each attempt that ends without events is
    logged as a warning, whether nothing came or the bridge was away.

    >>> from bridge.client import EventClient
    >>> from bridge.client.patterns import robust_wait
    >>> with EventClient() as client:
    ...     robust_wait(client, "deployment_complete", timeout=0.1, max_attempts=2)
    []
    """
    for attempt in range(1, max_attempts + 1):
        try:
            batch = yield from calls.wait(*event_types, filter=filter, timeout=timeout)
        except TRANSIENT as error:
            log.warning("attempt %d of %d failed: %s", attempt, max_attempts, error.message)
            continue
        if batch.events:
            return batch.events
        log.warning("attempt %d of %d timed out", attempt, max_attempts)
    return []


@pattern
def publish_with_logging(
    calls: Calls,
    event_type: str,
    data: Mapping[str, Any] | None = None,
    *,
    topic: str | None = None,
    correlation_id: str | None = None,
    logger: logging.Logger = log,
) -> Flow[Published]:
    """Publish, with a line in the log before, after, and if it fails.

    Event System Guide, "Log All Event Operations". Raises as `publish` does.

    >>> from bridge.client import EventClient
    >>> from bridge.client.patterns import publish_with_logging
    >>> with EventClient() as client:
    ...     publish_with_logging(client, "tests_passing", {"coverage": 92}).topic
    'testing'
    """
    logger.info("publishing %s to %s", event_type, topic or "its usual topic")
    try:
        stored = yield from calls.publish(
            event_type, data, topic=topic, correlation_id=correlation_id
        )
    except (BridgeError, Unreachable) as error:
        logger.error("not published: %s: %s", event_type, error.message)  # noqa: TRY400 - raised
        raise
    logger.info("published %s to %s as %s", event_type, stored.topic, stored.event_id)
    return stored
