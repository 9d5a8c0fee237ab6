"""The log's index: entries, and by which keys the sequences of those that match are found."""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import lru_cache
from sys import maxsize

from bridge.events import Event
from bridge.subjects import Address
from bridge.subscription import Selection

_COMPACT_AT = 512
NEWEST = maxsize

Key = tuple[str, str, str]
"""A project, a kind of index and what is looked up in it."""


class Entry:
    """A stored message with the server's times for it, in Unix seconds.

    `alias` is the second correlation ID that the message is a copy for, None on an event's first;
    `size` is its bytes as the server counts them.
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
        "size",
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
        size: int = 0,
    ) -> None:
        self.sequence = sequence
        self.size = size
        self.address = address
        self.read = read
        self.stored_at = stored_at
        self.expires_at = expires_at
        self.alias = alias
        self.keys = keys_of(address, alias)
        self._event: Event | None = None

    @property
    def event(self) -> Event:
        """The event in the message."""
        if self._event is None:
            self._event = self.read()
        return self._event


class Sequences:
    """Ascending sequences that share a key, with a head that is cut off lazily.

    `live` is how many of them are retained. Who goes through them may pause meanwhile.
    """

    __slots__ = ("_items", "_start", "live")

    def __init__(self) -> None:
        self._items: list[int] = []
        self._start = 0
        self.live = 0

    def append(self, sequence: int) -> None:
        """Take in the next."""
        self._items.append(sequence)
        self.live += 1

    def cut(self, first: int) -> None:
        """Forget sequences below `first`."""
        items, start = self._items, self._start
        if start < len(items) and items[start] < first:
            start += 1
            if start < len(items) and items[start] < first:
                start = bisect_right(items, first - 1, start)
            if start > _COMPACT_AT and start * 2 > len(items):
                self._items = items[start:]  # another list: somebody may be going through this one
                start = 0
            self._start = start

    def between(self, after: int, last: int) -> Iterator[int]:
        """Give those behind a position, up to another."""
        items = self._items
        for index in range(*self._bounds(items, after, last)):
            yield items[index]

    def backwards(self, after: int = 0, last: int = NEWEST) -> Iterator[int]:
        """Give the same, the newest first."""
        items = self._items
        for index in reversed(range(*self._bounds(items, after, last))):
            yield items[index]

    def _bounds(self, items: list[int], after: int, last: int) -> tuple[int, int]:
        start = bisect_right(items, after, self._start)
        return start, bisect_right(items, last, start)


@lru_cache(8192)
def keys_of(address: Address, alias: str | None) -> tuple[Key, ...]:
    """Give what an entry is found by: an alias by its correlation ID alone."""
    project, _, event_type, correlation = address
    keys: list[Key] = []
    if alias is None:
        keys = [(project, "", ""), (project, "type", event_type)]
    if correlation is not None and alias != "":
        keys.append((project, "correlation", correlation))
    return tuple(keys)


def key_for(selection: Selection) -> Key:
    """Choose the index that leaves the fewest events to look at."""
    if selection.indexed_pin is not None:
        return (selection.project, "correlation", selection.indexed_pin)
    if selection.types is not None and len(selection.types) == 1:
        return (selection.project, "type", selection.types[0])
    return (selection.project, "", "")
