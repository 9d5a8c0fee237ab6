"""How far a consumer is known to have come, so that one that is lost is made again in its place."""

import asyncio
from collections.abc import Callable

from bridge.jetstream.message import Message

MAX_AHEAD = 64
"""Of so many deliveries behind a gap a note is kept until the gap is closed."""


class Progress:
    """What this process knows of one consumer's deliveries, as sequences of the stream.

    A consumer numbers its deliveries. As long as none is missing here, each is known to be
    acknowledged or owed; behind a gap nothing is assumed. A consumer that begins too early repeats
    events, one that begins too late would lose them.
    """

    __slots__ = (
        "_ahead",
        "_certain",
        "_expected",
        "_owed",
        "_passed",
        "accounted",
        "created",
        "unanswered_since",
    )

    def __init__(self) -> None:
        self.created = ""
        self.unanswered_since: float | None = None
        self.accounted = 0
        """Up to this sequence its reader was told of what had been evicted."""
        self._expected = 1
        self._passed: int | None = None
        self._certain = False
        self._owed: set[int] = set()
        self._ahead: dict[int, int] = {}

    @property
    def resume_after(self) -> int | None:
        """The sequence that a new consumer may begin behind, None if nothing is known."""
        if self._passed is None:
            return None
        return min(self._passed, min(self._owed, default=self._passed + 1) - 1)

    @property
    def has_gap(self) -> bool:
        """Whether deliveries are known behind one that is not."""
        return bool(self._ahead)

    def learn(self, created: str, number: int, sequence: int) -> None:
        """Note that deliveries are acknowledged up to one of this number, and to this sequence.

        `created` tells a consumer from an earlier one of the same name.
        """
        if created != self.created:
            self.created = created
            self._expected, self._passed = number + 1, sequence
        elif number >= self._expected:
            self._expected, self._passed = number + 1, max(self._passed or 0, sequence)
        self._ahead = {n: s for n, s in self._ahead.items() if n >= self._expected}
        self._certain = True
        self._close_gap()
        self.forget_owed(lambda owed: owed <= sequence)
        self.unanswered_since = None

    def doubt(self) -> None:
        """Keep what arrives until `learn` tells whether the consumer is another one by now."""
        if self._certain:
            self._ahead.clear()
        self._certain = False

    def note(self, message: Message) -> None:
        """Note a delivery to this process, owed to its reader until it is acknowledged."""
        self._owed.add(message.sequence)
        message.on_ack = self._owed.discard
        self._arrive(message.consumer_sequence, message.sequence)

    def note_ack(self, number: int, sequence: int) -> None:
        """Note that a delivery was acknowledged, through whichever bridge."""
        self._owed.discard(sequence)
        self._arrive(number, sequence)

    def unanswered(self) -> float:
        """Give the seconds since nobody answers for the consumer, which is told here."""
        now = asyncio.get_running_loop().time()
        if self.unanswered_since is None:
            self.unanswered_since = now
        return now - self.unanswered_since

    def forget_owed(self, settled: Callable[[int], bool]) -> None:
        """Forget what is owed and yet will not be acknowledged here, as `settled` tells."""
        self._owed.difference_update([owed for owed in self._owed if settled(owed)])

    def _arrive(self, number: int, sequence: int) -> None:
        if number < self._expected and self._certain:
            return
        if len(self._ahead) < MAX_AHEAD:
            self._ahead[number] = sequence
        if self._certain:
            self._close_gap()

    def _close_gap(self) -> None:
        while (sequence := self._ahead.pop(self._expected, None)) is not None:
            self._expected += 1
            self._passed = max(self._passed or 0, sequence)
