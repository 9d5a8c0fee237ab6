"""Clients of the package `bridge.client`, for tests: both kinds under one face."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, Self

from bridge.client import AsyncEventClient, AsyncSubscriber, Event, EventClient


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Blocking:
    """The blocking client."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.client = EventClient(*args, **options)

    def call(self, name: str, *args: Any, **options: Any) -> Any:
        return getattr(self.client, name)(*args, **options)

    def pattern(self, function: Any, *args: Any, **options: Any) -> Any:
        return function(self.client, *args, **options)

    def subscribe(self, *args: Any, **options: Any) -> Any:
        return self.client.subscribe(*args, **options)

    def stream(self, *args: Any, **options: Any) -> Iterator[Event]:
        return self.client.stream(*args, **options)

    def on(self, *args: Any, **options: Any) -> Any:
        return self.client.on(*args, **options)

    def work(self, *args: Any, **options: Any) -> Any:
        return self.client.work(*args, **options)

    def stop(self, listener: Any, **options: Any) -> None:
        listener.stop(**options)

    def close(self) -> None:
        self.client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Subscribed(Iterator[Event]):
    """A subscription of the async client, on its event loop."""

    def __init__(self, loop: Loop, events: AsyncSubscriber) -> None:
        self._loop = loop
        self._events = events

    def __next__(self) -> Event:
        event: Event = self._loop.run(self._events.__anext__())
        return event

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._loop.run(self._events.__aexit__(kind, error, trace))


class Awaiting(Blocking):
    """The async client, on an event loop of its own."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._loop = Loop()
        self._client = AsyncEventClient(*args, **options)

    def call(self, name: str, *args: Any, **options: Any) -> Any:
        return self._loop.run(getattr(self._client, name)(*args, **options))

    def pattern(self, function: Any, *args: Any, **options: Any) -> Any:
        return self._loop.run(function(self._client, *args, **options))

    def subscribe(self, *args: Any, **options: Any) -> Any:
        return Subscribed(self._loop, self._client.subscribe(*args, **options))

    def stream(self, *args: Any, **options: Any) -> Iterator[Event]:
        events = self._client.stream(*args, **options)
        try:
            while True:
                yield self._loop.run(anext(events))
        finally:
            self._loop.run(events.aclose())

    def on(self, *args: Any, **options: Any) -> Any:
        async def listen() -> Any:
            return self._client.on(*args, **options)

        return self._loop.run(listen())

    def work(self, *args: Any, **options: Any) -> Any:
        async def begin() -> Any:
            return self._client.work(*args, **options)

        return self._loop.run(begin())

    def stop(self, listener: Any, **options: Any) -> None:
        self._loop.run(listener.stop(**options))

    def close(self) -> None:
        self._loop.run(self._client.close())
        self._loop.close()


Either = Blocking
"""A client of one of the two kinds."""

KINDS: dict[str, type[Either]] = {"blocking": Blocking, "async": Awaiting}
