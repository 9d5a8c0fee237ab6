"""The stream check: does the stream answer, and is it the one that was read?.

No message tells of a purge, of a deletion, of another stream under the same name, or that a quorum
is lost while the connection stands.
"""

import asyncio
import logging

from bridge.errors import Unavailable
from bridge.jetstream.connection import Connection, Unanswered
from bridge.jetstream.log.tail import Tail
from bridge.jetstream.stream import StreamState

log = logging.getLogger("bridge.stream_check")

LOOK_SECONDS = 3.0
ANSWER_SECONDS = 3.0
"""A stream that does not answer for so long cannot take events either."""

LOOK_AGAIN_SECONDS = 0.5
TROUBLE_SECONDS = 8.0
"""After so long without an answer another server is tried: this one may be cut off."""


class StreamCheck:
    """Asks the stream how it stands; `trouble` says why it could not be asked, empty if it could.

    A server that does not even answer a ping is left at once, one at which JetStream does not
    answer after `patience` seconds: its peers may have a leader that it does not know of.
    """

    def __init__(
        self,
        connection: Connection,
        tail: Tail,
        *,
        look: float = LOOK_SECONDS,
        answer: float = ANSWER_SECONDS,
        look_again: float = LOOK_AGAIN_SECONDS,
        patience: float = TROUBLE_SECONDS,
    ) -> None:
        self._pauses = {False: look, True: look_again}
        self._answer = answer
        self._patience = patience
        self._connection = connection
        self._tail = tail
        self._since = 0.0
        self.trouble = ""

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(self._pauses[bool(self.trouble)])
            if not self._connection.is_up or not self._tail.epoch:
                continue
            try:
                self.see(await self._tail.verify(self._answer))
            except Unavailable as error:
                self._note(str(error))
                if isinstance(error, Unanswered):
                    await self._connection.check()
            if self.trouble and asyncio.get_running_loop().time() - self._since > self._patience:
                log.warning("that has been so for long; trying another NATS server")
                self._since = asyncio.get_running_loop().time()  # the next one has its own time
                await self._connection.leave()

    def see(self, state: StreamState) -> None:
        """Note how the stream stands: one without leader or quorum answers, and takes no events."""
        if state.trouble:
            self._note(state.trouble)
        elif self.trouble:
            log.info("the stream can take events again")
            self.trouble = ""

    def _note(self, trouble: str) -> None:
        if not self.trouble:
            log.warning("not ready: %s", trouble)
            self._since = asyncio.get_running_loop().time()
        self.trouble = trouble
