"""Bindings: a call that is written once as a flow becomes a method of either client."""

import functools
import inspect
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, get_args, get_type_hints

from bridge.client.calls import Calls
from bridge.client.flow import Flow
from bridge.client.listening import AsyncListener, Listener
from bridge.client.polling import EventFeed
from bridge.client.subscribing import AsyncSubscriber, Subscriber

P = ParamSpec("P")
T = TypeVar("T")


class Runs(Protocol):
    """A client that runs flows on this thread."""

    calls: Calls

    def run(self, flow: Flow[T]) -> T:
        """Run a flow to its end."""

    def listen(self, flow: Flow[None]) -> Listener:
        """Run a flow in the background."""

    def read(self, feed: EventFeed) -> Subscriber:
        """Make a feed an iterator."""


class RunsAsync(Protocol):
    """A client that runs flows on the event loop."""

    calls: Calls

    async def run(self, flow: Flow[T]) -> T:
        """Run a flow to its end."""

    def listen(self, flow: Flow[None]) -> AsyncListener:
        """Run a flow in the background."""

    def read(self, feed: EventFeed) -> AsyncSubscriber:
        """Make a feed an iterator."""


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


def subscribing(
    feed: Callable[Concatenate[Calls, P], EventFeed],
) -> Callable[Concatenate[Runs, P], Subscriber]:
    """Make a feed an iterator of the blocking client."""

    @functools.wraps(feed)
    def method(self: Runs, /, *args: P.args, **kwargs: P.kwargs) -> Subscriber:
        return self.read(feed(self.calls, *args, **kwargs))

    _describe(method, Subscriber)
    return method


def async_subscribing(
    feed: Callable[Concatenate[Calls, P], EventFeed],
) -> Callable[Concatenate[RunsAsync, P], AsyncSubscriber]:
    """Make a feed an async iterator of the async client."""

    @functools.wraps(feed)
    def method(self: RunsAsync, /, *args: P.args, **kwargs: P.kwargs) -> AsyncSubscriber:
        return self.read(feed(self.calls, *args, **kwargs))

    _describe(method, AsyncSubscriber)
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
    """Let `help` show what the method gives, and each option that it takes by name."""
    signature = inspect.signature(method)
    parameters = [each for found in signature.parameters.values() for each in _spread(found)]
    method.__dict__["__signature__"] = signature.replace(
        parameters=parameters, return_annotation=gives
    )
    method.__annotations__ = {**method.__annotations__, "return": gives}


def _spread(parameter: inspect.Parameter) -> Iterator[inspect.Parameter]:
    """Give an ordinary parameter as it is, and of `**options: Unpack[…]` each option."""
    if parameter.kind is not parameter.VAR_KEYWORD:
        yield parameter
        return
    for name, hint in get_type_hints(get_args(parameter.annotation)[0]).items():
        yield inspect.Parameter(name, parameter.KEYWORD_ONLY, default=None, annotation=hint)
