"""Reading: wait for events, subscribe to them without an end, hear them in the background."""

import logging
from collections.abc import Callable, Iterable
from typing import Any

from bridge.client.answers import Batch, Event, Gap
from bridge.client.channel import Channel
from bridge.client.errors import Unreachable
from bridge.client.polling import Feed, Memory, Polling, Query, joined, warn_of_gap
from bridge.client.steps import Call, Flow
from bridge.errors import BridgeError

log = logging.getLogger("bridge.client")


class Reading:
    """What reads events as they come."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._memory = Memory()

    def wait(  # noqa: PLR0913 - the contract's fields
        self,
        *types: str,
        filter: str | None = None,  # noqa: A002 - the contract's name
        topic: str | Iterable[str] | None = None,
        timeout: float | None = 30.0,
        count: int = 1,
        limit: int | None = None,
        since: str | None = None,
        deliver: str | None = None,
        group: str | None = None,
    ) -> Flow[Batch]:
        """Wait for `count` events of any of these types, `timeout` seconds at most; None is ever.

        Without types: the topics of the agent's type. Restarts of the bridge and lost connections
        are survived until the deadline, and what was collected by then is kept. `since` reads from
        a position of the caller's; else the bridge keeps the place (a durable subscription).

        Raises what the bridge tells at once. Raises Unreachable, Unavailable or RateLimited if the
        bridge cannot be asked when time is up and nothing was collected.

        >>> from bridge.client import EventClient
        >>> with EventClient() as client:
        ...     _ = client.publish("tests_passing", {"coverage": 92}, correlation_id="issue-1")
        ...     batch = client.wait("tests_passing", filter="coverage:>90", timeout=10)
        >>> [event.correlation_id for event in batch.events]
        ['issue-1']
        """
        query = Query(types, filter, joined(topic), group, deliver, since)
        polling = Polling(self._channel, self._memory, query)
        deadline = self._channel.deadline(timeout)
        found: list[Event] = []
        gap: Gap | None = None
        while True:
            left = None if limit is None else max(1, limit - len(found))
            try:
                batch = yield from polling.more(deadline, count=count - len(found), limit=left)
            except (BridgeError, Unreachable) as error:
                if not found:
                    raise
                log.warning("the wait ends with what it has: %s", error.message)
                return Batch(found, False, polling.cursor, timeout=True, gap=gap)
            found += batch.events
            gap = gap or batch.gap
            if len(found) >= count or deadline.left <= 0:
                short = len(found) < count
                return Batch(found, batch.more_available, batch.next_cursor, short, gap)

    def feed(
        self,
        *types: str,
        filter: str | None = None,  # noqa: A002 - the contract's name
        topic: str | Iterable[str] | None = None,
        group: str | None = None,
        since: str | None = None,
        deliver: str | None = None,
        limit: int | None = None,
        on_gap: Callable[[Gap], Any] | None = None,
    ) -> Feed:
        """Give every event of these types from now on, one by one, without an end.

        The bridge keeps the place: the next subscription of this agent with the same types, topics
        and filter goes on behind what was given here, in whatever process. With `since` it reads
        from that position on and the caller holds the place (each event's `cursor`); `on_gap` is
        called with a Gap for what is no longer retained, by default it is logged as a warning.

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
        query = Query(types, filter, joined(topic), group, deliver, since)
        polling = Polling(self._channel, self._memory, query)
        if limit is None and since is None:
            limit = 1
        return Feed(polling, self._channel.deadline(None), limit, on_gap or warn_of_gap)

    def on(  # noqa: PLR0913 - the contract's fields
        self,
        types: str | Iterable[str],
        handler: Callable[[Event], Any],
        *,
        filter: str | None = None,  # noqa: A002 - the contract's name
        topic: str | Iterable[str] | None = None,
        group: str | None = None,
        since: str | None = None,
        deliver: str | None = None,
        limit: int | None = None,
        on_gap: Callable[[Gap], Any] | None = None,
        stop_on_error: bool = False,
    ) -> Flow[None]:
        """Give each event to `handler` in the background, one after the other, until stopped.

        That is in a thread of its own for the blocking client, in a task for the async one, whose
        handler may be a coroutine function. What the handler raises is logged and the next event
        comes all the same; with `stop_on_error` it ends the listener, whose `stop` and `join` raise
        it. The rest is as in `subscribe`.

        >>> import queue
        >>> from bridge.client import EventClient
        >>> errors = queue.Queue()
        >>> with EventClient() as client, client.on("error_encountered", errors.put):
        ...     _ = client.publish("error_encountered", {"error": "disk full"})
        ...     print(errors.get(timeout=10).data["error"])
        disk full
        """
        names = (types,) if isinstance(types, str) else tuple(types)
        feed = self.feed(
            *names,
            filter=filter,
            topic=topic,
            group=group,
            since=since,
            deliver=deliver,
            limit=limit,
            on_gap=on_gap,
        )
        return _listen(feed, handler, stop_on_error=stop_on_error)


def _listen(feed: Feed, handler: Callable[[Event], Any], *, stop_on_error: bool) -> Flow[None]:
    while True:
        for event in (yield from feed.next()):
            try:
                yield Call(handler, event)
            except Exception:
                if stop_on_error:
                    raise
                log.exception("the handler of %s failed on %s", event.event_type, event.event_id)
