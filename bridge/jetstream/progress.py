"""How far a consumer is known to have come, so that one that is lost is made again in its place."""

from bridge.jetstream.message import Message


class Progress:
    """What this process knows of one consumer's deliveries, as sequences of the stream.

    Deliveries of a consumer are numbered. As long as none is missing here, everything that it
    delivered went through this process, and what was not acknowledged is known as well. From the
    first gap on (another bridge serves the subscription too) nothing more is assumed: a consumer
    that begins too early repeats events, one that begins too late would lose them.
    """

    __slots__ = ("_expected", "_owed", "_passed", "epoch", "unanswered_since")

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.unanswered_since: float | None = None
        self._expected = 1
        self._passed = 0
        self._owed: set[int] = set()

    @property
    def resume_after(self) -> int | None:
        """The sequence that a new consumer may begin behind, None if nothing is known."""
        passed = min(self._owed, default=self._passed + 1) - 1
        return passed or None

    def began(self, after: int) -> None:
        """Note that the consumer was made anew behind a sequence."""
        self._passed = after
        self._expected = 1
        self._owed.clear()
        self.unanswered_since = None

    def unanswered(self, now: float) -> float:
        """Give the seconds since nobody answers for the consumer, which is told here."""
        if self.unanswered_since is None:
            self.unanswered_since = now
        return now - self.unanswered_since

    def note(self, message: Message) -> None:
        """Note a delivery, which is owed to its reader until it is acknowledged."""
        if message.consumer_sequence != self._expected:
            self._expected = 0  # no delivery has this number
            return
        self._expected += 1
        self._passed = max(self._passed, message.sequence)
        self._owed.add(message.sequence)
        message.on_ack = self._owed.discard
