"""Misnamed fields: which field of a body or a query an unknown one was probably meant to be.

A hint is followed without a second thought, so one that may mislead is worse than none: whoever
calls the field of their own ID `event_id` publishes one event and duplicates of it.
"""

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache

EVENT_FIELDS = (
    "event_type",
    "publisher",
    "topic",
    "data",
    "correlation_id",
    "ttl_seconds",
    "priority",
    "event_id",
)
"""What an event in a body may have."""

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
_CLOSE = 0.6
_REALLY_CLOSE = 0.9
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
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
        hint = _field(meant, known)
        if meant == "timeout" and not written.endswith("ms"):
            hint = f"{hint} It is in milliseconds: 30 s is timeout=30000"
    return f"unknown query field `{shown}`; {hint}"


def _field(name: str, known: Collection[str]) -> str:
    near = [name] if name in known else difflib.get_close_matches(name, known, n=1)
    return f"did you mean `{near[0]}`?" if near else f"known are {', '.join(known)}"


def snake(name: str) -> str:
    """Spell a name as the contract spells names.

    >>> snake("correlationId"), snake("TTL-Seconds")
    ('correlation_id', 'ttl_seconds')
    """
    return _HUMP.sub("_", name).replace("-", "_").lower()


@lru_cache(1024)
def _remedy(name: str) -> str:
    if name in _IDENTITY:
        return _WHO
    meant = _MEANT.get(name) or _nearest(name)
    return f"did you mean `{meant}`?" if meant else _INSIDE


def _nearest(name: str) -> str | None:
    near = difflib.get_close_matches(name, EVENT_FIELDS, n=2, cutoff=_CLOSE)
    return next((each for each in near if each != "event_id" or _is_close(name, each)), None)


def _is_close(name: str, field: str) -> bool:
    return difflib.SequenceMatcher(None, name, field).ratio() >= _REALLY_CLOSE
