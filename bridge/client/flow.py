"""Flows: what a call to the bridge is made of, for whoever runs it with or without asyncio.

A flow is a generator that yields steps and is sent what came of each; nothing in it does I/O. One
flow therefore serves the blocking client and the async one.
"""

import random
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
_DOUBLINGS = 10


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
    anyway: bool = False
    """Whether it is sent also where the flow is being stopped."""


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
    anyway: bool = False
    """Whether the flow goes on behind it also where it is being stopped."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of the caller's own function; the async client awaits what it gives if it can.

    The reply is what the function gave; what it raises is thrown into the flow. While it lasts the
    flow that `keep` makes is run every so many seconds, if there is one.
    """

    function: Callable[..., Any]
    argument: Any
    every: float = 0.0
    keep: Callable[[], "Flow[None]"] | None = None


Step: TypeAlias = Request | Sleep | Call
Flow: TypeAlias = Generator[Step, Any, T]


def send(request: Request) -> Flow[Answer]:
    """Send a request and give the answer. Raises Unreachable."""
    answer: Answer = yield request
    return answer


class Deadline:
    """An instant, `seconds` from now; None is never."""

    def __init__(self, clock: Callable[[], float], seconds: float | None) -> None:
        self._clock = clock
        self._at = float("inf") if seconds is None else clock() + seconds

    @property
    def left(self) -> float:
        """The seconds until then, below 0 once it has passed."""
        return self._at - self._clock()


class Backoff:
    """Pauses between tries: exponential, capped, with full jitter, so that clients spread out.

    Full jitter is from AWS Architecture Blog, "Exponential Backoff And Jitter" (2015).
    """

    def __init__(self, uniform: Callable[[float, float], float] = random.uniform) -> None:
        self._uniform = uniform
        self._failures = 0

    def reset(self) -> None:
        """Begin again with short pauses: something went well."""
        self._failures = 0

    def pause(self) -> float:
        """Give the next pause in seconds."""
        longest = FIRST_PAUSE_SECONDS * 2 ** min(self._failures, _DOUBLINGS)
        self._failures += 1
        return self._uniform(0, min(longest, LONGEST_PAUSE_SECONDS))

    def after(self, error: Exception, left: float) -> float:
        """Give the pause in seconds after a failure, of at most `left`.

        Not before the time that the bridge named with Retry-After. Raises the error itself when
        there is no time for another try.
        """
        told: float = getattr(error, "retry_after", 0.0)
        if left <= 0 or told > left:
            raise error
        return min(told + self.pause(), left)
