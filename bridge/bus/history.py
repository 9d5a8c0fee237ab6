"""History: retained events, either way, in answers of bounded size."""

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from bridge.bus.lean import ALL_FIELDS, Fields, Room
from bridge.bus.ports import EventLog, StoredEvent
from bridge.bus.positions import locate
from bridge.bus.rights import readable
from bridge.cursors import write_cursor
from bridge.events import Event
from bridge.subscription import Selection
from bridge.tokens import Principal

MAX_ANSWER_BYTES = 8 * 1024 * 1024
"""As much as a durable subscription is given at once; a bridge may write many answers."""


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """What of the retained events to show."""

    selection: Selection
    since: str | None = None
    until: str | None = None
    newest_first: bool = True
    limit: int = 20
    latest: bool = False
    """Only the newest event of each type and correlation ID: the present state."""
    deliveries: bool = False
    """Each event with what became of it."""
    max_bytes: int | None = None
    fields: Fields = ALL_FIELDS


@dataclass(frozen=True, slots=True)
class HistoryResult:
    """Some retained events; `next_cursor` is where the next page begins."""

    events: list[Event]
    more_available: bool
    next_cursor: str


class Filling:
    """The events of an answer: at most `limit`, and of more than one at most `max_bytes`.

    `among` has the sequences of those that may be in it, None for any.
    """

    def __init__(
        self,
        limit: int,
        max_bytes: int = MAX_ANSWER_BYTES,
        among: Collection[int] | None = None,
        room: Room | None = None,
    ) -> None:
        self._among = among
        self._lean = room
        self._limit = limit
        self._room = max_bytes
        self.events: list[Event] = []
        self.full = False
        """Whether there was another event, for which there was no room."""

    async def take(self, retained: Iterable[StoredEvent | None]) -> None:
        """Take events while there is room; others get their turn meanwhile."""
        for stored in retained:
            if stored is None:
                await asyncio.sleep(0)
            elif self._among is not None and stored.event.sequence not in self._among:
                continue
            elif not self._has_room(stored):
                self.full = True
                return
            else:
                self.events.append(stored.event)
                self._room -= stored.size

    def _has_room(self, stored: StoredEvent) -> bool:
        if len(self.events) == self._limit or (self.events and stored.size > self._room):
            return False
        return self._lean is None or self._lean.holds([*self.events, stored.event])


class History:
    """Shows what is retained. Touches no subscription."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    async def show(self, principal: Principal, query: HistoryQuery) -> HistoryResult:
        """Show retained events. Raises Forbidden, CursorInvalid or Unavailable."""
        log, selection = self._log, readable(principal, query.selection)
        await log.catch_up()
        lower = upper = None
        if query.since is not None:
            lower = (await locate(log, principal, query.since)).sequence
        if query.until is not None:
            upper = (await locate(log, principal, query.until)).sequence
        mirror, now = log.mirror, log.now()
        first = mirror.first_sequence - 1 if lower is None else lower
        last = log.last_sequence if upper is None else upper
        newest = None
        if query.latest:
            newest = await _newest(mirror.backwards(selection, now, first, last))
        room = None if query.max_bytes is None else Room(query.max_bytes, query.fields)
        filling = Filling(query.limit, among=newest, room=room)
        events = filling.events
        if query.newest_first:
            await filling.take(mirror.backwards(selection, now, first, last))
            edge = events[-1].sequence - 1 if events else first
        else:
            await filling.take(mirror.forwards(selection, first, now, last))
            edge = events[-1].sequence if filling.full else last
        return HistoryResult(events, filling.full, write_cursor(mirror.epoch, edge))


async def _newest(backwards: Iterable[StoredEvent | None]) -> set[int]:
    """Give the sequences of the newest event of each type and correlation ID."""
    found: dict[tuple[str, str | None], int] = {}
    for stored in backwards:
        if stored is None:
            await asyncio.sleep(0)
        else:
            event = stored.event
            found.setdefault((event.event_type, event.correlation_id), event.sequence)
    return set(found.values())
