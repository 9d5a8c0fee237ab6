"""Steps: what a call to the bridge is made of, for whoever runs it with or without asyncio.

A flow is a generator that yields steps and is sent what came of each; nothing in it does I/O. One
flow therefore serves the blocking client and the async one.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request; `path` is below the bridge's API, or below its root if `outside`.

    `read_seconds` is how long the answer may take. The reply is an `Answer`; `Unreachable` is
    thrown into the flow if there is none.
    """

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    read_seconds: float = 15.0
    outside: bool = False
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, whole; `headers` take names in any case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


@dataclass(frozen=True, slots=True)
class Sleep:
    """A pause in seconds. The reply is None."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Call:
    """A call of the caller's own function; the async client awaits what it gives if it can.

    The reply is what the function gave; what it raises is thrown into the flow.
    """

    function: Callable[..., Any]
    argument: Any


Step: TypeAlias = Request | Sleep | Call
Flow: TypeAlias = Generator[Step, Any, T]


def send(request: Request) -> Flow[Answer]:
    """Send a request and give the answer. Raises Unreachable."""
    answer: Answer = yield request
    return answer
