"""`bridge events wait`: sleep until events come, then print them or run a command for each."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import typer

from bridge.cli.endings import Misused, Status, client_errors, note
from bridge.cli.options import seconds
from bridge.cli.output import EVENT, Format, Write, records, to_json
from bridge.cli.session import session
from bridge.client import (
    Batch,
    Event,
    EventClient,
    LeasedEvent,
    ReadOptions,
    Settlement,
    Unreachable,
)
from bridge.client.settling import rest_seconds
from bridge.errors import BridgeError, RequestInvalid

DEFAULT_SECONDS = 30
LEASE_SECONDS = 60.0

BATCH = 100
"""The most events that one answer may bring."""


class Hook:
    """Runs a shell command with the event on its standard input and in its environment.

    The event is leased to it: acknowledged when the command ends with status 0, and given back
    otherwise, after a pause that grows. The command may talk to the same bridge as the same agent:
    SIDECAR_URL and JWT_TOKEN are set.
    """

    def __init__(self, command: str, client: EventClient, *, ends_on_error: bool) -> None:
        self._command = command
        self._client = client
        self._ends_on_error = ends_on_error

    def __call__(self, event: Event) -> None:
        """Run the command to its end. Raises typer.Exit with its status where that is wanted."""
        try:
            status = self._run(event)
        except BaseException:  # Ctrl-C, say
            self._settle(self._client.release, event)
            raise
        if status == 0:
            self._settle(self._client.ack, event)
            return
        self._settle(partial(self._client.release, delay=rest_seconds(event)), event)
        note(f"{self._command!r} ended with status {status} for event {event.event_id}")
        if self._ends_on_error:
            raise typer.Exit(status)

    def _run(self, event: Event) -> int:
        """Run the command, and extend the lease for as long as it takes."""
        with subprocess.Popen(  # noqa: S602 - a shell command is what was asked for
            self._command,
            shell=True,
            stdin=subprocess.PIPE,
            env={**os.environ, **self._variables(event)},
        ) as process:
            given: bytes | None = to_json(event.as_json()).encode() + b"\n"
            while True:
                try:
                    process.communicate(given, timeout=LEASE_SECONDS / 3)
                    break
                except subprocess.TimeoutExpired:
                    given = None
                    self._settle(partial(self._client.extend, lease=LEASE_SECONDS), event)
        # A process that a signal ended counts as it does in a shell.
        return process.returncode if process.returncode >= 0 else 128 - process.returncode

    @staticmethod
    def _settle(what: Callable[[LeasedEvent], Settlement], event: Event) -> None:
        """Settle a lease, or say that it was in vain: the event comes again."""
        if not isinstance(event, LeasedEvent):  # it was read from a position of the caller's
            return
        try:
            what(event)
        except (BridgeError, Unreachable) as error:
            note(f"event {event.event_id}: {error.message}")

    def _variables(self, event: Event) -> dict[str, str]:
        given = {
            "EVENT_ID": event.event_id,
            "EVENT_TYPE": event.event_type,
            "CORRELATION_ID": event.correlation_id or "",
            "DELIVERY_COUNT": str(event.delivery_count),
            "SIDECAR_URL": self._client.url,
            "JWT_TOKEN": self._client.token or "",
        }
        # No variable can hold a NUL, which an event from elsewhere may bring.
        return {name: value.replace("\0", "") for name, value in given.items()}


@dataclass(frozen=True, slots=True)
class Wish:
    """What the options say of the wait."""

    types: tuple[str, ...]
    options: "ReadOptions"
    timeout: str | None
    count: int | None
    follow: bool
    fail_on: tuple[str, ...]
    command: str | None
    stop_on_error: bool
    lease: str | None = None

    @property
    def asked(self) -> tuple[str, ...]:
        """The types to wait for, those that end the wait among them."""
        if "*" in self.types:
            return self.types
        return tuple(dict.fromkeys((*self.types, *self.fail_on)))

    def check(self) -> None:
        """Raise Misused for options that make no sense together."""
        if self.options["correlation_id"] == "":
            raise Misused("--correlation-id is empty: leave it out or give one")
        if self.fail_on and not self.types:
            raise Misused("--fail-on needs the types that are waited for as well, or '*'")
        if self.lease is not None and (self.command or self.options["since"]):
            raise Misused(
                "--lease is for events that you acknowledge yourself: not with --exec or --since"
            )
        if self.stop_on_error and not (self.follow and self.command):
            raise Misused("--stop-on-error belongs to --follow --exec CMD")

    def seconds(self) -> float | None:
        """Give how long to wait in all, None for without end. Raises Misused."""
        if self.timeout is None:
            return None if self.follow else DEFAULT_SECONDS
        return _duration("--timeout", self.timeout)

    def leased(self) -> float | None:
        """Give how long an event is leased, None where the caller holds the place. Raises Misused.

        Unless it is left to the caller, an event is acknowledged once it was written out.
        """
        if self.options["since"]:
            return None
        return LEASE_SECONDS if self.lease is None else _duration("--lease", self.lease)

    def satisfied(self, came: int) -> bool:
        """Tell whether so many events are all that was asked for."""
        return came >= self.count if self.count is not None else came > 0 and not self.follow


def _duration(option: str, text: str) -> float:
    try:
        return seconds(text)
    except RequestInvalid as error:
        raise Misused(f"{option}: {error.message}") from None


def run(wish: Wish, url: str | None, token: str | None, shown: Format | None) -> None:
    """Wait, and end with the status that says how it went."""
    with client_errors():
        wish.check()
    with client_errors(wish.options["filter"]):
        lasting = wish.seconds()
        # A command may well publish what comes of its work.
        needs = ("publish_events",) if wish.command else ()
        with session(url, token, needs=needs) as client:
            if wish.command is None:
                with records(EVENT, shown, as_they_come=True) as write:
                    came = _collect(client, wish, lasting, partial(_write, write, wish))
            else:
                strict = wish.stop_on_error or not wish.follow
                hook = Hook(wish.command, client, ends_on_error=strict)
                came = _collect(client, wish, lasting, hook)
        if came < (wish.count or 1):
            if sys.stderr.isatty():
                note("time was up first" if came == 0 else f"time was up after {came} events")
            raise typer.Exit(Status.TIMEOUT)


def _write(write: Write, wish: Wish, event: Event) -> None:
    lease = {}
    if wish.lease is not None and isinstance(event, LeasedEvent):
        lease = {"ack_id": event.ack_id, "lease_expires_at": event.lease_expires_at}
    write({**event.as_json(), **lease})


def _collect(
    client: EventClient, wish: Wish, lasting: float | None, take: Callable[[Event], None]
) -> int:
    """Hand over each event as it comes; give their number.

    A command gets one event at a time: should it fail, no other was delivered and not handed over.
    """
    came = 0
    hints: Sequence[Mapping[str, Any]] = ()
    unwanted: Event | None = None

    def limit() -> int:
        if wish.command is not None or wish.fail_on:
            return 1
        return BATCH if wish.count is None else min(BATCH, wish.count - came)

    for batch in _batches(client, wish, lasting, limit):
        with _written_out(client, wish, batch):
            for event in batch.events:
                if event.event_type in wish.fail_on:
                    if wish.command is None:
                        take(event)
                    if wish.lease is None and batch.ack_id is not None:
                        client.ack(event)
                    unwanted = event
                    break
                take(event)
        if unwanted is not None:
            note(f"{unwanted.event_type} came first: event {unwanted.event_id}")
            raise typer.Exit(Status.UNWANTED)
        came += len(batch.events)
        hints = batch.hints
        if wish.satisfied(came):
            break
    if came == 0:
        tell_hints(hints)
    return came


@contextmanager
def _written_out(client: EventClient, wish: Wish, batch: Batch) -> Iterator[None]:
    """Acknowledge what was written out; give it back where that failed.

    A command acknowledges its events itself, and with `--lease` it is the caller who does.
    """
    ours = batch.ack_id is not None and wish.command is None and wish.lease is None
    ours = ours and not any(event.event_type in wish.fail_on for event in batch.events)
    try:
        yield
    except BaseException:
        if ours:
            with suppress(BridgeError, Unreachable):
                client.release(batch)
        raise
    if ours:
        client.ack(batch)


def tell_hints(hints: Iterable[Mapping[str, Any]]) -> None:
    """Say on standard error why nothing came."""
    for hint in hints:
        note(f"hint: {hint['message']}")


def _batches(
    client: EventClient, wish: Wish, lasting: float | None, limit: Callable[[], int]
) -> Iterator[Batch]:
    """Give what comes, answer by answer, until time is up; with no time, until nothing comes."""
    options: ReadOptions = {**wish.options, "lease": wish.leased()}
    left = lasting
    deadline = None if lasting is None else time.monotonic() + lasting
    while True:
        batch = client.wait(*wish.asked, timeout=left, limit=limit(), **options)
        if batch.gap is not None:
            lost = "some" if batch.gap.lost is None else batch.gap.lost
            note(f"{lost} events are no longer retained ({batch.gap.reason}); reading goes on")
        yield batch
        if options["since"]:
            options = {**options, "since": batch.next_cursor}
        if deadline is not None:
            left = max(0.0, deadline - time.monotonic())
            if not batch.events or (left == 0 and lasting):
                return
