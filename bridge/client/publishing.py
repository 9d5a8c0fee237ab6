"""Publishing: each event has its ID before it is sent, so that it can be sent again."""

import json
import uuid
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any
from urllib.parse import quote

from bridge.client.answers import Published, made
from bridge.client.channel import Channel
from bridge.client.errors import TRANSIENT, shapeless
from bridge.client.steps import Flow, Request

MAX_BATCH = 1000


class Publishing:
    """What publishes events. `publisher` is sent with each unless another is given."""

    def __init__(self, channel: Channel, publisher: str | None = None) -> None:
        self._channel = channel
        self._publisher = publisher

    def publish(  # noqa: PLR0913 - the contract's fields
        self,
        event_type: str,
        data: Mapping[str, Any] | None = None,
        *,
        topic: str | None = None,
        correlation_id: str | None = None,
        ttl_seconds: int | None = None,
        priority: str | None = None,
        event_id: str | None = None,
        publisher: str | None = None,
    ) -> Flow[Published]:
        """Publish an event; it is stored when this returns.

        It is tried again after 503, 429, timeouts and broken connections, always under the same
        `event_id` (a new one unless given), so that it cannot be stored twice as long as
        `retry_for` is below the bridge's duplicate window of 2 minutes. `ttl_seconds` is 1 to
        86400, `priority` is low, normal or high. Raises the bridge's error, or Unreachable; their
        `details` name the event ID with which the event can be published once more.

        >>> from bridge.client import EventClient
        >>> with EventClient() as client:
        ...     stored = client.publish("tests_passing", {"coverage": 92, "duration_ms": 4100})
        >>> stored.topic, stored.duplicate
        ('testing', False)
        """
        body = self._body(
            {
                "data": dict(data or {}),
                "topic": topic,
                "correlation_id": correlation_id,
                "ttl_seconds": ttl_seconds,
                "priority": priority,
                "event_id": event_id,
                "publisher": publisher,
            }
        )
        path = f"/events/{quote(event_type, safe='')}"
        try:
            answer = yield from self._channel.insist(Request("POST", path, content=_encoded(body)))
        except TRANSIENT as error:
            error.details.setdefault("event_id", body["event_id"])
            raise
        return _published(answer, given=event_id is not None)

    def publish_many(self, events: Iterable[Mapping[str, Any]]) -> Flow[list[Published]]:
        """Publish events in order; each is a mapping with its `event_type` and `publish`'s fields.

        Up to 1,000 go in one request, all or nothing for validation. They are tried again as
        `publish` does; on failure `details` names the `event_ids` of the request that failed.

        >>> from bridge.client import EventClient
        >>> with EventClient() as client:
        ...     stored = client.publish_many(
        ...         {"event_type": "task_assigned", "data": {"task": n}} for n in range(3)
        ...     )
        >>> [each.duplicate for each in stored]
        [False, False, False]
        """
        rest = iter(events)
        stored: list[Published] = []
        while chunk := [dict(event) for event in islice(rest, MAX_BATCH)]:
            bodies = [self._body(event) for event in chunk]
            request = Request("POST", "/events", content=_encoded(bodies))
            try:
                answer = yield from self._channel.insist(request)
            except TRANSIENT as error:
                error.details.setdefault("event_ids", [body["event_id"] for body in bodies])
                raise
            if not isinstance(answer, list) or len(answer) != len(chunk):
                raise shapeless(answer)
            stored += [
                _published(each, given=event.get("event_id") is not None)
                for each, event in zip(answer, chunk, strict=True)
            ]
        return stored

    def _body(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Complete an event: it must have its ID before it is sent for the first time."""
        body = {name: value for name, value in fields.items() if value is not None}
        body.setdefault("event_id", str(uuid.uuid4()))
        if self._publisher is not None:
            body.setdefault("publisher", self._publisher)
        return body


def _encoded(body: Any) -> bytes:
    return json.dumps(body, allow_nan=False, separators=(",", ":")).encode()


def _published(content: Any, *, given: bool) -> Published:
    """Read a receipt; an ID made here can only have been stored by an earlier try of this call."""
    stored = made(Published, content)
    return stored if given or not stored.duplicate else made(Published, content, duplicate=False)
