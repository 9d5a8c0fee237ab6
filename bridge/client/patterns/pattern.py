"""What makes a flow a pattern: a function of either client."""

import functools
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from bridge.client.calls import Calls
from bridge.client.clients import AsyncEventClient, EventClient
from bridge.client.flow import Flow
from bridge.suggest import quoted

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Pattern(Protocol[P, T_co]):
    """A function of a client that gives a result, to be awaited with the async client."""

    @overload
    def __call__(self, client: EventClient, /, *args: P.args, **kwargs: P.kwargs) -> T_co: ...

    @overload
    def __call__(
        self, client: AsyncEventClient, /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, T_co]: ...


def pattern(flow: Callable[Concatenate[Calls, P], Flow[T]]) -> Pattern[P, T]:
    """Make a pattern of a flow of calls."""

    @functools.wraps(flow)
    def run(
        client: EventClient | AsyncEventClient, /, *args: P.args, **kwargs: P.kwargs
    ) -> T | Coroutine[Any, Any, T]:
        return client.run(flow(client.calls, *args, **kwargs))

    return run  # type: ignore[return-value]  # which of the two it gives is the client's to say


def correlated(correlation_id: str, *terms: tuple[str, str]) -> str:
    """Write the filter for events of one correlation ID, with further `field:value` terms.

    >>> print(correlated("issue-1", ("agent_type", "qa")))
    agent_type:"qa",correlation_id:"issue-1"
    """
    every = (*terms, ("correlation_id", correlation_id))
    return ",".join(f"{name}:{quoted(value)}" for name, value in every)
