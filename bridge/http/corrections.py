"""Corrections: what was probably meant by a field or a path that there is not.

A hint is followed without a second thought, so one that may mislead is worse than none: whoever
calls the field of their own ID `event_id` publishes one event and duplicates of it.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from bridge import subjects
from bridge.events import BODY_FIELDS
from bridge.suggest import did_you_mean, nearest, snake

EVENTS = "/api/events"
WAIT = "/api/events/wait"
STREAM = "/api/events/stream"
PROBES = ("/livez", "/readyz", "/health")

_OUTSIDE = (
    *(probe[1:] for probe in PROBES),
    "status",
    "metrics",
    "docs",
    "openapi.json",
    "ui",
    "llms.txt",
)
_UNDER_API = ("events", "subscriptions", "deliveries", "tokens", "catalog", "agents")
_PATHS: Mapping[str, tuple[str, ...]] = {
    "event": ("events",),
    "publish": ("events",),
    "history": ("events",),
    "wait": ("events", "wait"),
    "stream": ("events", "stream"),
    "explain": ("events", "explain"),
    "catalogue": ("catalog",),
    "agent": ("agents",),
    "token": ("tokens",),
    "subscription": ("subscriptions",),
    "delivery": ("deliveries",),
    "ack": ("deliveries", "ack"),
    "healthz": ("health",),
    "ready": ("readyz",),
    "live": ("livez",),
}
_PREFIX = re.compile(r"api|v[0-9]")
_SHOWN_PATH = 200
_EVERYTHING = "GET /openapi.json lists what there is"
_PLACES = (
    "publish with POST /api/events/{event_type}, wait with GET /api/events/wait/{event_types}, "
    f"ask GET /health how the bridge is; GET /docs shows and {_EVERYTHING}"
)

MAX_HINTS = 20
_WHO = "the token says who you are; leave it out"
_INSIDE = "put it inside `data` to publish it"

_MEANT: Mapping[str, str] = {
    "ttl": "ttl_seconds",
    "type": "event_type",
    "event": "event_type",
    "name": "event_type",
    "event_name": "event_type",
    "id": "event_id",
    "idempotency_key": "event_id",
    "payload": "data",
    "body": "data",
    "message": "data",
    "agent": "publisher",
    "sender": "publisher",
    "source": "publisher",
    "from": "publisher",
    "correlation": "correlation_id",
}
_IDENTITY = frozenset({"agent_id", "agent_type", "project_id", "project"})
_QUERIES: Mapping[str, str] = {
    "timeout_ms": "timeout",
    "timeout_s": "timeout",
    "timeout_seconds": "timeout",
    "wait": "timeout",
    "topics": "topic",
    "types": "type",
    "event_type": "type",
    "event_types": "type",
    "filters": "filter",
    "cursor": "since",
    "after": "since",
    "before": "until",
    "sort": "order",
    "max": "limit",
    "max_events": "limit",
    "page_size": "limit",
    "consumer_group": "group",
}
_FILTERED = frozenset(
    {"correlation_id", "publisher", "agent_id", "agent_type", "priority", "event_id"}
)
"""What of an event's envelope only a filter selects by."""
_PLAIN = re.compile(r"[\w.,*-]{1,80}")
_REALLY_CLOSE = 0.9
_LONGEST = 80


def unknown_fields(names: Iterable[str]) -> list[str]:
    """Say of fields of an event that they were ignored, and of the first what to do about them.

    Likeness takes time, and a body has room for tens of thousands.
    """
    shown = (name[:_LONGEST] for name in names)
    return [
        f"unknown field `{name}` was ignored; {_remedy(snake(name)) if n < MAX_HINTS else _INSIDE}"
        for n, name in enumerate(shown)
    ]


