"""Read marks: how far the stream was read, in sequences. Pure: they are told, and asked.

A reader may be told that nothing comes up to some place only if nothing can. There are three ways
to know: a message from there has arrived; a look behind the last message that arrived found
nothing, though the stream was known to end further on (what was there has expired or was deleted);
and what this process has stored itself, its readers are to see.
"""

import time
from collections.abc import Callable
from math import inf

LAG_SECONDS = 0.2
"""How long a consumer may not know of a message that its server has stored."""

CLUSTER_LAG_SECONDS = 2.0
"""How far the servers of a cluster may be behind each other."""


class ReadMarks:
    """How far one stream was read.

    `lags` are in seconds, of a single server and of a cluster; `clock` gives seconds.
    """

    __slots__ = (
        "_clock",
        "_empty_up_to",
        "_end_seen_at",
        "_lag",
        "_lags",
        "_must_reach",
        "arrived",
        "end",
        "stored_here",
    )

    def __init__(
        self,
        lags: tuple[float, float] = (LAG_SECONDS, CLUSTER_LAG_SECONDS),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._lags = lags
        self._lag = lags[False]
        self._end_seen_at = inf
        self.end = 0
        """The newest sequence that the stream was seen to have."""
        self._must_reach = 0
        self.begin_behind(0)

    def begin_behind(self, sequence: int) -> None:
        """Start over behind a sequence: what is read from now on is another stream, or anew."""
        self.arrived = sequence
        """The newest message that has arrived in order."""
        self._empty_up_to = 0
        self.stored_here = 0
        """The newest message that this process has stored."""

    @property
    def read(self) -> int:
        """How far the stream was read: nothing up to here is still to come.

        That may be further than its newest message, which can have expired or been deleted.
        """
        return max(self.arrived, self._empty_up_to)

    @property
    def caught_up(self) -> bool:
        """Whether everything was read that the stream held when a connection found it."""
        return self.read >= self._must_reach

    def note_stored(self, sequence: int) -> None:
        """Note that this process has stored a message."""
        self.stored_here = max(self.stored_here, sequence)

    def note_found(self, last_sequence: int) -> None:
        """Note the end of the stream that a new connection found."""
        self._must_reach = last_sequence

    def note_end(self, last_sequence: int, *, clustered: bool, behind: bool) -> None:
        """Note where the stream ends now; `behind` if some of its servers are known to be."""
        if behind:
            self._end_seen_at = inf  # its servers may be further apart than any lag
        elif last_sequence != self.end or self._end_seen_at == inf:
            self._end_seen_at = self._clock()
        self.end = last_sequence
        self._lag = self._lags[clustered]

    def note_nothing_behind(self, end: int) -> None:
        """Note that a look, begun when the stream was known to end at `end`, found nothing more.

        The consumer, or in a cluster its server, may have yet to hear of the newest messages: it
        counts only if that end was known for longer than they can be behind. Otherwise a cursor
        would be handed out that lies behind an event still to come.
        """
        if end == self.end and self._clock() - self._end_seen_at >= self._lag:
            self._empty_up_to = max(self._empty_up_to, end)
