"""Reading: wait for events, subscribe to them without an end, or hear them in the background."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Unpack

from bridge.client.answers import Batch
from bridge.client.channel import Channel
from bridge.client.flow import Call, Flow
from bridge.client.polling import (
    DEFAULT_LEASE_SECONDS,
    EventFeed,
    Memory,
    Polling,
    ReaderQuery,
    ReadOptions,
    warn_of_gap,
)
from bridge.client.replies import Unreachable
from bridge.client.settling import Leased
from bridge.errors import BridgeError
from bridge.events import Event, Gap

log = logging.getLogger("bridge.client")


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
        polling.done = list(done)
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
        and filter goes on behind what was given here, in whatever process. Each event is leased,
        for 30 s unless `lease` says otherwise, which is extended while it is in hand, and is
        acknowledged when the next one is asked for. Open it in a `with` block, so that it knows how
        you leave: by `break` or at its end the event in hand is acknowledged, by what the block
        raises it is given back, and comes again after a pause that grows. Without the block, and if
        the whole process dies, it comes again when its lease ends. With `lease=None` an event is
        done when it was given.

        With `since` it reads from that position on and the caller holds the place (each event's
        `cursor`), without leases; `on_gap` is called with a Gap for what is no longer retained, by
        default it is logged as a warning. Restarts of the bridge and lost connections are survived
        for ever. `limit` is the most events asked for at once: 1 where the bridge keeps the place,
        so that other members of a group are not kept from what waits here.

        Raises what does not end by itself: a token, a filter or a position that is wrong.

        >>> from bridge.client import EventClient
        >>> with EventClient() as client, client.subscribe("step") as events:
        ...     _ = client.publish_many({"event_type": "step", "data": {"n": n}} for n in range(2))
        ...     for event in events:
        ...         print(event.data["n"])
        ...         if event.data["n"] == 1:
        ...             break
        0
        1
        """
        if options.get("since") is None:
            options.setdefault("lease", DEFAULT_LEASE_SECONDS)
        query = ReaderQuery.of(types, options)
        polling = Polling(self._channel, self._memory, query)
        if limit is None and query.since is None:
            limit = 1
        lease = query.lease or DEFAULT_LEASE_SECONDS
        return EventFeed(self._channel, polling, limit, on_gap or warn_of_gap, lease)

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

        Where the bridge keeps the place each event is leased, for 30 s unless `lease` says
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
        feed = self.feed(*names, limit=limit, on_gap=on_gap, **options)
        return self._listen(feed, handler, stop_on_error=stop_on_error)

    def _listen(
        self, feed: EventFeed, handler: Callable[[Any], Any], *, stop_on_error: bool
    ) -> Flow[None]:
        while True:
            event = yield from feed.next()
            try:
                yield Call(handler, event, feed.every, feed.keep if feed.held else None)
            except Exception:
                yield from feed.failed()
                if stop_on_error:
                    yield from feed.leave()
                    raise
                log.exception("the handler of %s failed on %s", event.event_type, event.event_id)
            else:
                yield from feed.done()
