"""Reading: a place that is kept over any number of requests, restarts and lost connections.

One may wait for events, subscribe to them without an end, or hear them in the background.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self, TypedDict, Unpack
from urllib.parse import quote

from bridge.client.answers import Batch, LeasedEvent, batch_of
from bridge.client.channel import Channel
from bridge.client.flow import Backoff, Call, Deadline, Flow, KeptCall, Request, Sleep
from bridge.client.replies import TRANSIENT, Unreachable
from bridge.client.settling import Leased, ack_ids, extended, rest_seconds, settled_if_possible
from bridge.errors import BridgeError
from bridge.events import Event, Gap
from bridge.suggest import did_you_mean

log = logging.getLogger("bridge.client")

POLL_SECONDS = 60.0
"""The longest single request; the bridge allows 300 s, many a proxy less."""
GRACE_SECONDS = 5.0
"""How much later than its time is up an answer may come, as in the Event System Guide."""
MAX_COUNT = 1000
DEFAULT_LEASE_SECONDS = 60.0
EXTENSIONS_PER_LEASE = 3
"""How often a lease is begun anew in its time, while a handler is at work."""
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
        self.done: list[str] = []
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
        params |= {"done": ",".join(done)} if done else {}
        read_seconds = seconds + GRACE_SECONDS
        request = Request("GET", self._query.path, params, read_seconds=read_seconds)
        batch = batch_of((yield from self._channel.once(request)))
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
    """Every event from a place on, without an end. `on_gap` is told of what is not retained."""

    def __init__(
        self, polling: Polling, forever: Deadline, limit: int | None, on_gap: Callable[[Gap], Any]
    ) -> None:
        self._polling = polling
        self._forever = forever
        self._limit = limit
        self._on_gap = on_gap
        self._leases: list[str] = []

    def settled(self) -> None:
        """Note that the events that were given last need no acknowledgement any more."""
        self._leases = []

    def next(self) -> Flow[list[Event]]:
        """Give the next events, at least one, however long it takes.

        Those of before are acknowledged with it. Raises what does not end by itself: a token, a
        filter or a position that is wrong.
        """
        self._polling.done += self._leases
        while True:
            batch = yield from self._polling.more(self._forever, limit=self._limit)
            if batch.gap is not None:
                yield Call(self._on_gap, batch.gap)
            if batch.events:
                self._leases = [batch.ack_id] if batch.ack_id else []
                return batch.events


class Reading:
    """What reads events as they come."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._memory = Memory()

    def wait(
        self,
        *types: str,
        timeout: float | None = 30.0,
        count: int = 1,
        limit: int | None = None,
        done: Iterable[Leased] = (),
        **options: Unpack[ReadOptions],
    ) -> Flow[Batch]:
        """Wait for `count` events of any of these types, `timeout` seconds at most; None is ever.

        Without types: the topics of the agent's type. Restarts of the bridge and lost connections
        are survived until the deadline, and what was collected by then is kept. `since` reads from
        a position of the caller's; else the bridge keeps the place (a durable subscription).

        With `lease` delivered is not done: acknowledge each event, or the whole batch, with `ack`
        or with `done` of the next wait; what is not comes again when its lease ends.

        Raises what the bridge tells at once. Raises Unreachable, Unavailable or RateLimited if the
        bridge cannot be asked when time is up and nothing was collected.

        >>> from bridge.client import EventClient
        >>> with EventClient() as client:
        ...     _ = client.publish("tests_passing", {"coverage": 92}, correlation_id="issue-1")
        ...     batch = client.wait("tests_passing", filter="coverage:>90", timeout=10)
        >>> [event.correlation_id for event in batch.events]
        ['issue-1']
        """
        query = ReaderQuery.of(types, options)
        polling = Polling(self._channel, self._memory, query)
        polling.done = ack_ids(done)
        deadline = self._channel.deadline(timeout)
        found: list[Event] = []
        leases: list[str] = []
        gap: Gap | None = None
        while True:
            left = None if limit is None else max(1, limit - len(found))
            try:
                batch = yield from polling.more(deadline, count=count - len(found), limit=left)
            except (BridgeError, Unreachable) as error:
                if not found:
                    raise
                log.warning("the wait ends with what it has: %s", error.message)
                return Batch(found, False, polling.cursor, True, gap, ",".join(leases) or None)
            found += batch.events
            leases += [batch.ack_id] if batch.ack_id else []
            gap = gap or batch.gap
            if len(found) >= count or deadline.left <= 0:
                return replace(
                    batch,
                    events=found,
                    timeout=len(found) < count,
                    gap=gap,
                    ack_id=",".join(leases) or None,
                )

    def feed(
        self,
        *types: str,
        limit: int | None = None,
        on_gap: Callable[[Gap], Any] | None = None,
        **options: Unpack[ReadOptions],
    ) -> EventFeed:
        """Give every event of these types from now on, one by one, without an end.

        The bridge keeps the place: the next subscription of this agent with the same types, topics
        and filter goes on behind what was given here, in whatever process. With `since` it reads
        from that position on and the caller holds the place (each event's `cursor`); `on_gap` is
        called with a Gap for what is no longer retained, by default it is logged as a warning.

        With `lease` an event is acknowledged when the next one is asked for: what a program that
        ends had in hand comes again when its lease ends.

        Restarts of the bridge and lost connections are survived for ever and repeat nothing.
        `limit` is the most events asked for at once. It is 1 by default where the bridge keeps the
        place, which moves when the answer was written: what a program that ends has not yet looked
        at would be skipped. The same goes for an answer that is written and then lost on its way,
        in a proxy that dies, say; where that matters hold the place with `since`.

        Raises what does not end by itself: a token, a filter or a position that is wrong.

        >>> from bridge.client import EventClient
        >>> with EventClient() as client:
        ...     _ = client.publish_many({"event_type": "step", "data": {"n": n}} for n in range(2))
        ...     for event in client.subscribe("step"):
        ...         print(event.data["n"])
        ...         if event.data["n"] == 1:
        ...             break
        0
        1
        """
        query = ReaderQuery.of(types, options)
        polling = Polling(self._channel, self._memory, query)
        if limit is None and query.since is None:
            limit = 1
        return EventFeed(polling, self._channel.deadline(None), limit, on_gap or warn_of_gap)

    def on(
        self,
        types: str | Iterable[str],
        handler: Callable[[Event], Any],
        *,
        limit: int | None = None,
        on_gap: Callable[[Gap], Any] | None = None,
        stop_on_error: bool = False,
        **options: Unpack[ReadOptions],
    ) -> Flow[None]:
        """Give each event to `handler` in the background, one after the other, until stopped.

        That is in a thread of its own for the blocking client, in a task for the async one, whose
        handler may be a coroutine function. What the handler raises is logged and the next event
        comes all the same; with `stop_on_error` it ends the listener, whose `stop` and `join` raise
        it.

        Where the bridge keeps the place each event is leased, for 60 s unless `lease` says
        otherwise, and the lease is extended for as long as the handler takes. The event is
        acknowledged when the handler has returned; when it raises the event is given back, and
        comes again after a pause that grows; after `max_deliveries` it is a dead letter. So it
        survives a process that dies with it. With `lease=None` what was delivered is done. The
        rest is as in `subscribe`.

        >>> import queue
        >>> from bridge.client import EventClient
        >>> errors = queue.Queue()
        >>> with EventClient() as client, client.on("error_encountered", errors.put):
        ...     _ = client.publish("error_encountered", {"error": "disk full"})
        ...     print(errors.get(timeout=10).data["error"])
        disk full
        """
        names = (types,) if isinstance(types, str) else tuple(types)
        if options.get("since") is None:
            options.setdefault("lease", DEFAULT_LEASE_SECONDS)
        feed = self.feed(*names, limit=limit, on_gap=on_gap, **options)
        lease = options.get("lease") or DEFAULT_LEASE_SECONDS
        return self._listen(feed, handler, lease, stop_on_error=stop_on_error)

    def _listen(
        self, feed: EventFeed, handler: Callable[[Any], Any], lease: float, *, stop_on_error: bool
    ) -> Flow[None]:
        while True:
            events = yield from feed.next()
            feed.settled()  # each of them is, by itself
            left = [event for event in events if isinstance(event, LeasedEvent)]
            for event in events:
                this = left[:1]  # none where nothing is leased
                call = Call(handler, event)
                if this:
                    keep = partial(extended, self._channel, left, lease)
                    call = KeptCall(handler, event, lease / EXTENSIONS_PER_LEASE, keep)
                try:
                    yield call
                except Exception:
                    pause = round(rest_seconds(event) * 1000)
                    yield from settled_if_possible(self._channel, "release", this, delay=pause)
                    if stop_on_error:
                        yield from settled_if_possible(self._channel, "release", left[1:])
                        raise
                    log.exception(
                        "the handler of %s failed on %s", event.event_type, event.event_id
                    )
                else:
                    yield from settled_if_possible(self._channel, "ack", this)
                del left[:1]


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