def meant_body(content: Mapping[str, Any], event_type: str | None) -> dict[str, Any]:
    """Write the event that was meant by a body without any known field.

    Of misspelt fields only what is all but certain is one of the event; the rest belongs into
    `data`. `event_type` is the path's; without one the body needs it.

    >>> meant_body({"coverage": 91, "ttlSeconds": 60, "agent_id": "a"}, "tests_passing")
    {'ttl_seconds': 60, 'data': {'coverage': 91}}
    """
    body: dict[str, Any] = {}
    data: dict[str, Any] = {}
    for number, (name, value) in enumerate(content.items()):
        written = snake(name[:_LONGEST])
        field = nearest(written, BODY_FIELDS, close=_REALLY_CLOSE) if number < MAX_HINTS else None
        if written in _IDENTITY:
            continue
        if isinstance(value, dict) and (field == "data" or _MEANT.get(written) == "data"):
            data.update(value)
        elif field in (None, "data") or isinstance(value, list | dict):
            data[name] = value
        elif field != "event_type" or event_type is None:
            body[str(field)] = value
    if event_type is None:
        body.setdefault("event_type", "tests_passing")
    return body | ({"data": data} if data else {})


def unknown_query(name: str, value: str, known: Collection[str]) -> str:
    """Say that there is no such field in a query, and what does that which was meant.

    A wait has its types in its path, and selects by a filter where the history has fields.
    """
    shown, written = name[:_LONGEST], snake(name[:_LONGEST])
    meant = _QUERIES.get(written, written)
    if meant == "type" and meant not in known:
        types = value if _PLAIN.fullmatch(value) else "{event_types}"
        hint = f"event types belong into the path: GET /api/events/wait/{types}"
    elif written in _FILTERED and written not in known:
        hint = f"use filter={written}:{value if _PLAIN.fullmatch(value) else '…'}"
    else:
        hint = did_you_mean(meant, known)
        if meant == "timeout" and not written.endswith("ms"):
            hint = f"{hint} It is in milliseconds: 30 s is timeout=30000"
    return f"unknown query field `{shown}`; {hint}"


@lru_cache(1024)
def _remedy(name: str) -> str:
    if name in _IDENTITY:
        return _WHO
    meant = _MEANT.get(name) or _nearest(name)
    return f"did you mean `{meant}`?" if meant else _INSIDE


def _nearest(name: str) -> str | None:
    if nearest(name, ("event_id",), close=_REALLY_CLOSE):
        return "event_id"
    return nearest(name, [field for field in BODY_FIELDS if field != "event_id"])


def nowhere(path: str) -> str:
    """Say that there is nothing at a path, and where what was meant is."""
    told = f"there is nothing at {path[:_SHOWN_PATH]}"
    parts = [part for part in path.split("/") if part]
    while parts and _PREFIX.fullmatch(parts[0]):
        del parts[0]
    if not parts:
        return f"{told}; {_PLACES}"
    meant = _place(*parts)
    if meant is None or meant == path or len(meant) > _SHOWN_PATH:
        return f"{told}; {_EVERYTHING}"
    return f"{told}; did you mean {meant}? {_EVERYTHING}"


def _place(first: str, *others: str) -> str | None:
    first, *between = _PATHS.get(first, (first,))
    if first in _OUTSIDE and not others:
        return f"/{first}"
    return "/".join(("/api", first, *between, *others)) if first in _UNDER_API else None


def other_method(path: str, method: str, allowed: Sequence[str]) -> str:
    """Say which methods a path takes, and what does that which was probably meant."""
    told = f"{path[:_SHOWN_PATH]} takes {' or '.join(allowed)}, not {method}"
    instead = _instead(path, method)
    return f"{told}; {instead}" if instead else told


def _instead(path: str, method: str) -> str | None:
    parent, _, name = path.rpartition("/")
    asks = method in ("GET", "HEAD")
    if parent == WAIT and method == "POST":
        return f"POST {EVENTS}/{_known(name)} publishes an event"
    if path.startswith(f"{EVENTS}/") and asks:
        name = _known(name if parent == EVENTS else "")
        return (
            f"GET {WAIT}/{name} waits for events of this type, GET {EVENTS}?type={name} shows "
            "those there are"
        )
    if path == "/api/subscriptions" and method == "DELETE":
        return "DELETE /api/subscriptions/{name} deletes one"
    if path.startswith("/api/subscriptions/") and asks:
        return "GET /api/subscriptions lists them all"
    return None


def _known(name: str) -> str:
    """Give an event type that can be shown in a path, or what stands for one."""
    return name if subjects.NAME.match(name) else "{event_type}"
