"""Bindings: a call that is written once as a flow becomes a method of either client."""

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, get_args

from bridge.client.answers import Event
from bridge.client.calls import Calls
from bridge.client.listening import AsyncListener, Listener
from bridge.client.polling import Feed
from bridge.client.steps import Flow

P = ParamSpec("P")
T = TypeVar("T")


class Runs(Protocol):
    """A client that runs flows on this thread."""

    calls: Calls

    def run(self, flow: Flow[T]) -> T:
        """Run a flow to its end."""

    def listen(self, flow: Flow[None]) -> Listener:
        """Run a flow in the background."""


class RunsAsync(Protocol):
    """A client that runs flows on the event loop."""

    calls: Calls

    async def run(self, flow: Flow[T]) -> T:
        """Run a flow to its end."""

    def listen(self, flow: Flow[None]) -> AsyncListener:
        """Run a flow in the background."""


def blocking(
    flow: Callable[Concatenate[Calls, P], Flow[T]],
) -> Callable[Concatenate[Runs, P], T]:
    """Make a flow a method of the blocking client."""

    @functools.wraps(flow)
    def method(self: Runs, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.run(flow(self.calls, *args, **kwargs))

    _describe(method, get_args(inspect.signature(flow).return_annotation)[-1])
    return method


def awaiting(
    flow: Callable[Concatenate[Calls, P], Flow[T]],
) -> Callable[Concatenate[RunsAsync, P], Coroutine[Any, Any, T]]:
    """Make a flow a method of the async client."""

    @functools.wraps(flow)
    async def method(self: RunsAsync, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.run(flow(self.calls, *args, **kwargs))

    _describe(method, get_args(inspect.signature(flow).return_annotation)[-1])
    return method


def iterating(
    feed: Callable[Concatenate[Calls, P], Feed],
) -> Callable[Concatenate[Runs, P], Generator[Event, None, None]]:
    """Make a feed a generator of the blocking client."""

    @functools.wraps(feed)
    def method(self: Runs, /, *args: P.args, **kwargs: P.kwargs) -> Generator[Event, None, None]:
        found = feed(self.calls, *args, **kwargs)
        while True:
            yield from self.run(found.next())

    _describe(method, Generator[Event, None, None])
    return method


def async_iterating(
    feed: Callable[Concatenate[Calls, P], Feed],
) -> Callable[Concatenate[RunsAsync, P], AsyncGenerator[Event, None]]:
    """Make a feed an async generator of the async client."""

    @functools.wraps(feed)
    async def method(
        self: RunsAsync, /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncGenerator[Event, None]:
        found = feed(self.calls, *args, **kwargs)
        while True:
            for event in await self.run(found.next()):
                yield event

    _describe(method, AsyncGenerator[Event, None])
    return method


def listening(
    flow: Callable[Concatenate[Calls, P], Flow[None]],
) -> Callable[Concatenate[Runs, P], Listener]:
    """Make an endless flow a method that runs it in a thread."""

    @functools.wraps(flow)
    def method(self: Runs, /, *args: P.args, **kwargs: P.kwargs) -> Listener:
        return self.listen(flow(self.calls, *args, **kwargs))

    _describe(method, Listener)
    return method


def async_listening(
    flow: Callable[Concatenate[Calls, P], Flow[None]],
) -> Callable[Concatenate[RunsAsync, P], AsyncListener]:
    """Make an endless flow a method that runs it in a task."""

    @functools.wraps(flow)
    def method(self: RunsAsync, /, *args: P.args, **kwargs: P.kwargs) -> AsyncListener:
        return self.listen(flow(self.calls, *args, **kwargs))

    _describe(method, AsyncListener)
    return method


def _describe(method: Callable[..., Any], gives: Any) -> None:
    """Let `help` show what the method gives in place of what the flow does."""
    signature = inspect.signature(method)
    method.__dict__["__signature__"] = signature.replace(return_annotation=gives)
