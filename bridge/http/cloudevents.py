"""CloudEvents 1.0 (CNCF): in, in the structured, the batched and the binary form; out, in JSON.

Attributes of theirs that an event of the bridge has no field for are kept beside it and come out as
they went in: source, subject, time, content type and schema of the data, extensions.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from bridge.errors import EventInvalid
from bridge.events import Event, NewEvent
from bridge.http.bodies import MAX_BATCH, new_event
from bridge.http.exchange import Exchange
from bridge.http.json_bodies import Header, decode

ONE = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
VERSION = "1.0"

_NAME = re.compile(r"[a-z0-9]+")
_REQUIRED = ("id", "source", "type")
_OWN = {*_REQUIRED, "specversion", "data", "data_base64"}
_JSON_TYPE = re.compile(r"[^;]*[/+]json\s*(?:;.*)?", re.IGNORECASE)
_HEADER = b"ce-"
_WRAPPED = "wrapped"
"""Under which key of `data` that stands which is no JSON object: `value` or `base64`."""


def media_type(header: str | None) -> str:
    """Give a Content-Type without its parameters, in small letters."""
    return (header or "").partition(";")[0].strip().lower()


def wanted(exchange: Exchange) -> str | None:
    """Say which of the two JSON formats a request wants its events in, None for the bridge's."""
    accepted = [media_type(each) for each in (exchange.header(b"accept") or "").split(",")]
    return next((each for each in accepted if each in (ONE, BATCH)), None)


def json_header(exchange: Exchange) -> Header:
    """Give a request's headers but for its content type, which is known to be JSON."""
    return lambda name: None if name == b"content-type" else exchange.header(name)


def is_binary(exchange: Exchange) -> bool:
    """Tell whether a request is a CloudEvent in the binary form (HTTP Protocol Binding, 3.1)."""
    return exchange.header(b"ce-specversion") is not None


def structured(content: Any, event_type: str | None) -> NewEvent:
    """Read an event in the JSON format (JSON Event Format, 3). Raises EventInvalid."""
    if not isinstance(content, dict):
        raise EventInvalid("a CloudEvent in the JSON format is a JSON object")
    attributes = {name: value for name, value in content.items() if value is not None}
    data, wrapped = attributes.get("data", {}), None
    if "data_base64" in attributes:
        if "data" in attributes:
            raise EventInvalid("a CloudEvent has `data` or `data_base64`, not both", field="data")
        data, wrapped = {"base64": _base64(attributes["data_base64"])}, "base64"
    elif not isinstance(data, dict):
        data, wrapped = {"value": data}, "value"
    return _new(attributes, data, wrapped, event_type)


def batched(content: Any) -> list[NewEvent]:
    """Read events in the JSON batch format (JSON Event Format, 4). Raises EventInvalid."""
    if not isinstance(content, list) or not 1 <= len(content) <= MAX_BATCH:
        raise EventInvalid(f"a batch of CloudEvents is a JSON array of 1 to {MAX_BATCH} of them")
    return [structured(each, None) for each in content]


def binary(exchange: Exchange, body: bytes, event_type: str | None) -> NewEvent:
    """Read an event whose attributes are headers (HTTP Protocol Binding, 3.1).

    Raises EventInvalid.
    """
    attributes: dict[str, Any] = {
        name[len(_HEADER) :].decode("ascii"): unquote(value.decode("latin-1"))
        for name, value in exchange.scope["headers"]
        if name.startswith(_HEADER)
    }
    kind = exchange.header(b"content-type")
    if kind is not None:
        attributes["datacontenttype"] = kind
    data: Any = {}
    wrapped = None
    if body and (kind is None or _JSON_TYPE.fullmatch(kind)):
        data = decode(body, json_header(exchange))
        if not isinstance(data, dict):
            data, wrapped = {"value": data}, "value"
    elif body:
        data, wrapped = {"base64": base64.b64encode(body).decode("ascii")}, "base64"
    return _new(attributes, data, wrapped, event_type)


def _new(
    attributes: Mapping[str, Any], data: dict[str, Any], wrapped: str | None, path: str | None
) -> NewEvent:
    if attributes.get("specversion") != VERSION:
        raise EventInvalid(
            f"`specversion` is {attributes.get('specversion')!r}; this bridge reads CloudEvents "
            f"{VERSION}",
            field="specversion",
        )
    for name in _REQUIRED:
        if not isinstance(attributes.get(name), str) or not attributes[name]:
            raise EventInvalid(f"a CloudEvent needs `{name}`, a text", field=name)
    kept: dict[str, Any] = {"source": attributes["source"]}
    for name, value in attributes.items():
        if name in _OWN:
            continue
        if not _NAME.fullmatch(name):
            raise EventInvalid(
                f"{name[:80]!r} is no name of a CloudEvents attribute: small letters and digits",
                field=name[:80],
            )
        if not isinstance(value, str | int | bool):
            raise EventInvalid(f"`{name}` must be a text, a whole number or a boolean", field=name)
        kept[name] = value
    _check_time(kept.get("time"))
    if wrapped is not None:
        kept[_WRAPPED] = wrapped
    correlation = kept.get("correlationid")
    fields = {"event_type": attributes["type"], "event_id": attributes["id"], "data": data}
    if isinstance(correlation, str) and correlation:
        fields["correlation_id"] = correlation
    new = new_event(fields, path)
    new.cloudevent = kept
    return new


def _check_time(text: Any) -> None:
    if text is None:
        return
    try:
        aware = datetime.fromisoformat(str(text)).tzinfo is not None
    except ValueError:
        aware = False
    if not aware:
        raise EventInvalid(
            f"`time` is {str(text)[:80]!r}; write it as RFC 3339, like 2026-01-31T12:00:00Z",
            field="time",
        )


def _base64(text: Any) -> str:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise EventInvalid("`data_base64` is no Base64", field="data_base64") from None
    return str(text)


def cloudevent(event: Event, more: Mapping[str, Any]) -> dict[str, Any]:
    """Write an event in the JSON format; `more` is what its delivery adds, such as an `ack_id`.

    What the bridge knows beside is in extensions; what its publisher set goes first.
    """
    kept = dict(event.cloudevent or {})
    wrapped = kept.pop(_WRAPPED, None)
    written = {
        "specversion": VERSION,
        "id": event.event_id,
        "source": f"/agents/{event.publisher}",
        "type": event.event_type,
        "time": event.timestamp,
        **dict(_extensions(event, more)),
        **kept,
    }
    match wrapped:
        case "base64":
            written["data_base64"] = event.data.get("base64", "")
        case "value":
            written["data"] = event.data.get("value")
        case _:
            written.setdefault("datacontenttype", "application/json")
            written["data"] = event.data
    return written


def _extensions(event: Event, more: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    told = {
        "topic": event.topic,
        "correlationid": event.correlation_id,
        "publisher": event.publisher,
        "cursor": event.cursor,
        "deliverycount": event.delivery_count,
        "traceparent": event.traceparent,
        "tracestate": event.tracestate,
        **{name.replace("_", ""): value for name, value in more.items()},
    }
    yield from ((name, value) for name, value in told.items() if value is not None)
