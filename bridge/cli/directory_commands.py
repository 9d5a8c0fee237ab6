"""`bridge who`, `catalog`, and of `bridge events`: `explain`, `show` and `tail`."""

from collections.abc import Mapping
from typing import Any

from bridge.cli.endings import client_errors
from bridge.cli.output import (
    EVENT,
    Column,
    Format,
    Shape,
    chosen,
    column,
    record,
    records,
    subscriber,
)
from bridge.cli.session import session
from bridge.cli.wait_events import tell_hints
from bridge.client import StreamOptions


def _waits(one: Mapping[str, Any]) -> str:
    waits = (
        " ".join(
            filter(None, (",".join(wait["types"]), wait["filter"] and f"where {wait['filter']}"))
        )
        for wait in one["waiting"]
    )
    return "; ".join(waits)


AGENT = Shape(
    fields=("agent_id", "agent_type", "last_seen", "subscriptions", "pending", "leased", "waiting"),
    columns=(
        column("agent_id", "agent"),
        column("agent_type", "type"),
        column("last_seen", "last seen", spare=True),
        column("pending"),
        column("leased", "in hand"),
        Column("waits now for", _waits),
    ),
)
_TYPE = Shape(
    fields=("name", "topic", "retained", "description"),
    columns=(
        column("name", "event type"),
        column("topic"),
        column("retained"),
        column("description"),
    ),
)
_EXPLANATION = Shape(
    fields=("retained", "of_types", "on_topics", "matching", "hints", "samples"),
    columns=(
        column("retained", "retained in the project"),
        column("of_types", "of these types"),
        column("on_topics", "on these topics"),
        column("matching", "passing the filter"),
    ),
)
_DELIVERY = Shape(
    fields=("subscription", "agent", "group", "state", "delivered_at", "leased_until"),
    columns=(
        column("subscription"),
        Column("whose", subscriber),
        column("state"),
        column("delivered_at"),
        column("leased_until"),
    ),
)


def who(url: str | None, token: str | None, shown: Format | None) -> None:
    """Print who is there."""
    with client_errors(), session(url, token) as client:
        found = client.agents()
        with records(AGENT, shown) as write:
            for agent in found["agents"]:
                write(agent)


def catalog(url: str | None, token: str | None, shown: Format | None) -> None:
    """Print the event types that there are, or in JSON the whole catalogue."""
    with client_errors(), session(url, token) as client:
        found = client.catalog()
        if chosen(shown) is Format.JSON:
            record(found, _TYPE, shown)
            return
        with records(_TYPE, shown) as write:
            for each in found["event_types"]:
                write(each)
            for each in found["other_event_types"]:
                write({"topic": None, "description": "not in the catalogue", **each})


def explain(
    types: tuple[str, ...],
    *,
    url: str | None,
    token: str | None,
    shown: Format | None,
    **options: str | None,
) -> None:
    """Print what is retained for a wait, and on standard error why it gets nothing."""
    with client_errors(options["filter"]), session(url, token) as client:
        found = client.explain(*types, **options)
        record(found, _EXPLANATION, shown)
        if chosen(shown) is Format.TABLE:
            tell_hints(found["hints"])


def show(event_id: str, url: str | None, token: str | None, shown: Format | None) -> None:
    """Print an event, and what became of it."""
    with client_errors(), session(url, token) as client:
        found = client.event(event_id)
        if chosen(shown) is not Format.TABLE:
            record(found, EVENT, shown)
            return
        record(found, EVENT, shown)
        with records(_DELIVERY, shown) as write:
            for delivery in found["deliveries"]:
                write(delivery)


def tail(
    types: tuple[str, ...],
    options: StreamOptions,
    *,
    url: str | None,
    token: str | None,
    shown: Format | None,
) -> None:
    """Print events as they come, until Ctrl-C."""
    with (
        client_errors(options.get("filter")),
        session(url, token) as client,
        records(EVENT, shown, as_they_come=True) as write,
    ):
        for event in client.stream(*types, **options):
            write(event.as_json())
