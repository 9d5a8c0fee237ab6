"""Delivery marks: how far subscriptions have come, through whichever consumer and bridge.

They answer two questions. Where may a consumer begin that replaces a lost one? And has an event
that is delivered been given before? nats-server writes how a consumer stands later than it takes an
acknowledgement, so one that was killed delivers again what was acknowledged, as if for the first
time; and a consumer that is made anew knows nothing of the one before it.

Pure: they are told, and asked.
"""

from collections.abc import Callable

from bridge.jetstream.subscriptions.consumers import ConsumerState

MAX_AHEAD = 64
"""Of so many deliveries behind a gap a note is kept until the gap is closed."""

MAX_DONE = 1000
"""Of so many leases that ended well, of each subscription, this process knows which they were."""

MAX_SUBSCRIPTIONS = 10_000
"""Of so many subscriptions this process knows how far they have come."""


class DeliveryMarks:
    """What this process knows of one subscription's deliveries, as sequences of the stream.

    A consumer numbers its deliveries. As long as none is missing here, each is known to be
    acknowledged or owed; behind a gap nothing is assumed. A consumer that begins too early repeats
    events, one that begins too late would lose them.
    """

    __slots__ = (
        "_ahead",
        "_certain",
        "_done",
        "_expected",
        "_open",
        "_owed",
        "_passed",
        "_settled",
        "accounted",
        "created",
        "given_before",
        "unanswered_since",
    )

    def __init__(self, given_before: float = 0.0) -> None:
        self.created = ""
        self.given_before = given_before
        """What was stored before this moment, in Unix seconds, may have been given before."""
        self.unanswered_since: float | None = None
        """Since when nobody answers for the consumer, by whichever clock its reader has."""
        self.accounted = 0
        """Up to this sequence nothing was lost, or its reader was told."""
        self._expected = 1
        self._passed: int | None = None
        self._certain = False
        self._owed: set[int] = set()
        self._ahead: dict[int, int] = {}
        self._settled = 0  # up to here everything was acknowledged, but for what is open
        self._open: set[int] = set()
        self._done: dict[int, None] = {}  # what was acknowledged behind that, the latest last

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

    def learn(self, created: str, number: int, sequence: int, *, again: bool = False) -> None:
        """Note that deliveries are acknowledged up to one of this number, and to this sequence.

        `created` tells a consumer from an earlier one of the same name; `again` says that it was
        made in the place of a lost one. Otherwise its subscription has begun anew, and what was
        acknowledged before is to be given once more.
        """
        if created != self.created:
            if not again:
                self.accounted = self._settled = 0
                self._open.clear()
                if self.created:  # other bridges may have told what is done before
                    self._done.clear()
            self.given_before = 0.0
            self.created = created
            self._expected, self._passed = number + 1, sequence
        elif number >= self._expected:
            self._expected, self._passed = number + 1, max(self._passed or 0, sequence)
        self._settled = max(self._settled, self._passed or 0)
        self._open = {left for left in self._open if left > sequence}
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

    def went_back(self, number: int) -> bool:
        """Tell whether a delivery has a number that was given before.

        Then the consumer has forgotten some, or is another one.
        """
        return self._certain and number < self._expected

    def go_back(self, number: int, now: float) -> None:
        """Note that the same consumer counts on from a delivery that was none of its latest."""
        self._expected = min(self._expected, number)
        self._ahead.clear()
        self.given_before = max(self.given_before, now)

    def may_be_repeat(self, stored_at: float) -> bool:
        """Tell whether an event of this age, in Unix seconds, may have been given before."""
        return stored_at < self.given_before

    def note(self, number: int, sequence: int) -> bool:
        """Note a delivery to this process, owed to its reader until it is acknowledged.

        False if it is known to be acknowledged: its reader has had it.
        """
        settled = self._certain and self.is_settled(sequence)
        if not settled:
            self._owed.add(sequence)
            self._open.add(sequence)
        self._arrive(number, sequence)
        return not settled

    def acknowledge(self, sequence: int) -> None:
        """Note that an event was acknowledged."""
        self._owed.discard(sequence)
        self._open.discard(sequence)

    def note_ack(self, number: int, sequence: int) -> None:
        """Note that a delivery was acknowledged, through whichever bridge."""
        self.acknowledge(sequence)
        self._arrive(number, sequence)

    def note_done(self, sequence: int) -> None:
        """Note that an event was acknowledged for good, whatever its server will remember."""
        self.acknowledge(sequence)
        self._done[sequence] = None
        if len(self._done) > MAX_DONE:
            del self._done[next(iter(self._done))]

    def is_settled(self, sequence: int) -> bool:
        """Tell whether an event is known to be acknowledged."""
        passed = sequence <= self._settled and sequence not in self._open
        return passed or sequence in self._done

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
            self._settled = max(self._settled, self._passed)


class KnownMarks:
    """The delivery marks of subscriptions by name, those in use last."""

    def __init__(self) -> None:
        self._marks: dict[str, DeliveryMarks] = {}
        self.restarted_at = 0.0
        """When the server was started again, in Unix seconds by its clock, as far as is known."""

    def clear(self) -> None:
        """Forget everything: the stream is another one now."""
        self._marks.clear()
        self.restarted_at = 0.0

    def note_restart(self, now: float) -> None:
        """Note that NATS was started again; `now` is in Unix seconds by its clock.

        A server that was killed may have forgotten deliveries, through this or other bridges, of
        what it held.
        """
        self.restarted_at = max(self.restarted_at, now)
        for marks in self._marks.values():
            marks.given_before = max(marks.given_before, now)

    def of(self, name: str) -> DeliveryMarks:
        """Give what is known of a subscription's consumer, which may be nothing."""
        known = self._marks.pop(name, None) or DeliveryMarks(self.restarted_at)
        self._marks[name] = known
        if len(self._marks) > MAX_SUBSCRIPTIONS:
            del self._marks[next(iter(self._marks))]
        return known

    def forget(self, name: str) -> None:
        """Forget a subscription: it is to begin anew."""
        self._marks.pop(name, None)

    def learn(self, state: ConsumerState) -> None:
        """Take over how a consumer stands."""
        marks = self.of(state.name)
        marks.learn(state.created, *state.floor, again=state.made_again)
        marks.accounted = max(marks.accounted, state.accounted)
        since = self.restarted_at if state.created_at < self.restarted_at else 0.0
        marks.given_before = max(marks.given_before, state.given_before, since)

    def doubt(self, name: str) -> bool:
        """Note that a consumer may be another one by now; False if nothing was known of it."""
        known = name in self._marks
        self.of(name).doubt()
        return known

    def note_ack(self, name: str, number: int, sequence: int) -> None:
        """Note that a delivery was acknowledged, of a subscription that is known."""
        if (marks := self._marks.get(name)) is not None:
            marks.note_ack(number, sequence)

    def with_gaps(self) -> list[str]:
        """Name the subscriptions of which this process has not seen it all."""
        return [name for name, marks in self._marks.items() if marks.has_gap]
