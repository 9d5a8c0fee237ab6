"""`bridge events list`: what is retained, as many pages of it as are asked for."""

from typing import TYPE_CHECKING, NamedTuple

from bridge.cli.failures import client_errors
from bridge.cli.output import Format, Write, records
from bridge.cli.session import session
from bridge.cli.shapes import EVENT

if TYPE_CHECKING:
    from bridge.client import EventClient

LARGEST_PAGE = 1000


class Search(NamedTuple):
    """What the options say."""

    event_type: str | None
    topic: str | None
    filter: str | None
    correlation_id: str | None
    since: str | None
    until: str | None
    order: str
    limit: int


def run(search: Search, url: str | None, token: str | None, shown: Format | None) -> None:
    """Print the events that the search finds."""
    with (
        client_errors(search.filter),
        session(url, token) as client,
        records(EVENT, shown) as write,
    ):
        _write_pages(search, client, write)


def _write_pages(search: Search, client: "EventClient", write: Write) -> None:
    since, until, left = search.since, search.until, search.limit
    while left > 0:
        page = client.history(
            topic=search.topic,
            type=search.event_type,
            filter=search.filter,
            correlation_id=search.correlation_id,
            since=since,
            until=until,
            order=search.order,
            limit=min(left, LARGEST_PAGE),
        )
        for event in page.events:
            write(event.as_json())
        left -= len(page.events)
        if not page.more_available:
            return
        if search.order == "asc":
            since = page.next_cursor
        else:
            until = page.next_cursor
