"""The circuit breaker: stop asking what keeps failing, and try it again after a while."""

import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Literal, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

State = Literal["closed", "open", "half_open"]


class BreakerOpen(Exception):
    """The call was not made: too many before it failed. `retry_after` is in seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(
            f"the circuit breaker is open after too many failures; try again in {retry_after:.1f} s"
        )
        self.retry_after = retry_after


class EventCircuitBreaker:
    """A circuit breaker for calls of a client, blocking and async alike.

    Event System Guide, "Circuit Breaker Pattern". Closed, it lets calls through; after
    `failure_threshold` failures in a row it opens and refuses them with BreakerOpen. `timeout`
    seconds after the last failure it is half open: one call is let through, whose success closes
    it and whose failure opens it again. It may be shared by threads; `clock` is a monotonic clock
    in seconds.

    >>> from bridge.client import EventClient
    >>> from bridge.client.patterns import EventCircuitBreaker
    >>> breaker = EventCircuitBreaker(failure_threshold=5, timeout=60)
    >>> with EventClient() as client:
    ...     batch = breaker.call(client.wait, "implementation_complete", timeout=0.1)
    >>> breaker.state, batch.timeout
    ('closed', True)
    """

    def __init__(
        self,
        failure_threshold: int = 5,
        timeout: float = 60.0,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.failure_threshold = failure_threshold
        self.timeout = timeout
        self._clock = clock
        self._failures = 0
        self._failed_at = 0.0
        self._trying = False
        self._lock = threading.Lock()

    @property
    def state(self) -> State:
        """Whether calls are let through, refused, or one is tried."""
        if self._failures < self.failure_threshold:
            return "closed"
        return "half_open" if self._trying or self._left() <= 0 else "open"

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function. Raises what it raises, or BreakerOpen."""
        with self._guard():
            return function(*args, **kwargs)

    async def call_async(
        self, function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call the function and await what it gives. Raises what it raises, or BreakerOpen."""
        with self._guard():
            return await function(*args, **kwargs)

    @contextmanager
    def _guard(self) -> Iterator[None]:
        trial = self._enter()
        try:
            yield
        except Exception:
            self._failed()
            raise
        else:
            self._succeeded()
        finally:  # a call that was cancelled says nothing, but its place must be free again
            if trial:
                self._trying = False

    def _enter(self) -> bool:
        """Let a call through, and tell whether it is the half-open one."""
        with self._lock:
            if self._failures < self.failure_threshold:
                return False
            if self._trying or self._left() > 0:
                raise BreakerOpen(max(0.0, self._left()))
            self._trying = True
            return True

    def _left(self) -> float:
        return self._failed_at + self.timeout - self._clock()

    def _failed(self) -> None:
        with self._lock:
            self._failures += 1
            self._failed_at = self._clock()

    def _succeeded(self) -> None:
        with self._lock:
            self._failures = 0
