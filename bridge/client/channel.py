"""The channel: every request carries a token that is still good, every failure is typed."""

import logging
import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bridge.client.answers import Token, made
from bridge.client.flow import Answer, Backoff, Deadline, Flow, Request, Sleep, send
from bridge.client.identity import Credentials
from bridge.client.replies import TRANSIENT, Unreachable, read
from bridge.errors import BridgeError, NotFound

log = logging.getLogger("bridge.client")


class Channel:
    """Asks the bridge; `retry_for` is in seconds, `clock` a monotonic clock in seconds.

    `client` is whose channel it is: leased events are settled with its methods.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        retry_for: float,
        clock: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = random.uniform,
        client: Any = None,
    ) -> None:
        self.client = client
        self.credentials = credentials
        self.clock = clock
        self.answered = self._told = False
        self._retry_for = retry_for
        self._uniform = uniform

    def deadline(self, seconds: float | None) -> Deadline:
        """Make a deadline so many seconds from now; None is never."""
        return Deadline(self.clock, seconds)

    def backoff(self) -> Backoff:
        """Make the pauses of one call."""
        return Backoff(self._uniform)

    def once(self, request: Request) -> Flow[Any]:
        """Ask once and give the answer's JSON. Raises Unreachable or the bridge's error."""
        yield from self.renew_if_due()
        return read((yield from self.ask(replace(request, token=self.credentials.token))))

    def ask(self, request: Request) -> Flow[Answer]:
        """Send a request as it is and give the answer, whatever it says. Raises Unreachable."""
        answer = yield from send(request)
        self.answered = True
        return answer

    def check(self, error: Exception, *, forever: bool = False) -> None:
        """Raise an error that tells of a bridge which never answered, and refuses connections.

        It is not there, so waiting for it in silence helps nobody; one that has answered before
        will come back. Who waits `forever` is told in the log, and goes on.
        """
        if self.answered or not isinstance(error, Unreachable) or not error.refused:
            return
        if not forever:
            raise error
        if not self._told:
            self._told = True
            log.warning("%s; it is waited for", error.message)

    def insist(self, request: Request) -> Flow[Any]:
        """Ask until there is an answer, or `retry_for` is over: then raise the last error.

        Only what may go well next time is tried again: 503 and the like, 429, no answer. What a
        DELETE does not find after a try whose answer was lost, that try has deleted.
        """
        in_doubt = False
        deadline, backoff = self.deadline(self._retry_for), self.backoff()
        while True:
            seconds = max(1.0, min(request.read_seconds, deadline.left))
            try:
                return (yield from self.once(replace(request, read_seconds=seconds)))
            except NotFound:
                if not in_doubt:
                    raise
                return None
            except TRANSIENT as error:
                self.check(error)
                in_doubt = request.method == "DELETE"
                pause = backoff.after(error, deadline.left)
                log.info("%s: again in %.1f s", error.message, pause)
                yield Sleep(pause, anyway=request.anyway)

    def refresh(self) -> Flow[Token]:
        """Have the token renewed and use the new one from now on. Raises as `once` does."""
        request = Request("POST", "/tokens/refresh", token=self.credentials.token)
        token = made(Token, read((yield from self.ask(request))))
        self.credentials.take(token.token)
        return token

    def renew_if_due(self) -> Flow[None]:
        """Renew the token when it is time, if the bridge can; the old one is good for a while."""
        if not self.credentials.due:
            return
        self.credentials.postpone()  # now, so that other threads do not ask as well
        try:
            yield from self.refresh()
        except TRANSIENT as error:
            log.info("the token was not renewed yet: %s", error.message)
        except BridgeError as error:
            self.credentials.keep()
            log.info("the token stays as it is until it expires: %s", error.message)
