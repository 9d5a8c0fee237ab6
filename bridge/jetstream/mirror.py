"""The mirror: what the stream holds, in memory, found by position, type and correlation ID.

Pure: it is told of messages and of the time, and does no I/O. `tail.py` feeds it.
"""

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import takewhile
from typing import NamedTuple

from bridge.events import Event
from bridge.interest import Interest
from bridge.subjects import Address

_COMPACT_AT = 512
MAX_EVICTIONS_KEPT = 20_000

Key = tuple[str, str, str]


class Evicted(NamedTuple):
    """What is remembered of an event that the stream's limits pushed out."""

    sequence: int
    stored_at: float
    address: Address


class Entry:
    """A stored message with the server's times for it, in Unix seconds.

    `alias` is the second correlation ID that the message is a copy for, None on an event's first.
    The event inside is read when somebody asks for it: most are only counted and dropped.
    """

    __slots__ = (
        "_event",
        "address",
        "alias",
        "expires_at",
        "keys",
        "read",
        "sequence",
        "stored_at",
    )

    def __init__(
        self,
        sequence: int,
        address: Address,
        read: Callable[[], Event],
        *,
        stored_at: float,
        expires_at: float,
        alias: str | None = None,
    ) -> None:
        self.sequence = sequence
        self.address = address
        self.read = read
        self.stored_at = stored_at
        self.expires_at = expires_at
        self.alias = alias
        self.keys = _keys_of(address, alias)
        self._event: Event | None = None

    @property
    def event(self) -> Event:
        """The event in the message."""
        if self._event is None:
            self._event = self.read()
        return self._event


class _Sequences:
    """Ascending sequences that share a key, with a head that is cut off lazily."""

    __slots__ = ("_items", "_start")

    def __init__(self) -> None:
        self._items: list[int] = []
        self._start = 0

    def append(self, sequence: int) -> None:
        self._items.append(sequence)

    def cut(self, first: int) -> bool:
        """Forget sequences below `first`; False when none are left."""
        items, start = self._items, self._start
        if start < len(items) and items[start] < first:
            start += 1
            if start < len(items) and items[start] < first:
                start = bisect_right(items, first - 1, start)
            if start > _COMPACT_AT and start * 2 > len(items):
                del items[:start]
                start = 0
            self._start = start
        return start < len(items)

    def after(self, sequence: int) -> Iterator[int]:
        items = self._items
        for index in range(bisect_right(items, sequence, self._start), len(items)):
            yield items[index]

    def backwards(self) -> Iterator[int]:
        items = self._items
        for index in range(len(items) - 1, self._start - 1, -1):
            yield items[index]


