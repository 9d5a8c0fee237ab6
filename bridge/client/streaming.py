"""Streams: events pushed by the bridge as they come (Server-Sent Events), from a position on.

A connection that is lost is made again behind the last event that was given. Nothing is kept on the
bridge; for work that must be done use `subscribe`, which leases.
"""

import json
import logging
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator
from typing import Any, TypedDict
from urllib.parse import quote

from bridge.client.answers import made
from bridge.client.channel import Channel
from bridge.client.flow import Backoff, Request
from bridge.client.polling import check_options, joined, warn_of_gap
from bridge.client.replies import TRANSIENT, Unreachable
from bridge.client.wires import AsyncWire, Wire
from bridge.events import Event, Gap

log = logging.getLogger("bridge.client")

SILENT_SECONDS = 45.0
"""The bridge says something every 15 s; after so long a silence the connection is a dead one."""


class StreamOptions(TypedDict, total=False):
    """Which events a stream gives, and from where, as the contract has it."""

    filter: str | None
    """`field:value` terms: `,` is AND, `|` is OR, `!` negates."""
    correlation_id: str | None
    """Only events with this correlation ID."""
    topic: str | Iterable[str] | None
    """One topic or several."""
    since: str | None
    """Where to begin: a cursor, an event ID, a time, `earliest`; by default `now`."""
    on_gap: Callable[[Gap], Any] | None
    """Is called with a Gap for what is no longer retained; by default it is logged."""


class Place:
    """How far a stream was read, and the request that goes on from there. Pure."""

    def __init__(self, channel: Channel, types: tuple[str, ...], options: StreamOptions) -> None:
        check_options(options, StreamOptions)
        given = {**options, "topic": joined(options.get("topic"))}
        given.pop("on_gap", None)
        self._on_gap = options.get("on_gap") or warn_of_gap
        self._since = str(given.pop("since", None) or "now")
        self._params = {name: str(value) for name, value in given.items() if value is not None}
        names = ",".join(quote(name, safe="*,") for name in types)
        self._path = f"/events/stream/{names}" if names else "/events/stream"
        self._channel = channel
        self._event: dict[str, str] = {}
        self.backoff: Backoff = channel.backoff()

    def request(self) -> Request:
        """Give the request that goes on behind what was read."""
        params = {**self._params, "since": self._since}
        token = self._channel.credentials.token
        return Request("GET", self._path, params, read_seconds=SILENT_SECONDS, token=token)

    def take(self, line: str) -> Event | None:
        """Read a line of the stream; gives an event where one is complete."""
        if line:
            name, _, value = line.partition(": ")
            self._event[name] = value
            return None
        told, self._event = self._event, {}
        kind, data = told.get("event", "message"), told.get("data")
        if data is None:
            return None
        self.backoff.reset()
        if kind == "problem":
            content = json.loads(data)
            raise Unreachable(f"the stream ended: {content.get('message')}")
        self._since = told.get("id", self._since)
        if kind == "gap":
            self._on_gap(made(Gap, json.loads(data)))
        return made(Event, json.loads(data)) if kind == "message" else None

    def pause(self, error: Exception) -> float:
        """Say how long to rest before the next try."""
        self._event = {}
        self._channel.check(error, forever=True)
        seconds = self.backoff.after(error, float("inf"))
        log.info("the stream is read on in %.1f s: %s", seconds, error)
        return seconds


def stream(wire: Wire, place: Place, channel: Channel) -> Generator[Event, None, None]:
    """Give events until the caller ends it. Raises what does not end by itself."""
    while True:
        try:
            wire.run(channel.renew_if_due())
            with wire.streaming(place.request()) as answer:
                yield from _events(place, answer.iter_lines())
            raise Unreachable("the bridge has ended the stream")
        except TRANSIENT as error:
            wire.rest(place.pause(error))


def _events(place: Place, lines: Iterator[str]) -> Iterator[Event]:
    for line in lines:
        event = place.take(line)
        if event is not None:
            yield event


async def async_stream(
    wire: AsyncWire, place: Place, channel: Channel
) -> AsyncGenerator[Event, None]:
    """Give events until the caller ends it. Raises what does not end by itself."""
    while True:
        try:
            await wire.run(channel.renew_if_due())
            async with wire.streaming(place.request()) as answer:
                async for line in answer.aiter_lines():
                    event = place.take(line)
                    if event is not None:
                        yield event
            raise Unreachable("the bridge has ended the stream")
        except TRANSIENT as error:
            await wire.rest(place.pause(error))
