"""Waiting for a state, instead of for some time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(look: Callable[[], T], *, within: float = 60.0, what: str = "the state") -> T:
    """Look until the answer is truthy and give it; fail after `within` seconds."""
    deadline = time.monotonic() + within
    pause = 0.01
    while True:
        if found := look():
            return found
        assert time.monotonic() < deadline, f"{what} did not come within {within} s"
        time.sleep(pause)
        pause = min(1.5 * pause, 0.05)
