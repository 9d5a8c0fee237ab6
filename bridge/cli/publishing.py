"""`bridge events publish`: one event, from the command line, a file or standard input."""

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from bridge.cli.durations import seconds
from bridge.cli.failures import Misused, client_errors, note
from bridge.cli.output import Format, chosen, record
from bridge.cli.session import session
from bridge.cli.shapes import RECEIPT
from bridge.errors import RequestInvalid

FORM = """write --data '{"coverage": 92}', --data @FILE, or --data - for standard input"""


class Draft(NamedTuple):
    """What the options say of the event."""

    event_type: str
    data: str | None
    topic: str | None
    correlation_id: str | None
    ttl: str | None
    priority: str | None
    event_id: str | None


def run(draft: Draft, url: str | None, token: str | None, shown: Format | None) -> None:
    """Publish and print the receipt; a table leaves its warnings to stderr."""
    with client_errors():
        data, ttl_seconds = read_data(draft.data), _ttl(draft.ttl)
        with session(url, token) as client:
            published = client.publish(
                draft.event_type,
                data,
                topic=draft.topic,
                correlation_id=draft.correlation_id,
                ttl_seconds=ttl_seconds,
                priority=draft.priority,
                event_id=draft.event_id,
            )
        record({name: getattr(published, name) for name in RECEIPT.fields}, RECEIPT, shown)
        if chosen(shown) is Format.TABLE:
            for warning in published.warnings:
                note(f"warning: {warning}")


def read_data(given: str | None) -> dict[str, Any]:
    """Read an event's data: JSON text, `@FILE` or `-`. Raises Misused."""
    if given is None:
        return {}
    try:
        content = json.loads(_text(given), parse_constant=_not_json)
    except ValueError as error:
        raise Misused(f"--data is not JSON: {error}; {FORM}") from None
    except RecursionError:
        raise Misused("--data is nested too deeply") from None
    if not isinstance(content, dict):
        raise Misused(f"--data must be a JSON object, not {_kind(content)}; {FORM}")
    return content


def _text(given: str) -> str:
    try:
        if given == "-":
            return sys.stdin.buffer.read().decode()
        if given.startswith("@"):
            return Path(given[1:]).read_bytes().decode()
    except OSError as error:
        raise Misused(f"--data {given}: {error.strerror}") from None
    return given.encode(errors="strict").decode()


def _ttl(given: str | None) -> int | None:
    try:
        return None if given is None else seconds(given)
    except RequestInvalid as error:
        raise Misused(f"--ttl: {error.message}") from None


def _not_json(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _kind(content: object) -> str:
    match content:
        case list():
            return "an array"
        case str():
            return "a string"
        case None | bool():
            return json.dumps(content)
    return "a number"
