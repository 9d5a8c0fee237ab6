"""`bridge events publish` and `list`: one event in; what is retained out, page by page."""

import json
import sys
from pathlib import Path
from typing import Any, NoReturn

import typer

from bridge.cli.endings import Misused, Status, client_errors, note
from bridge.cli.options import seconds, whole_seconds
from bridge.cli.output import EVENT, RECEIPT, Format, chosen, record, records
from bridge.cli.session import session
from bridge.errors import RequestInvalid
from bridge.http.rounding import rounded

FORM = """write --data '{"coverage": 92}', --data @FILE, or --data - for standard input"""


def publish(
    event_type: str,
    data: str | None,
    ttl: str | None,
    *,
    url: str | None,
    token: str | None,
    shown: Format | None,
    **fields: Any,
) -> None:
    """Publish and print the receipt; a table leaves its warnings to stderr."""
    with client_errors():
        content, ttl_seconds = read_data(data), _ttl(ttl)
        with session(url, token, needs=("publish_events",)) as client:
            published = client.publish(event_type, content, ttl_seconds=ttl_seconds, **fields)
        record({name: getattr(published, name) for name in RECEIPT.fields}, RECEIPT, shown)
        if chosen(shown) is Format.TABLE:
            for warning in published.warnings:
                note(f"warning: {warning}")


def ask(
    event_type: str,
    data: str | None,
    timeout: str,
    *,
    url: str | None,
    token: str | None,
    shown: Format | None,
    **fields: Any,
) -> None:
    """Publish, and print the replies; ends with status 124 if none came in time."""
    with client_errors():
        content = read_data(data)
        try:
            lasting = seconds(timeout)
        except RequestInvalid as error:
            raise Misused(f"--timeout: {error.message}") from None
        with session(url, token, needs=("publish_events",)) as client:
            asked = client.ask(event_type, content, timeout=lasting, **fields)
        with records(EVENT, shown) as write:
            for event in asked.reply:
                write(event.as_json())
        if not asked.reply:
            raise typer.Exit(Status.TIMEOUT)


def read_data(given: str | None) -> dict[str, Any]:
    """Read an event's data: JSON text, `@FILE` or `-`. Raises Misused."""
    if given is None:
        return {}
    try:
        text = _text(given)
        content = json.loads(text, parse_constant=_not_json)
    except ValueError as error:
        raise Misused(f"--data is not JSON: {error}; {FORM}") from None
    except RecursionError:
        raise Misused("--data is nested too deeply") from None
    if not isinstance(content, dict):
        raise Misused(f"--data must be a JSON object, not {_kind(content)}; {FORM}")
    for each in rounded(text.encode()):  # here: what is sent is rounded already
        note(f"warning: --data: {each}")
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
        return None if given is None else whole_seconds(given)
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


LARGEST_PAGE = 1000


def show(
    limit: int, *, url: str | None, token: str | None, shown: Format | None, **search: Any
) -> None:
    """Print the events that a look at the history finds, as many pages as that takes."""
    onwards = "since" if search["order"] == "asc" else "until"
    with (
        client_errors(search["filter"]),
        session(url, token) as client,
        records(EVENT, shown) as write,
    ):
        while limit > 0:
            page = client.history(**search, limit=min(limit, LARGEST_PAGE))
            for event in page.events:
                write(event.as_json())
            limit -= len(page.events)
            if not page.more_available:
                return
            search[onwards] = page.next_cursor
