"""Bodies: the JSON of a publish request, validated once, as new events."""

from collections.abc import Mapping
from typing import Any

import orjson

from bridge import subjects
from bridge.errors import EventInvalid, EventTooLarge, RequestInvalid
from bridge.events import (
    MAX_CORRELATION_CHARACTERS,
    MAX_TTL_SECONDS,
    PRIORITIES,
    NewEvent,
    correlation_in,
)
from bridge.http.misnamed import EVENT_FIELDS, unknown_fields

MAX_BATCH = 1000
MAX_ID_CHARACTERS = 128

_KNOWN = frozenset(EVENT_FIELDS)


def new_event(content: Any, event_type: str | None, idempotency_key: str | None = None) -> NewEvent:
    """Validate one event of a body; `event_type` is the path's.

    Raises EventInvalid, which names the field, what is wrong with it and what it should be.
    """
    if not isinstance(content, dict):
        raise EventInvalid(
            f"the event must be a JSON object like "
            f'{{"topic": "testing", "data": {{"coverage": 91}}}}, not {_kind(content)}'
        )
    given = content
    if None in content.values():
        given = {key: value for key, value in content.items() if value is not None}
    data = _data(given)
    warnings = unknown_fields(name for name in content if name not in _KNOWN)
    if event_type == "wait":
        warnings.append(
            "this published an event of the type `wait`; to wait for events use "
            "GET /api/events/wait/{event_types}"
        )
    if "correlation_id" in data and correlation_in(data) is None:
        warnings.append(
            "`data.correlation_id` is not a text of 1 to 256 characters, so the event is not found "
            "by it"
        )
    return NewEvent(
        event_type=_event_type(given, event_type),
        topic=_name(given, "topic"),
        publisher=_text(given, "publisher", 256),
        data=data,
        correlation_id=_text(given, "correlation_id", MAX_CORRELATION_CHARACTERS),
        ttl_seconds=_ttl(given),
        priority=_priority(given),
        event_id=_event_id(given, idempotency_key),
        warnings=tuple(sorted(warnings)),
    )


def new_events(content: Any, max_event_bytes: int, *, check_sizes: bool) -> list[NewEvent]:
    """Validate an array of events, all or nothing.

    Raises RequestInvalid, EventInvalid or EventTooLarge; `details.index` says which event.
    """
    if not isinstance(content, list):
        raise RequestInvalid(
            "POST /api/events takes a JSON array of events; for a single one use "
            "POST /api/events/{event_type}"
        )
    if not 1 <= len(content) <= MAX_BATCH:
        raise RequestInvalid(
            f"the array has {len(content)} events; send 1 to {MAX_BATCH} at once", limit=MAX_BATCH
        )
    events = []
    for index, item in enumerate(content):
        try:
            events.append(new_event(item, None))
        except EventInvalid as error:
            raise EventInvalid(
                f"event {index} of the array: {error.message}", **error.details, index=index
            ) from error
        if check_sizes and len(orjson.dumps(item)) > max_event_bytes:
            raise EventTooLarge(
                f"event {index} of the array is larger than {max_event_bytes} bytes",
                limit_bytes=max_event_bytes,
                index=index,
            )
    return events


def _event_type(given: Mapping[str, Any], path: str | None) -> str:
    stated = _name(given, "event_type")
    if path is not None and not subjects.NAME.match(path):
        raise _bad_name("event_type", path)
    if path is not None and stated is not None and stated != path:
        raise EventInvalid(
            f"the path says event type {path!r} and the body says {stated!r}; make them equal or "
            "leave `event_type` out of the body",
            field="event_type",
        )
    found = path or stated
    if found is None:
        raise EventInvalid(
            'an event needs its type: add "event_type": "tests_passing", for example',
            field="event_type",
        )
    return found


def _data(given: Mapping[str, Any]) -> dict[str, Any]:
    data = given.get("data", {})
    if not isinstance(data, dict):
        raise EventInvalid(
            f'`data` must be a JSON object like {{"coverage": 91}}, not {_kind(data)}', field="data"
        )
    return data


def _name(given: Mapping[str, Any], field: str) -> str | None:
    value = given.get(field)
    if value is None:
        return None
    if not isinstance(value, str) or not subjects.NAME.match(value):
        raise _bad_name(field, value)
    return value


def _bad_name(field: str, value: Any) -> EventInvalid:
    shown = repr(value[:80]) if isinstance(value, str) else _kind(value)
    return EventInvalid(
        f"`{field}` is {shown}; it must be 1 to 64 letters, digits, `_` or `-`, beginning with a "
        "letter or digit, such as `tests_passing`",
        field=field,
    )


def _text(given: Mapping[str, Any], field: str, limit: int) -> str | None:
    if field not in given:
        return None
    value = given[field]
    if not isinstance(value, str) or not 1 <= len(value) <= limit:
        shown = f"{len(value)} characters long" if isinstance(value, str) else _kind(value)
        raise EventInvalid(
            f"`{field}` must be a text of 1 to {limit} characters, and is {shown}", field=field
        )
    return value


def _ttl(given: Mapping[str, Any]) -> int:
    if "ttl_seconds" not in given:
        return MAX_TTL_SECONDS
    value = given["ttl_seconds"]
    whole = isinstance(value, int) and not isinstance(value, bool)
    whole = whole or (isinstance(value, float) and value.is_integer())
    if not whole or not 1 <= value <= MAX_TTL_SECONDS:
        shown = value if isinstance(value, int | float) else _kind(value)
        raise EventInvalid(
            f"`ttl_seconds` must be a whole number from 1 to {MAX_TTL_SECONDS} (24 hours), and is "
            f"{shown}; leave it out for 24 hours",
            field="ttl_seconds",
        )
    return int(value)


def _priority(given: Mapping[str, Any]) -> str:
    value = given.get("priority", "normal")
    if value not in PRIORITIES:
        raise EventInvalid(
            f"`priority` must be one of {', '.join(PRIORITIES)}, and is "
            f"{value[:80] if isinstance(value, str) else _kind(value)}",
            field="priority",
        )
    return str(value)


def _event_id(given: Mapping[str, Any], key: str | None) -> str | None:
    if key is None and "event_id" not in given:
        return None
    stated = _text(given, "event_id", MAX_ID_CHARACTERS)
    if key is not None:
        key = _text({"Idempotency-Key": key}, "Idempotency-Key", MAX_ID_CHARACTERS)
    if key is not None and stated is not None and key != stated:
        raise EventInvalid(
            "the header Idempotency-Key and `event_id` differ; they mean the same, send one",
            field="event_id",
        )
    found = stated or key
    if found is not None and (not found.isprintable() or found != found.strip()):
        raise EventInvalid(
            "`event_id` may not have control characters, nor spaces at its ends", field="event_id"
        )
    return found


def _kind(value: Any) -> str:
    names: dict[type, str] = {
        dict: "an object",
        list: "a list",
        str: "a text",
        bool: "true or false",
    }
    return names.get(type(value), "null" if value is None else "a number")
