"""Bodies: the JSON of a publish request, validated once, as new events."""

from collections.abc import Mapping
from typing import Any, cast

import orjson

from bridge import subjects
from bridge.errors import EventInvalid, RequestInvalid
from bridge.events import (
    BODY_FIELDS,
    MAX_CORRELATION_CHARACTERS,
    MAX_CORRELATION_IDS,
    MAX_ID_CHARACTERS,
    MAX_TTL_SECONDS,
    PRIORITIES,
    NewEvent,
    Priority,
    correlation_ids,
)
from bridge.http.corrections import meant_body, unknown_fields
from bridge.http.json_bodies import NO_ARRAY

MAX_BATCH = 1000
MAX_SHOWN = 1000
"""How many characters of a body are shown as it should have been."""

_KNOWN = frozenset(BODY_FIELDS)


def new_event(content: Any, event_type: str | None, idempotency_key: str | None = None) -> NewEvent:
    """Validate one event of a body; `event_type` is the path's.

    Raises EventInvalid, which names the field, what is wrong with it and what it should be.
    """
    if not isinstance(content, dict):
        raise EventInvalid(
            f"the event must be a JSON object like "
            f'{{"topic": "testing", "data": {{"coverage": 91}}}}, not {_kind(content)}'
        )
    if content and _KNOWN.isdisjoint(content):
        raise _none_known(content, event_type)
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
    correlation_id = _text(given, "correlation_id", MAX_CORRELATION_CHARACTERS)
    if "correlation_id" in data:
        warnings += _correlations(correlation_id, data)
    return NewEvent(
        event_type=_event_type(given, event_type),
        topic=_name(given, "topic"),
        publisher=_text(given, "publisher", 256),
        data=data,
        correlation_id=correlation_id,
        ttl_seconds=_ttl(given),
        priority=_priority(given),
        event_id=_event_id(given, idempotency_key),
        warnings=tuple(sorted(warnings)),
    )


def new_events(content: Any) -> list[NewEvent]:
    """Validate an array of events, all or nothing.

    Raises RequestInvalid or EventInvalid; `details.index` says which event.
    """
    if not isinstance(content, list):
        raise RequestInvalid(NO_ARRAY)
    if not 1 <= len(content) <= MAX_BATCH:
        raise RequestInvalid(
            f"the array has {len(content)} events; send 1 to {MAX_BATCH} at once", limit=MAX_BATCH
        )
    return [one_of_many(item, index) for index, item in enumerate(content)]


def one_of_many(content: Any, index: int) -> NewEvent:
    """Validate one event of an array. Raises EventInvalid, or RequestInvalid for one too many."""
    if index == MAX_BATCH:
        raise RequestInvalid(
            f"the array has more than {MAX_BATCH} events; send 1 to {MAX_BATCH} at once",
            limit=MAX_BATCH,
        )
    try:
        return new_event(content, None)
    except EventInvalid as error:
        raise EventInvalid(
            f"event {index} of the array: {error.message}", **error.details, index=index
        ) from error


def _none_known(content: Mapping[str, Any], event_type: str | None) -> EventInvalid:
    """Refuse a body of which nothing would be published, and write what it should have been."""
    text = orjson.dumps(meant_body(content, event_type)).decode()
    shown = text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
    return EventInvalid(
        "none of the body's fields is one that an event has, so none would be published; put what "
        f"is yours inside `data`: {shown}",
        known=list(BODY_FIELDS),
    )


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


def _correlations(beside: str | None, data: Mapping[str, Any]) -> list[str]:
    """Say of what `data` has as `correlation_id` whether the event is found by it."""
    if len(correlation_ids(beside, data)) > MAX_CORRELATION_IDS:
        raise EventInvalid(
            f"an event has at most {MAX_CORRELATION_IDS} correlation IDs, and with those in "
            "`data.correlation_id` it has more; name the list otherwise, such as "
            "`correlation_ids`, and filter by that",
            field="data.correlation_id",
        )
    if correlation_ids(None, data):
        return []
    what = "`data.correlation_id` is not a text of 1 to 256 characters"
    return [f"{what}, so the event is not found by it"]


def _name(given: Mapping[str, Any], field: str) -> str | None:
    value = given.get(field)
    if value is None:
        return None
    if not isinstance(value, str) or not subjects.NAME.match(value):
        raise _bad_name(field, value)
    return value


def _bad_name(field: str, value: Any) -> EventInvalid:
    shown = repr(value[:80]) if isinstance(value, str) else _kind(value)
    return EventInvalid(f"`{field}` is {shown}; it must be {subjects.NAME_RULE}", field=field)


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


def _priority(given: Mapping[str, Any]) -> Priority:
    value = given.get("priority", "normal")
    if value not in PRIORITIES:
        raise EventInvalid(
            f"`priority` must be one of {', '.join(PRIORITIES)}, and is "
            f"{value[:80] if isinstance(value, str) else _kind(value)}",
            field="priority",
        )
    return cast("Priority", value)


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
