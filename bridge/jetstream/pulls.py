"""A pull: a request for some messages of one consumer (NATS ADR-37), and how it ends."""

import asyncio
import logging
from enum import Enum

from nats.aio.subscription import Subscription

from bridge.jetstream.natspy import NO_RESPONDERS

log = logging.getLogger("bridge.pulls")


class Ended(Enum):
    """Why a pull is over."""

    FULL = "all that was asked for arrived"
    EMPTY = "nothing more is there"
    EXPIRED = "its time is up"
    GONE = "there is no such consumer"
    LOST = "the server no longer knows of it"
    SILENT = "nobody has answered, though it should not have waited"


class Pull:
    """One request for up to `batch` messages; `ended` resolves when no more will come of it."""

    __slots__ = (
        "consumer",
        "deadline",
        "ended",
        "expires_at",
        "heard",
        "own",
        "patience",
        "remaining",
        "seen",
        "silence",
        "token",
        "waits",
        "why",
    )

    def __init__(
        self,
        token: str,
        consumer: str,
        batch: int,
        expires: float | None,
        silence: float,
        patience: float,
    ) -> None:
        now = asyncio.get_running_loop().time()
        self.token = token
        self.consumer = consumer
        self.remaining = self.seen = batch
        self.waits = expires is not None
        self.expires_at = now + (expires or 0.0)
        self.patience = patience
        self.deadline = self.expires_at + patience
        self.heard = now
        self.silence = silence
        self.why: Ended | None = None
        self.own: Subscription | None = None
        self.ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()

    def await_rest(self, why: Ended, left: int) -> bool:
        """Note that the server has ended it, for a reason, with `left` messages never to come.

        False if none is under way. A replicated consumer sends its messages once a quorum knows of
        their delivery, and the status that ends the pull at once, so that it overtakes them.
        """
        self.remaining = self.seen = self.remaining - left
        self.why, self.waits = why, False
        self.deadline = asyncio.get_running_loop().time() + self.patience
        return self.remaining > 0

    def end(self, why: Ended) -> None:
        """Say that no more comes of this pull; what is said first stands."""
        if not self.ended.done():
            self.ended.set_result(why)


def ended_by(status: str, description: str) -> Ended:
    """Sort the statuses of ADR-37: 404 and 408 are the ordinary ends of a pull."""
    if status == "404":
        return Ended.EMPTY
    if status == "408":
        return Ended.EXPIRED
    if status == NO_RESPONDERS or description.startswith("Consumer Deleted"):
        return Ended.GONE
    if description.startswith(("Batch Completed", "Message Size Exceeds MaxBytes")):
        return Ended.FULL
    log.debug("a pull ended with status %s %s", status, description)
    return Ended.LOST
