"""Polling: one reader's place, kept over any number of requests, restarts and lost connections."""

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from bridge.client.answers import Batch, Event, Gap, batch_of
from bridge.client.channel import Channel
from bridge.client.errors import TRANSIENT
from bridge.client.retrying import Backoff, Deadline
from bridge.client.steps import Call, Flow, Request, Sleep

log = logging.getLogger("bridge.client")

POLL_SECONDS = 60.0
"""The longest single request; the bridge allows 300 s, many a proxy less."""
GRACE_SECONDS = 5.0
"""How much later than its time is up an answer may come, as in the Event System Guide."""
MAX_COUNT = 1000
REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Query:
    """What a reader wants; `types` empty for its agent type's topics."""

    types: tuple[str, ...]
    filter: str | None = None
    topic: str | None = None
    group: str | None = None
    deliver: str | None = None
    since: str | None = None

    @property
    def path(self) -> str:
        """The path of its requests."""
        names = ",".join(quote(name, safe="*,") for name in self.types)
        return f"/events/wait/{names}" if names else "/events/wait"

    @property
    def params(self) -> dict[str, str]:
        """The query fields that are the same in each request."""
        named = ("filter", "topic", "group", "deliver")
        return {name: value for name in named if (value := getattr(self, name)) is not None}


class Memory:
    """Which events a durable subscription has delivered to this process, the latest only.

    The bridge delivers an event again when it could not note that its answer had been read: after
    it was killed, say. Whoever has had the event need not see it twice.
    """

    def __init__(self, size: int = REMEMBERED) -> None:
        self._size = size
        self._seen: dict[tuple[Query, str], None] = {}
        self._lock = threading.Lock()

    def fresh(self, query: Query, event: Event) -> bool:
        """Note an event and tell whether it was not delivered here before.

        Only a redelivery can be a repetition: a subscription that was made anew begins again.
        """
        key = (replace(query, deliver=None), event.cursor)
        with self._lock:
            repeated = event.delivery_count > 1 and key in self._seen
            self._seen[key] = None
            if len(self._seen) > self._size:
                del self._seen[next(iter(self._seen))]
        return not repeated


class Polling:
    """One reader of events: a durable subscription, or a position that it holds itself."""

    def __init__(self, channel: Channel, memory: Memory, query: Query) -> None:
        self._channel = channel
        self._memory = memory
        self._query = query
        self._since = query.since
        self.cursor = ""

    def more(self, deadline: Deadline, *, count: int = 1, limit: int | None = None) -> Flow[Batch]:
        """Give the next answer that has events or a gap, or the last one before the deadline.

        Outages are survived until then. Raises Unreachable, Unavailable or RateLimited if the last
        request before the deadline failed, other errors at once.
        """
        backoff = self._channel.backoff()
        while True:
            yield from self._channel.renew_if_due()
            seconds = self._seconds(deadline)
            asked = self._channel.clock()
            try:
                batch = yield from self._poll(seconds, count, limit)
            except TRANSIENT as error:
                pause = backoff.after(error, deadline.left)
                log.info("%s: again in %.1f s", error.message, pause)
                yield Sleep(pause)
                continue
            if batch.events or batch.gap or deadline.left <= 0:
                return batch
            early = self._channel.clock() - asked < seconds / 2
            yield from _breathe(backoff, deadline, early=early)

    def _poll(self, seconds: float, count: int, limit: int | None) -> Flow[Batch]:
        params = self._query.params | {"timeout": str(round(seconds * 1000))}
        params |= {"count": str(min(count, MAX_COUNT))} if count != 1 else {}
        params |= {"limit": str(limit)} if limit is not None else {}
        params |= {"since": self._since} if self._since is not None else {}
        read_seconds = seconds + GRACE_SECONDS
        request = Request("GET", self._query.path, params, read_seconds=read_seconds)
        batch = batch_of((yield from self._channel.once(request)))
        self.cursor = batch.next_cursor
        if self._since is not None:
            self._since = batch.next_cursor
            return batch
        fresh = [event for event in batch.events if self._memory.fresh(self._query, event)]
        return replace(batch, events=fresh)

    def _seconds(self, deadline: Deadline) -> float:
        """Say how long the next request may wait.

        `now` must become a cursor before anything can go wrong, or the events of an outage are
        skipped. A token must not expire while the request that waits keeps it from being renewed.
        """
        if self._since == "now":
            return 0.0
        until_due = self._channel.credentials.seconds_until_due
        longest = min(POLL_SECONDS, until_due) if until_due > 0 else POLL_SECONDS
        return max(0.0, min(longest, deadline.left))


class Feed:
    """Every event from a place on, without an end. `on_gap` is told of what is not retained."""

    def __init__(
        self, polling: Polling, forever: Deadline, limit: int | None, on_gap: Callable[[Gap], Any]
    ) -> None:
        self._polling = polling
        self._forever = forever
        self._limit = limit
        self._on_gap = on_gap

    def next(self) -> Flow[list[Event]]:
        """Give the next events, at least one, however long it takes.

        Raises what does not end by itself: a token, a filter or a position that is wrong.
        """
        while True:
            batch = yield from self._polling.more(self._forever, limit=self._limit)
            if batch.gap is not None:
                yield Call(self._on_gap, batch.gap)
            if batch.events:
                return batch.events


def warn_of_gap(gap: Gap) -> None:
    """Log a gap as a warning."""
    lost = "an unknown number of" if gap.lost is None else gap.lost
    log.warning("%s events are gone before they were read: %s", lost, gap.reason)


def joined(names: str | Iterable[str] | None) -> str | None:
    """Write one name or several as the query fields want them."""
    return names if names is None or isinstance(names, str) else ",".join(names)


def _breathe(backoff: Backoff, deadline: Deadline, *, early: bool) -> Flow[None]:
    """Pause after an empty answer that came early.

    So does a bridge answer that is shutting down, until its listener closes.
    """
    if early:
        yield Sleep(min(backoff.pause(), max(0.0, deadline.left)))
    else:
        backoff.reset()
