"""The mirror: what the stream holds, in memory, found by position, type and correlation ID.

Pure: it is told of messages and of the time, and does no I/O. `tail.py` feeds it.
"""

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bridge.events import Event
from bridge.interest import Interest

_COMPACT_AT = 512
MAX_EVICTIONS_KEPT = 20_000

Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Entry:
    """An event with the server's times for it, in Unix seconds."""

    event: Event
    stored_at: float
    expires_at: float
    is_alias: bool = False


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
        self._start = bisect_right(self._items, first - 1, self._start)
        if self._start > _COMPACT_AT and self._start * 2 > len(self._items):
            del self._items[: self._start]
            self._start = 0
        return self._start < len(self._items)

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
        self._ids: dict[tuple[str, str], int] = {}
        self._evicted: dict[str, deque[tuple[int, float]]] = {}
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

    def add(
        self, event: Event, stored_at: float, *, ttl: float | None = None, is_alias: bool = False
    ) -> None:
        """Take in the stream's next message; `ttl` is its own, in seconds, if it has one.

        An alias takes up its place in the stream and is shown to nobody.
        """
        life = ttl if ttl is not None else self.max_age or float("inf")
        entry = Entry(event, stored_at, stored_at + life, is_alias)
        self._entries[event.sequence] = entry
        self._order.append(event.sequence)
        self.last_sequence = max(self.last_sequence, event.sequence)
        keys: list[Key] = []
        if not is_alias:
            self._ids[event.project, event.event_id] = event.sequence
            keys = _keys_of(event)
        for key in keys:
            self._index.setdefault(key, _Sequences()).append(event.sequence)
        if self.max_messages > 0:
            while len(self._entries) > self.max_messages:
                self._evict(self.first_sequence)
        for key in keys:
            self._wake(key)

    def advance(self, sequence: int) -> None:
        """Note that the stream has come as far as `sequence`."""
        self.last_sequence = max(self.last_sequence, sequence)

    def expire(self, now: float) -> None:
        """Forget what no reader may see any more, by age or by its own TTL."""
        for sequence in [s for s, entry in self._entries.items() if entry.expires_at <= now]:
            entry = self._entries[sequence]
            if self.max_age and entry.expires_at - entry.stored_at >= self.max_age:
                self._evict(sequence)
            else:
                self._forget(sequence)
        self._cut()

    def cut_before(self, first: int) -> None:
        """Forget what is older than the stream's first retained sequence."""
        while self._entries and self.first_sequence < first:
            self._evict(self.first_sequence)
        self._cut()

    def by_sequence(self, sequence: int) -> Entry | None:
        """Give the entry at a sequence, if it is retained."""
        return self._entries.get(sequence)

    def by_id(self, project: str, event_id: str) -> Entry | None:
        """Give the newest retained event of a project with this ID."""
        sequence = self._ids.get((project, event_id))
        return None if sequence is None else self._entries.get(sequence)

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
        return sum(1 for sequence, _ in self._evicted.get(project, ()) if sequence > after)

    def lost_since(self, project: str, moment: float) -> int:
        """Count a project's events, stored at a time or later, that are known to be evicted."""
        return sum(1 for _, stored in self._evicted.get(project, ()) if stored >= moment)

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
            if entry and entry.expires_at > now and interest.accepts(entry.event):
                yield entry

    def _evict(self, sequence: int) -> None:
        """Forget an event that the stream's limits pushed out, and remember that it was there."""
        entry = self._entries[sequence]
        if not entry.is_alias:
            evicted = self._evicted.setdefault(entry.event.project, deque())
            evicted.append((sequence, entry.stored_at))
            if len(evicted) > MAX_EVICTIONS_KEPT:
                dropped, _ = evicted.popleft()
                self._oldest_known_eviction = max(self._oldest_known_eviction, dropped + 1)
        self._forget(sequence)
        self._cut_keys(entry.event)

    def _forget(self, sequence: int) -> None:
        event = self._entries.pop(sequence).event
        identity = (event.project, event.event_id)
        if self._ids.get(identity) == sequence:
            del self._ids[identity]

    def _cut_keys(self, event: Event) -> None:
        first = self.first_sequence
        for key in _keys_of(event):
            if key in self._index and not self._index[key].cut(first):
                del self._index[key]

    def _cut(self) -> None:
        first = self.first_sequence
        for key in [key for key, sequences in self._index.items() if not sequences.cut(first)]:
            del self._index[key]


def _keys_of(event: Event) -> list[Key]:
    project = event.project
    pins: list[Key] = [(project, "correlation", pin) for pin in event.correlation_ids]
    return [(project, "", ""), (project, "type", event.event_type), *pins]


def _key_for(interest: Interest) -> Key:
    """Choose the index that leaves the fewest events to look at."""
    if interest.indexed_pin is not None:
        return (interest.project, "correlation", interest.indexed_pin)
    if interest.types is not None and len(interest.types) == 1:
        return (interest.project, "type", interest.types[0])
    return (interest.project, "", "")
