"""Polling: a place among events, kept over requests, restarts and lost connections."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self, TypedDict
from urllib.parse import quote

from bridge.client.answers import Batch, LeasedEvent, batch_of
from bridge.client.channel import Channel
from bridge.client.flow import Backoff, Call, Deadline, Flow, Request, Sleep
from bridge.client.replies import TRANSIENT
from bridge.client.settling import Leased, ack_ids, extended, if_possible, rest_seconds, settle
from bridge.events import Event, Gap
from bridge.suggest import did_you_mean

log = logging.getLogger("bridge.client")

POLL_SECONDS = 60.0
"""The longest single request; the bridge allows 300 s, many a proxy less."""
GRACE_SECONDS = 5.0
"""How much later than its time is up an answer may come, as in the Event System Guide."""
MAX_COUNT = 1000
DEFAULT_LEASE_SECONDS = 30.0
EXTENSIONS_PER_LEASE = 3
"""How often a lease is begun anew in its time, while its event is in hand."""
REMEMBERED = 10_000


class ReadOptions(TypedDict, total=False):
    """Which events a reader wants, and from where, as the contract has it."""

    filter: str | None
    """`field:value` terms: `,` is AND, `|` is OR, `!` negates."""
    correlation_id: str | None
    """Only events with this correlation ID."""
    topic: str | Iterable[str] | None
    """One topic or several."""
    group: str | None
    """Share one durable subscription with every agent that names the same group."""
    since: str | None
    """A position of the caller's: a cursor, an event ID, a time, `earliest` or `now`."""
    deliver: str | None
    """Where a durable subscription that does not exist yet begins: `all`, `new` or `last`."""
    consumer: str | None
    """A name that makes this subscription another one than the agent's others like it."""
    lease: float | None
    """Seconds for which an event is this agent's alone, until it is acknowledged."""
    max_deliveries: int | None
    """How often an event is leased before it becomes a dead letter."""
    max_bytes: int | None
    """An answer ends before its events grow past so many bytes, but for the first."""


@dataclass(frozen=True, slots=True)
class ReaderQuery:
    """What a reader wants; `types` empty for its agent type's topics, `params` query fields."""

    types: tuple[str, ...]
    params: tuple[tuple[str, str], ...]
    since: str | None
    lease: float | None = None

    @classmethod
    def of(cls, types: tuple[str, ...], options: "ReadOptions") -> Self:
        """Read a call's arguments. Raises TypeError for one that there is not."""
        check_options(options, ReadOptions)
        given = {**options, "topic": joined(options.get("topic"))}
        since = given.pop("since", None)
        lease = options.get("lease")
        if lease is not None:
            given |= {"ack": "explicit", "lease": round(lease * 1000)}
        fields = {name: str(value) for name, value in given.items() if value is not None}
        place = None if since is None else str(since)
        return cls(types, tuple(sorted(fields.items())), place, lease)

    @property
    def path(self) -> str:
        """The path of its requests."""
        names = ",".join(quote(name, safe="*,") for name in self.types)
        return f"/events/wait/{names}" if names else "/events/wait"


class Memory:
    """Which events a durable subscription has delivered to this process, the latest only.

    The bridge delivers an event again when it could not note that its answer had been read: after
    it was killed, say. Whoever has had the event need not see it twice, unless a subscription was
    deleted in order to begin anew: then `forget`.
    """

    def __init__(self, size: int = REMEMBERED) -> None:
        self._size = size
        self._seen: dict[tuple[object, ...], None] = {}
        self._lock = threading.Lock()

    def fresh(self, query: ReaderQuery, event: Event) -> bool:
        """Note an event and tell whether it was not delivered here before."""
        # Where a durable begins is of no matter once it is there.
        which = tuple(each for each in query.params if each[0] != "deliver")
        key = (query.types, which, event.cursor)
        with self._lock:
            repeated = key in self._seen
            self._seen[key] = None
            if len(self._seen) > self._size:
                del self._seen[next(iter(self._seen))]
        return not repeated

    def forget(self) -> None:
        """Take every event for new."""
        with self._lock:
            self._seen.clear()