class Mirror:
    """The retained events of one stream, oldest first.

    `max_messages` is -1 and `max_age` 0 for no limit; ages are in seconds. `loaded_from` is the
    first sequence that was retained when the mirror was filled: of evictions before it nothing is
    known.
    """

    def __init__(
        self, epoch: int, *, max_messages: int = -1, max_age: float = 0, loaded_from: int = 1
    ) -> None:
        self.epoch = epoch
        self.max_messages = max_messages
        self.max_age = max_age
        self.loaded_from = loaded_from
        self.last_sequence = loaded_from - 1
        self._entries: dict[int, Entry] = {}
        self._order: deque[int] = deque()
        self._index: dict[Key, _Sequences] = {}
        self._evicted: deque[Evicted] = deque()
        self._oldest_known_eviction = loaded_from
        self._watchers: dict[Key, set[asyncio.Future[None]]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def first_sequence(self) -> int:
        """The oldest retained sequence, or one past the newest if nothing is retained."""
        order = self._order
        while order and order[0] not in self._entries:
            order.popleft()
        return order[0] if order else self.last_sequence + 1

    @property
    def may_evict(self) -> bool:
        """Whether events were evicted, or so many are there that some may be by now."""
        return bool(self._evicted) or 0 < self.max_messages <= 2 * len(self)

    def is_old(self, sequence: int) -> bool:
        """Tell whether a sequence is among the older half, from where it may soon be evicted."""
        return sequence < self.first_sequence + len(self) // 2

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
        self.last_sequence = max(self.last_sequence, sequence)
        for key in entry.keys:
            sequences = self._index.get(key)
            if sequences is None:
                sequences = self._index[key] = _Sequences()
            sequences.append(sequence)
        if self.max_messages > 0:
            while len(self._entries) > self.max_messages:
                self._evict(self.first_sequence)
        if self._watchers:
            for key in entry.keys:
                self._wake(key)

    def expire(self, now: float) -> None:
        """Forget what no reader may see any more, by age or by its own TTL."""
        for sequence in [s for s, entry in self._entries.items() if entry.expires_at <= now]:
            entry = self._entries[sequence]
            if self.max_age and entry.expires_at - entry.stored_at >= self.max_age:
                self._evict(sequence)
            else:
                del self._entries[sequence]
        self._cut()

    def cut_before(self, first: int) -> None:
        """Forget what is older than the stream's first retained sequence."""
        self._skip_to(first)
        while self._entries and self.first_sequence < first:
            self._evict(self.first_sequence)
        self._cut()

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

    def forwards(self, interest: Interest, after: int, now: float) -> Iterator[Entry]:
        """Go through the events that match, oldest first, from behind a position."""
        sequences = self._index.get(_key_for(interest))
        if sequences is not None:
            yield from self._visible(sequences.after(after), interest, now)

    def backwards(self, interest: Interest, now: float) -> Iterator[Entry]:
        """Go through the events that match, newest first."""
        sequences = self._index.get(_key_for(interest))
        if sequences is not None:
            yield from self._visible(sequences.backwards(), interest, now)

    def lost(self, project: str, after: int) -> int | None:
        """Count a project's events behind a position that were evicted; None if unknown."""
        if after + 1 < self._oldest_known_eviction:
            return None
        return sum(gone.address.project == project for gone in self._evicted_after(after))

    def lost_since(self, project: str, moment: float) -> int:
        """Count a project's events, stored at a time or later, that are known to be evicted."""
        return sum(
            gone.address.project == project and gone.stored_at >= moment for gone in self._evicted
        )

    def lost_to(self, interest: Interest, after: int) -> int:
        """Count events behind a position that are known to be evicted, and were of an interest.

        Of its filter only a pinned correlation ID is looked at.
        """
        pin = interest.indexed_pin
        return sum(
            interest.covers(gone.address) and pin in (None, gone.address.correlation)
            for gone in self._evicted_after(after)
        )

    def _evicted_after(self, sequence: int) -> Iterator[Evicted]:
        return takewhile(lambda gone: gone.sequence > sequence, reversed(self._evicted))

    def watch(self, interest: Interest) -> asyncio.Future[None]:
        """Give a future that resolves when an event comes that may match; cancel it when done."""
        key = _key_for(interest)
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

    def _visible(self, sequences: Iterable[int], interest: Interest, now: float) -> Iterator[Entry]:
        for sequence in sequences:
            entry = self._entries.get(sequence)
            if (
                entry is not None
                and entry.expires_at > now
                and interest.is_for(entry.alias)
                and interest.covers(entry.address)
                and (not interest.filter or interest.passes(entry.event))
            ):
                yield entry

    def _evict(self, sequence: int) -> None:
        """Forget an event that the stream's limits pushed out, and remember that it was there."""
        entry = self._entries.pop(sequence)
        if entry.alias is None:
            self._evicted.append(Evicted(sequence, entry.stored_at, entry.address))
            if len(self._evicted) > MAX_EVICTIONS_KEPT:
                dropped = self._evicted.popleft().sequence
                self._oldest_known_eviction = max(self._oldest_known_eviction, dropped + 1)
        self._cut_keys(entry)

    def _skip_to(self, sequence: int) -> None:
        """Note that nothing is known of what lies between the newest entry and a sequence."""
        if sequence > self.last_sequence + 1:
            self._oldest_known_eviction = max(self._oldest_known_eviction, sequence)

    def _cut_keys(self, entry: Entry) -> None:
        first = self.first_sequence
        for key in entry.keys:
            sequences = self._index.get(key)
            if sequences is not None and not sequences.cut(first):
                del self._index[key]

    def _cut(self) -> None:
        first = self.first_sequence
        for key in [key for key, sequences in self._index.items() if not sequences.cut(first)]:
            del self._index[key]


@lru_cache(8192)
def _keys_of(address: Address, alias: str | None) -> tuple[Key, ...]:
    """Give what an entry is found by: an alias by its correlation ID alone."""
    project, _, event_type, correlation = address
    keys: list[Key] = []
    if alias is None:
        keys = [(project, "", ""), (project, "type", event_type)]
    if correlation is not None:
        keys.append((project, "correlation", correlation))
    return tuple(keys)


def _key_for(interest: Interest) -> Key:
    """Choose the index that leaves the fewest events to look at."""
    if interest.indexed_pin is not None:
        return (interest.project, "correlation", interest.indexed_pin)
    if interest.types is not None and len(interest.types) == 1:
        return (interest.project, "type", interest.types[0])
    return (interest.project, "", "")
