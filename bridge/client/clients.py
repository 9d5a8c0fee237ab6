"""The two clients: the same calls, blocking and on asyncio."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable
from typing import Any, Self, TypeVar, Unpack
from weakref import WeakSet

import httpx

from bridge.client.bindings import (
    async_listening,
    async_subscribing,
    awaiting,
    blocking,
    listening,
    subscribing,
)
from bridge.client.calls import Calls
from bridge.client.channel import Channel
from bridge.client.flow import Flow
from bridge.client.identity import Credentials, bridge_urls, from_environment
from bridge.client.listening import AsyncListener, AsyncWorkers, Listener, Workers
from bridge.client.polling import DEFAULT_LEASE_SECONDS, EventFeed
from bridge.client.streaming import Place, StreamOptions, async_stream, stream
from bridge.client.subscribing import AsyncSubscriber, Subscriber
from bridge.client.wires import AsyncWire, Wire, WireFormat
from bridge.events import Event

T = TypeVar("T")

CONNECT_SECONDS = 5.0
RETRY_SECONDS = 30.0


class Agent:
    """What both clients are: one agent at one bridge.

    `url` is by default SIDECAR_URL, else http://localhost:3001/api; `token` is JWT_TOKEN.
    `agent_id` (AGENT_ID) is sent as the publisher of events; without it the bridge takes the
    token's. `agent_type` is AGENT_TYPE, else the token's. Connecting may take `connect_timeout`
    seconds; a call that fails for a while is tried again for `retry_for` seconds.
    """

    def __init__(
        self,
        url: str | None,
        token: str | None,
        *,
        agent_id: str | None,
        agent_type: str | None,
        connect_timeout: float,
        retry_for: float,
        clock: Callable[[], float],
    ) -> None:
        self._credentials = Credentials(from_environment(token, "JWT_TOKEN"))
        stated = from_environment(agent_id, "AGENT_ID")
        self.agent_id: str | None = stated or self._credentials.claims.get("sub")
        kind = from_environment(agent_type, "AGENT_TYPE")
        self.agent_type: str | None = kind or self._credentials.claims.get("agent_type")
        place = bridge_urls(url)
        self.url = place.api
        self._wire_format = WireFormat(place, connect_timeout)
        self._channel = channel = Channel(
            self._credentials, retry_for=retry_for, clock=clock, client=self
        )
        self.calls = Calls(channel, stated, source="agent_id" if agent_id else "AGENT_ID")

    def __init_subclass__(cls) -> None:
        """Name each call after what it is here, for `help`, and hide the flow that it runs."""
        for name, method in vars(cls).items():
            if hasattr(method, "__wrapped__"):
                method.__name__, method.__qualname__ = name, f"{cls.__name__}.{name}"
                method.__module__ = cls.__module__
                del method.__wrapped__

    @property
    def token(self) -> str | None:
        """The current token: the one that was given, or what it was renewed to."""
        return self._credentials.token

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r}, agent_id={self.agent_id!r})"


class EventClient(Agent):
    """A blocking client; its calls may be made from several threads at once.

    Use it as a context manager, or call `close`. `sleep` and `clock` (monotonic, in seconds) are
    there for tests, `transport` for another way to the bridge than httpx's own; it is not closed,
    and as its connections are shared, stopping a listener on it may last as long as a poll.
    """

    def __init__(  # noqa: PLR0913 - settings by name
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        agent_id: str | None = None,
        agent_type: str | None = None,
        connect_timeout: float = CONNECT_SECONDS,
        retry_for: float = RETRY_SECONDS,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(
            url,
            token,
            agent_id=agent_id,
            agent_type=agent_type,
            connect_timeout=connect_timeout,
            retry_for=retry_for,
            clock=clock,
        )
        self._wire = Wire(self._wire_format, transport, sleep)
        self._listeners: WeakSet[Listener] = WeakSet()
        self._subscribers: WeakSet[Subscriber] = WeakSet()

    publish = blocking(Calls.publish)
    publish_many = blocking(Calls.publish_many)
    wait = blocking(Calls.wait)
    subscribe = subscribing(Calls.feed)
    on = listening(Calls.on)
    ask = blocking(Calls.ask)
    ack = blocking(Calls.ack)
    extend = blocking(Calls.extend)
    release = blocking(Calls.release)
    reject = blocking(Calls.reject)
    redrive = blocking(Calls.redrive)
    explain = blocking(Calls.explain)
    event = blocking(Calls.event)
    catalog = blocking(Calls.catalog)
    agents = blocking(Calls.agents)
    history = blocking(Calls.history)
    subscriptions = blocking(Calls.subscriptions)
    delete_subscription = blocking(Calls.delete_subscription)
    status = blocking(Calls.status)
    health = blocking(Calls.health)
    mint_token = blocking(Calls.mint_token)
    revoke_tokens = blocking(Calls.revoke_tokens)
    revoked_tokens = blocking(Calls.revoked_tokens)
    restore_tokens = blocking(Calls.restore_tokens)
    refresh_token = blocking(Calls.refresh_token)

    def work(
        self,
        types: str | Iterable[str],
        handler: Callable[[Any], Any],
        *,
        group: str,
        concurrency: int = 1,
        lease: float = DEFAULT_LEASE_SECONDS,
        max_deliveries: int | None = None,
        **options: Any,
    ) -> Workers:
        """Do the work that events of these types ask for, so that it survives its worker.

        Each event is leased for `lease` seconds, which is extended while `handler` is at work, and
        acknowledged when it has returned. When it raises, or the whole process dies, the event goes
        to another worker of the `group`, at most `max_deliveries` times; then it is a dead letter.
        `concurrency` events are worked on at once, each in a thread. The rest is as in `on`.

        >>> from bridge.client import EventClient
        >>> def build(event):
        ...     client.publish("build_done", {"n": event.data["n"]})
        >>> with EventClient() as client, client.work("build_wanted", build, group="builders"):
        ...     _ = client.publish("build_wanted", {"n": 1})
        ...     client.wait("build_done", timeout=10).events[0].data
        {'n': 1}
        """
        options |= {"group": group, "lease": lease, "max_deliveries": max_deliveries}
        return Workers([self.on(types, handler, **options) for _ in range(concurrency)])

    def stream(self, *types: str, **options: Unpack[StreamOptions]) -> Generator[Event, None, None]:
        """Give events as the bridge pushes them, without an end: those that come from now on.

        Without types: the topics of the agent's type. `since` begins earlier. A connection that is
        lost is made again behind the last event; nothing is kept on the bridge, and nothing is
        leased: for work that must be done there is `subscribe`.

        >>> from bridge.client import EventClient
        >>> with EventClient() as client:
        ...     _ = client.publish("step", {"n": 1}, correlation_id="issue-3")
        ...     for event in client.stream("step", correlation_id="issue-3", since="earliest"):
        ...         print(event.data)
        ...         break
        {'n': 1}
        """
        return stream(self._wire, Place(self._channel, types, options), self._channel)

    def listen(self, flow: Flow[None]) -> Listener:
        """Run a flow in a thread that can be stopped."""
        listener = Listener(self._wire, flow)
        self._listeners.add(listener)
        return listener

    def read(self, feed: EventFeed) -> Subscriber:
        """Give a feed's events one by one."""
        subscriber = Subscriber(self._wire, feed)
        self._subscribers.add(subscriber)
        return subscriber

    def run(self, flow: Flow[T]) -> T:
        """Run a flow: how patterns made of `calls` are run."""
        return self._wire.run(flow)

    def close(self) -> None:
        """Stop its listeners and close its connections."""
        for listener in list(self._listeners):
            if listener.running:
                listener.stop()
        for subscriber in list(self._subscribers):
            subscriber.rest()
        self._wire.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncEventClient(Agent):
    """An async client, for one event loop of asyncio. Its calls are those of `EventClient`.

    Use it as an async context manager, or await `close`.

    >>> import asyncio
    >>> from bridge.client import AsyncEventClient
    >>> async def main():
    ...     async with AsyncEventClient() as client:
    ...         await client.publish("agent_spawned", {"agent_type": "qa", "task": "API"})
    ...         async with client.subscribe("agent_spawned") as events:
    ...             async for event in events:
    ...                 return event.data["agent_type"]
    >>> asyncio.run(main())
    'qa'
    """

    def __init__(  # noqa: PLR0913 - settings by name
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        agent_id: str | None = None,
        agent_type: str | None = None,
        connect_timeout: float = CONNECT_SECONDS,
        retry_for: float = RETRY_SECONDS,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__(
            url,
            token,
            agent_id=agent_id,
            agent_type=agent_type,
            connect_timeout=connect_timeout,
            retry_for=retry_for,
            clock=clock,
        )
        self._wire = AsyncWire(self._wire_format, transport, sleep)
        self._listeners: WeakSet[AsyncListener] = WeakSet()
        self._subscribers: WeakSet[AsyncSubscriber] = WeakSet()

    publish = awaiting(Calls.publish)
    publish_many = awaiting(Calls.publish_many)
    wait = awaiting(Calls.wait)
    subscribe = async_subscribing(Calls.feed)
    on = async_listening(Calls.on)
    ask = awaiting(Calls.ask)
    ack = awaiting(Calls.ack)
    extend = awaiting(Calls.extend)
    release = awaiting(Calls.release)
    reject = awaiting(Calls.reject)
    redrive = awaiting(Calls.redrive)
    explain = awaiting(Calls.explain)
    event = awaiting(Calls.event)
    catalog = awaiting(Calls.catalog)
    agents = awaiting(Calls.agents)
    history = awaiting(Calls.history)
    subscriptions = awaiting(Calls.subscriptions)
    delete_subscription = awaiting(Calls.delete_subscription)
    status = awaiting(Calls.status)
    health = awaiting(Calls.health)
    mint_token = awaiting(Calls.mint_token)
    revoke_tokens = awaiting(Calls.revoke_tokens)
    revoked_tokens = awaiting(Calls.revoked_tokens)
    restore_tokens = awaiting(Calls.restore_tokens)
    refresh_token = awaiting(Calls.refresh_token)

    def work(
        self,
        types: str | Iterable[str],
        handler: Callable[[Any], Any],
        *,
        group: str,
        concurrency: int = 1,
        lease: float = DEFAULT_LEASE_SECONDS,
        max_deliveries: int | None = None,
        **options: Any,
    ) -> AsyncWorkers:
        """Do the work that events of these types ask for, so that it survives its worker.

        Each event is leased for `lease` seconds, which is extended while `handler` is at work, and
        acknowledged when it has returned. When it raises, or the whole process dies, the event goes
        to another worker of the `group`, at most `max_deliveries` times; then it is a dead letter.
        `concurrency` events are worked on at once. The rest is as in `on`.
        """
        options |= {"group": group, "lease": lease, "max_deliveries": max_deliveries}
        return AsyncWorkers([self.on(types, handler, **options) for _ in range(concurrency)])

    def stream(self, *types: str, **options: Unpack[StreamOptions]) -> AsyncGenerator[Event, None]:
        """Give events as the bridge pushes them, without an end: those that come from now on.

        Without types: the topics of the agent's type. `since` begins earlier. A connection that is
        lost is made again behind the last event; nothing is kept on the bridge, and nothing is
        leased: for work that must be done there is `subscribe`.
        """
        return async_stream(self._wire, Place(self._channel, types, options), self._channel)

    def listen(self, flow: Flow[None]) -> AsyncListener:
        """Run a flow in a task that can be stopped."""
        listener = AsyncListener(self._wire, flow)
        self._listeners.add(listener)
        return listener

    def read(self, feed: EventFeed) -> AsyncSubscriber:
        """Give a feed's events one by one."""
        subscriber = AsyncSubscriber(self._wire, feed)
        self._subscribers.add(subscriber)
        return subscriber

    async def run(self, flow: Flow[T]) -> T:
        """Run a flow: how patterns made of `calls` are run."""
        return await self._wire.run(flow)

    async def close(self) -> None:
        """Stop its listeners and close its connections."""
        for listener in list(self._listeners):
            if listener.running:
                await listener.stop()
        for subscriber in list(self._subscribers):
            await subscriber.rest()
        await self._wire.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
