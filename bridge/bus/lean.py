"""Lean answers: events with only the fields that were asked for, and no more than there is room."""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from bridge.events import EVENT_FIELDS, Event

Fields = tuple[tuple[str, ...], ...]
"""Paths to what is shown of an event, each as its steps; none at all is everything."""

ALL_FIELDS: Fields = ()
ALWAYS = ("event_id", "event_type", "cursor")


def read_fields(names: Iterable[str]) -> Fields:
    """Read names of envelope fields and paths in `data`, for which `data.` may be left out."""
    paths = []
    for name in names:
        first, *rest = name.split(".")
        steps = (first, *rest) if first in EVENT_FIELDS else ("data", first, *rest)
        paths.append(steps)
    return tuple(dict.fromkeys(paths))


def shown(event: Event, fields: Fields) -> dict[str, Any]:
    """Give an event as agents see it, with these fields alone, in the shape that it always has."""
    whole = event.as_json()
    if not fields:
        return whole
    lean: dict[str, Any] = {name: whole[name] for name in ALWAYS}
    for path in fields:
        _copy(whole, lean, path)
    return lean


def _copy(source: Any, target: dict[str, Any], path: Sequence[str]) -> None:
    step, *rest = path
    if not isinstance(source, dict) or step not in source:
        return
    if not rest:
        target[step] = source[step]
    elif isinstance(source[step], dict):
        inner = target.setdefault(step, {})
        if inner is not source[step]:
            _copy(source[step], inner, rest)


class Room:
    """So many bytes for the events of an answer, as they are written; the first always fits."""

    def __init__(self, max_bytes: int, fields: Fields) -> None:
        self._max_bytes = max_bytes
        self._fields = fields

    def holds(self, events: Sequence[Event]) -> bool:
        """Tell whether there is room for all of these."""
        if len(events) <= 1:
            return True
        written = (len(orjson.dumps(shown(event, self._fields))) + 1 for event in events)
        return sum(written) <= self._max_bytes
