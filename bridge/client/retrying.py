"""Trying again: how long to pause, and when to give up."""

import random
from collections.abc import Callable

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
_DOUBLINGS = 10


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
