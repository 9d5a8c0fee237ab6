"""The mirror: what the stream holds, in memory, found by position, type and correlation ID.

Pure: it is told of messages and of the time, and does no I/O. `tail.py` feeds it.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from heapq import heapify, heappop, heappush
from itertools import takewhile
from types import MappingProxyType
from typing import NamedTuple

from bridge.jetstream.log.index import NEWEST, Entry, Key, Sequences, key_for
from bridge.subjects import Address
from bridge.subscription import Selection

MAX_EVICTIONS_KEPT = 20_000
BYTES_SLACK = 1.05
TURN_ENTRIES = 1000
TURN_BYTES = 262_144
"""So many are looked at, or so much is read of them, before others should get their turn."""

SPARE_EXPIRIES = 1000
"""How many expiries are kept, beside twice the retained events, of events that are gone."""
SMALL = 1_000
"""A stream of so few events may be another one altogether within half a second."""


class Evicted(NamedTuple):
    """What is remembered of an event that the stream's limits pushed out."""

    sequence: int
    stored_at: float
    address: Address
    alias: str | None


class Mirror:
    """The retained events of one stream, oldest first.

    `earlier` are epochs from before restores, and up to which sequence positions of each are good.
    `max_messages` and `max_bytes` are -1 and `max_age` 0 for no limit; ages are in seconds.
    `loaded_from` is the first sequence that was retained when the mirror was filled: of evictions
    before it nothing is known.
    """

    def __init__(
        self,
        epoch: int,
        *,
        earlier: Mapping[int, int] = MappingProxyType({}),
        max_messages: int = -1,
        max_bytes: int = -1,
        max_age: float = 0,
        loaded_from: int = 1,
    ) -> None:
        self.epoch = epoch
        self._earlier = earlier
        self.max_messages = max_messages
        self.max_bytes = max_bytes
        self.max_age = max_age
        self.bytes = 0
        """The size of what is retained, as the server counts it."""
        self.loaded_from = loaded_from
        self.last_sequence = loaded_from - 1
        self._entries: dict[int, Entry] = {}
        self._expiries: list[tuple[float, int]] = []
        self._order: deque[int] = deque()
        self._index: dict[Key, Sequences] = {}
        self._evicted: deque[Evicted] = deque()
        self._oldest_known_eviction = loaded_from
        self._watchers: dict[Key, set[asyncio.Future[None]]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def has_known(self, epoch: int, sequence: int) -> bool:
        """Tell whether a sequence of this epoch is the same message's here."""
        return epoch == self.epoch or sequence <= self._earlier.get(epoch, -1)

    @property
    def first_sequence(self) -> int:
        """The oldest retained sequence, or one past the newest if nothing is retained."""
        order = self._order
        while order and order[0] not in self._entries:
            order.popleft()
        return order[0] if order else self.last_sequence + 1

    def may_have_lost(self, after: int) -> bool:
        """Tell whether events behind a position may be evicted, some unseen so far.

        The mirror may lag by half a second, in which a large stream loses no more than half.
        """
        room = self.max_messages if self.max_messages > 0 else len(self)
        full = self.loaded_from > 1 or self._evicted or room < SMALL or room <= 2 * len(self)
        return bool(full) and after < self.first_sequence + max(len(self) // 2, SMALL)

    def nothing_up_to(self, selection: Selection, after: int) -> int:
        """Give the sequence up to which nothing is retained, behind a position, for a selection.

        Of its filter only a pinned correlation ID is looked at.
        """
        sequences = self._index.get(key_for(selection))
        for sequence in sequences.between(after, NEWEST) if sequences is not None else ():
            entry = self._entries.get(sequence)
            if entry is not None and selection.covers(entry.address):
                return sequence - 1
        return self.last_sequence

    @property
    def is_watched(self) -> bool:
        """Whether anybody waits for the next event."""
        return bool(self._watchers)

    def add(self, entry: Entry) -> None:
        """Take in the stream's next message."""
        sequence = entry.sequence
        self._skip_to(sequence)
        self._entries[sequence] = entry
        self._order.append(sequence)
        self.bytes += entry.size
        heappush(self._expiries, (entry.expires_at, sequence))
        self.last_sequence = max(self.last_sequence, sequence)
        for key in entry.keys:
            sequences = self._index.get(key)
            if sequences is None:
                sequences = self._index[key] = Sequences()
            sequences.append(sequence)
        if self.max_messages > 0:
            while len(self._entries) > self.max_messages:
                self._evict(self.first_sequence)
        if self.max_bytes > 0:
            # With some room, so that nothing goes that the server keeps: what has just expired
            # there may still be counted here.
            while self.bytes > self.max_bytes * BYTES_SLACK:
                self._evict(self.first_sequence)
        if self._watchers:
            for key in entry.keys:
                self._wake(key)

    def expire(self, now: float) -> None:
        """Forget what no reader may see any more, by age or by its own TTL."""
        due = []
        while self._expiries and self._expiries[0][0] <= now:
            due.append(heappop(self._expiries)[1])
        for sequence in sorted(due):
            entry = self._entries.get(sequence)
            if entry is None:
                continue
            if self.max_age and entry.expires_at - entry.stored_at >= self.max_age:
                self._evict(sequence)
            else:
                del self._entries[sequence]
                self._forget(entry)
        if len(self._expiries) > 2 * len(self._entries) + SPARE_EXPIRIES:
            self._expiries = [(entry.expires_at, s) for s, entry in self._entries.items()]
            heapify(self._expiries)

    def cut_before(self, first: int) -> None:
        """Forget what is older than the stream's first retained sequence."""
        self._skip_to(first)
        while self._entries and self.first_sequence < first:
            self._evict(self.first_sequence)

    def has_type(self, project: str, event_type: str) -> bool:
        """Tell whether a project has retained events of a type."""
        return (project, "type", event_type) in self._index

    def types(self, project: str) -> Mapping[str, int]:
        """Count a project's retained events by type."""
        return {
            name: sequences.live
            for (of, kind, name), sequences in self._index.items()
            if kind == "type" and of == project
        }

    def by_sequence(self, sequence: int) -> Entry | None:
        """Give the entry at a sequence, if it is retained."""
        return self._entries.get(sequence)

    def by_id(self, project: str, event_id: str) -> Entry | None:
        """Give the newest retained event of a project with this ID."""
        sequences = self._index.get((project, "", ""))
        for sequence in sequences.backwards() if sequences is not None else ():
            entry = self._entries.get(sequence)
            if entry is not None and entry.event.event_id == event_id:
                return entry
        return None

    def before(self, moment: float) -> int:
        """Give the last sequence that was stored before a time in Unix seconds."""
        last = self.first_sequence - 1
        for sequence, entry in self._entries.items():
            if entry.stored_at >= moment:
                break
            last = sequence
        else:
            last = self.last_sequence
        return last

    def forwards(
        self, selection: Selection, after: int, now: float, last: int = NEWEST
    ) -> Iterator[Entry | None]:
        """Go through the events that match, oldest first, from behind a position to another.

        None comes in between, where so much was gone through that others should get their turn.
        """
        sequences = self._index.get(key_for(selection))
        if sequences is not None:
            yield from self._visible(sequences.between(after, last), selection, now)

    def backwards(
        self, selection: Selection, now: float, after: int = 0, last: int = NEWEST
    ) -> Iterator[Entry | None]:
        """Go through the events that match, newest first, as `forwards` does."""
        sequences = self._index.get(key_for(selection))
        if sequences is not None:
            yield from self._visible(sequences.backwards(after, last), selection, now)

    def lost(self, project: str, after: int) -> int | None:
        """Count a project's events behind a position that were evicted; None if unknown."""
        if after + 1 < self._oldest_known_eviction:
            return None
        return sum(
            gone.address.project == project and gone.alias is None
            for gone in self._evicted_after(after)
        )

    def lost_since(self, project: str, moment: float) -> int:
        """Count a project's events, stored at a time or later, that are known to be evicted."""
        return sum(
            gone.address.project == project and gone.alias is None and gone.stored_at >= moment
            for gone in self._evicted
        )

    def lost_to(self, selection: Selection, after: int) -> int | None:
        """Count events of a selection that were evicted behind a position; None if unknown.

        Of its filter only a pinned correlation ID is looked at.
        """
        if after + 1 < self._oldest_known_eviction:
            return None
        pin = selection.indexed_pin
        return sum(
            selection.covers(gone.address)
            and selection.is_for(gone.alias)
            and pin in (None, gone.address.correlation)
            for gone in self._evicted_after(after)
        )

    def _evicted_after(self, sequence: int) -> Iterator[Evicted]:
        return takewhile(lambda gone: gone.sequence > sequence, reversed(self._evicted))

    def watch(self, selection: Selection) -> asyncio.Future[None]:
        """Give a future that resolves when an event comes that may match; cancel it when done."""
        key = key_for(selection)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        watchers = self._watchers.setdefault(key, set())
        watchers.add(future)
        future.add_done_callback(lambda done: self._unwatch(key, done))
        return future

    def wake_all(self) -> None:
        """Resolve every watch, so that its reader looks again."""
        for key in list(self._watchers):
            self._wake(key)

    def _wake(self, key: Key) -> None:
        for future in list(self._watchers.get(key, ())):
            if not future.done():
                future.set_result(None)

    def _unwatch(self, key: Key, future: asyncio.Future[None]) -> None:
        watchers = self._watchers.get(key)
        if watchers is not None:
            watchers.discard(future)
            if not watchers:
                del self._watchers[key]

    def _visible(
        self, sequences: Iterable[int], selection: Selection, now: float
    ) -> Iterator[Entry | None]:
        looked = read = 0
        for sequence in sequences:
            entry = self._entries.get(sequence)
            if (
                entry is not None
                and entry.expires_at > now
                and selection.is_for(entry.alias)
                and selection.covers(entry.address)
            ):
                read += entry.size
                if not selection.filter or selection.passes(entry.event):
                    yield entry
            looked += 1
            if looked >= TURN_ENTRIES or read >= TURN_BYTES:
                looked = read = 0
                yield None

    def _evict(self, sequence: int) -> None:
        """Forget an event that the stream's limits pushed out, and remember that it was there."""
        entry = self._entries.pop(sequence)
        self._evicted.append(Evicted(sequence, entry.stored_at, entry.address, entry.alias))
        if len(self._evicted) > MAX_EVICTIONS_KEPT:
            dropped = self._evicted.popleft().sequence
            self._oldest_known_eviction = max(self._oldest_known_eviction, dropped + 1)
        self._forget(entry)

    def _skip_to(self, sequence: int) -> None:
        """Note that nothing is known of what lies between the newest entry and a sequence."""
        if sequence > self.last_sequence + 1:
            self._oldest_known_eviction = max(self._oldest_known_eviction, sequence)

    def _forget(self, entry: Entry) -> None:
        self.bytes -= entry.size
        first = self.first_sequence
        for key in entry.keys:
            sequences = self._index[key]
            sequences.live -= 1
            if not sequences.live:
                del self._index[key]
            else:
                sequences.cut(first)
