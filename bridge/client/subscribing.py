"""Subscribers: a feed of events as an iterator that knows how its block is left."""

from collections.abc import AsyncIterator, Iterator
from typing import Self

from bridge.client.flow import Flow
from bridge.client.keeping import AsyncKeeper, Keeper
from bridge.client.polling import EventFeed
from bridge.client.wires import AsyncWire, Wire
from bridge.events import Event


def _left(feed: EventFeed, error: BaseException | None) -> Flow[None]:
    """Settle what is in hand: done, failed, or given back at once where the program ends."""
    if error is None:
        yield from feed.done()
    elif isinstance(error, Exception):
        yield from feed.failed()
    yield from feed.leave()


class Subscriber(Iterator[Event]):
    """Gives one event after the other; use it as a context manager, see `subscribe`."""

    def __init__(self, wire: Wire, feed: EventFeed) -> None:
        self._wire = wire
        self._feed = feed
        self._keeper: Keeper | None = None

    def __next__(self) -> Event:
        """Give the next event, however long it takes."""
        self.rest()
        event = self._wire.run(self._feed.next())
        if self._feed.held:
            self._keeper = Keeper(self._wire.run, self._feed.every, self._feed.keep)
        return event

    def rest(self) -> None:
        """Extend no lease any more."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self.rest()
        self._wire.run(_left(self._feed, error))

    def __del__(self) -> None:
        """Let go of its event, which comes again: a loop was left that is in no `with` block."""
        if self._keeper is not None:
            self._keeper.end()


class AsyncSubscriber(AsyncIterator[Event]):
    """The same, of the async client."""

    def __init__(self, wire: AsyncWire, feed: EventFeed) -> None:
        self._wire = wire
        self._feed = feed
        self._keeper: AsyncKeeper | None = None

    async def __anext__(self) -> Event:
        """Give the next event, however long it takes."""
        await self.rest()
        event = await self._wire.run(self._feed.next())
        if self._feed.held:
            self._keeper = AsyncKeeper(self._wire.run, self._feed.every, self._feed.keep)
        return event

    async def rest(self) -> None:
        """Extend no lease any more."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            await keeper.stop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        await self.rest()
        await self._wire.run(_left(self._feed, error))

    def __del__(self) -> None:
        """Let go of its event, which comes again: a loop was left that is in no `with` block."""
        if self._keeper is not None:
            self._keeper.end()
