"""`bridge events wait`: sleep until events come, then print them or run a command for each."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from bridge.cli.durations import seconds
from bridge.cli.failures import Misused, client_errors, note
from bridge.cli.hooks import Hook
from bridge.cli.output import Format, records
from bridge.cli.session import session
from bridge.cli.shapes import EVENT
from bridge.cli.statuses import Status
from bridge.errors import RequestInvalid
from bridge.filters.spelling import spell_value

if TYPE_CHECKING:
    from bridge.client import Batch, Event, EventClient

DEFAULT_SECONDS = 30
BATCH = 100
"""The most events that one answer may bring."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the options say of the wait."""

    types: tuple[str, ...]
    filter_text: str | None
    correlation_id: str | None
    topic: str | None
    group: str | None
    since: str | None
    timeout: str | None
    count: int | None
    follow: bool
    command: str | None
    stop_on_error: bool

    @property
    def filter(self) -> str | None:
        """The filter, and of the correlation ID what it has to say. Raises Misused."""
        if self.correlation_id is None:
            return self.filter_text
        if not self.correlation_id:
            raise Misused("--correlation-id is empty: leave it out or give one")
        term = f"correlation_id:{spell_value(self.correlation_id)}"
        return ",".join(filter(None, ((self.filter_text or "").strip(), term)))

    def seconds(self) -> float | None:
        """Give how long to wait in all, None for without end. Raises Misused."""
        if self.timeout is None:
            return None if self.follow else DEFAULT_SECONDS
        try:
            return seconds(self.timeout)
        except RequestInvalid as error:
            raise Misused(f"--timeout: {error.message}") from None

    def satisfied(self, came: int) -> bool:
        """Tell whether so many events are all that was asked for."""
        return came >= self.count if self.count is not None else came > 0 and not self.follow


def run(wish: Wish, url: str | None, token: str | None, shown: Format | None) -> None:
    """Wait, and end with the status that says how it went."""
    with client_errors():
        terms = wish.filter
    with client_errors(terms):
        lasting = wish.seconds()
        if wish.stop_on_error and not (wish.follow and wish.command):
            raise Misused("--stop-on-error belongs to --follow --exec CMD")
        with session(url, token) as client:
            if wish.command is None:
                with records(EVENT, shown, as_they_come=True) as write:
                    came = _collect(client, wish, lasting, lambda event: write(event.as_json()))
            else:
                strict = wish.stop_on_error or not wish.follow
                hook = Hook(wish.command, client, ends_on_error=strict)
                came = _collect(client, wish, lasting, hook)
        if came < (wish.count or 1):
            raise typer.Exit(Status.TIMEOUT)


def _collect(
    client: "EventClient", wish: Wish, lasting: float | None, take: Callable[["Event"], None]
) -> int:
    """Hand over each event as it comes; give their number.

    A command gets one event at a time: should it fail, no other was delivered and not handed over.
    """
    came = 0

    def limit() -> int:
        if wish.command is not None:
            return 1
        return BATCH if wish.count is None else min(BATCH, wish.count - came)

    for batch in _batches(client, wish, lasting, limit):
        for event in batch.events:
            take(event)
        came += len(batch.events)
        if wish.satisfied(came):
            break
    return came


def _batches(
    client: "EventClient", wish: Wish, lasting: float | None, limit: Callable[[], int]
) -> Iterator["Batch"]:
    """Give what comes, answer by answer, until time is up; with no time, until nothing comes."""
    since = wish.since
    left = lasting
    deadline = None if lasting is None else time.monotonic() + lasting
    while True:
        batch = client.wait(
            *wish.types,
            filter=wish.filter,
            topic=wish.topic,
            group=wish.group,
            since=since,
            timeout=left,
            limit=limit(),
        )
        if batch.gap is not None:
            lost = "some" if batch.gap.lost is None else batch.gap.lost
            note(f"{lost} events are no longer retained ({batch.gap.reason}); reading goes on")
        yield batch
        since = since and batch.next_cursor
        if deadline is not None:
            left = max(0.0, deadline - time.monotonic())
            if not batch.events or (left == 0 and lasting):
                return