class Polling:
    """One reader of events: a durable subscription, or a position that it holds itself."""

    def __init__(self, channel: Channel, memory: Memory, query: ReaderQuery) -> None:
        self._channel = channel
        self._memory = memory
        self._query = query
        self._since = query.since
        self.cursor = ""
        self.done: list[Leased] = []
        """What the next request acknowledges."""

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
                self._channel.check(error, forever=deadline.left == float("inf"))
                pause = backoff.after(error, deadline.left)
                log.info("%s: again in %.1f s", error.message, pause)
                yield Sleep(pause)
                continue
            if batch.events or batch.gap or deadline.left <= 0:
                return batch
            early = self._channel.clock() - asked < seconds / 2
            yield from _breathe(backoff, deadline, early=early)

    def _poll(self, seconds: float, count: int, limit: int | None) -> Flow[Batch]:
        params = dict(self._query.params) | {"timeout": str(round(seconds * 1000))}
        params |= {"count": str(min(count, MAX_COUNT))} if count != 1 else {}
        params |= {"limit": str(limit)} if limit is not None else {}
        params |= {"since": self._since} if self._since is not None else {}
        done = self.done[:]
        params |= {"done": ",".join(ack_ids(done))} if done else {}
        read_seconds = seconds + GRACE_SECONDS
        request = Request("GET", self._query.path, params, read_seconds=read_seconds)
        batch = batch_of((yield from self._channel.once(request)), self._channel.client)
        self.cursor = batch.next_cursor
        del self.done[: len(done)]  # not before: a request that failed may have done nothing
        for warning in batch.warnings if done else ():
            if "done" in warning:
                log.warning("%s", warning)
        if self._query.lease is not None:
            return batch  # what is leased again is to be done again
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


class EventFeed:
    """Events from a place on, one after the other, without an end; what is leased is settled here.

    `on_gap` is told of what is not retained.
    """

    def __init__(
        self,
        channel: Channel,
        polling: Polling,
        limit: int | None,
        on_gap: Callable[[Gap], Any],
        lease: float,
    ) -> None:
        self.every = lease / EXTENSIONS_PER_LEASE
        """How often `keep` is to be run while an event is in hand, in seconds."""
        self._lease = lease
        self._channel = channel
        self._polling = polling
        self._limit = limit
        self._on_gap = on_gap
        self._given: list[LeasedEvent] = []
        self._waiting: deque[Event] = deque()

    @property
    def held(self) -> list[LeasedEvent]:
        """What is leased and not settled: the event that was given last, and those behind it."""
        return self._given + self._still_waiting()

    def next(self) -> Flow[Event]:
        """Give the next event, however long it takes; the one before is acknowledged.

        Raises what does not end by itself: a token, a filter or a position that is wrong.
        """
        self._polling.done += self._given
        self._given = []
        while not self._waiting:
            batch = yield from self._polling.more(self._channel.deadline(None), limit=self._limit)
            if batch.gap is not None:
                yield Call(self._on_gap, batch.gap)
            self._waiting.extend(batch.events)
        event = self._waiting.popleft()
        self._given = [event] if isinstance(event, LeasedEvent) else []
        return event

    def keep(self) -> Flow[None]:
        """Begin the leases of all that is held anew."""
        held = self.held
        yield from if_possible(held, extended(self._channel, held, self._lease))

    def done(self) -> Flow[None]:
        """Acknowledge at once what was given, where that is known to be done."""
        done, self._polling.done = [*self._polling.done, *self._given], []
        self._given = []
        yield from if_possible(done, settle(self._channel, "ack", done))

    def failed(self) -> Flow[None]:
        """Give back the event that was given last: it comes again after a pause that grows."""
        given, self._given = self._given, []
        for event in given:
            pause = round(rest_seconds(event) * 1000)
            yield from if_possible(given, settle(self._channel, "release", given, delay=pause))

    def leave(self) -> Flow[None]:
        """Give back at once all that is still held."""
        left, self._given = self.held, []
        self._waiting.clear()
        yield from self.done()
        yield from if_possible(left, settle(self._channel, "release", left))

    def _still_waiting(self) -> list[LeasedEvent]:
        return [event for event in self._waiting if isinstance(event, LeasedEvent)]


def warn_of_gap(gap: Gap) -> None:
    """Log a gap as a warning."""
    lost = "an unknown number of" if gap.lost is None else gap.lost
    log.warning("%s events are gone before they were read: %s", lost, gap.reason)


def check_options(given: Mapping[str, object], kind: type[Any]) -> None:
    """Raise TypeError for an option that there is not, which Python itself takes for one."""
    known = kind.__annotations__
    for name in given.keys() - known.keys():
        raise TypeError(f"there is no option {name!r}; {did_you_mean(name, known)}")


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
