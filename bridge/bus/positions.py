"""Positions: where in the stream a reader wants to begin or end, from the text it gave."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from bridge.bus.ports import EventLog, Retained
from bridge.bus.rights import may_see
from bridge.cursors import looks_like_cursor, read_cursor
from bridge.errors import CursorInvalid, Unavailable
from bridge.events import Gap
from bridge.tokens import Principal

_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_SPACE_FOR_PLUS = re.compile(r" (?=\d\d:?\d\d$)")
CATCH_UP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Position:
    """A place behind `sequence`; `gap` if what the reader asked for is gone."""

    sequence: int
    gap: Gap | None = None


async def locate(log: EventLog, principal: Principal, text: str) -> Position:
    """Find a position: a cursor, `earliest`, `now`, an RFC 3339 time or an event ID.

    A time without an offset is UTC. Raises CursorInvalid for anything else, such as an event that
    the agent may not see.
    """
    project = principal.project
    if text == "earliest":
        return Position(log.mirror.first_sequence - 1)
    if text == "now":
        return Position(log.last_sequence)
    if looks_like_cursor(text):
        return await _at_cursor(log, project, text)
    if _DATE.match(text):
        return _at_time(log.mirror, project, text)
    return await _at_event(log, principal, text)


async def _at_event(log: EventLog, principal: Principal, text: str) -> Position:
    """Find an event by its ID; one that looks like a bridge's own was there and is gone."""
    entry = log.mirror.by_id(principal.project, text)
    if entry is None:  # another replica may have stored it a moment ago
        await see(log, await log.ask_end())
        entry = log.mirror.by_id(principal.project, text)
    if entry is not None and may_see(principal, entry.event):
        return Position(entry.event.sequence)
    if _UUID.fullmatch(text):
        return Position(log.mirror.first_sequence - 1, Gap("evicted", None))
    raise CursorInvalid(
        f"{text[:80]!r} is not a position: no retained event of this project has that ID; if it "
        "had, read on from `earliest`. Use a `cursor` or `next_cursor` from an earlier answer "
        "exactly as given, an event ID, an RFC 3339 time such as 2026-01-31T12:00:00Z, `earliest` "
        "or `now`.",
        given=text[:80],
    )


async def _at_cursor(log: EventLog, project: str, text: str) -> Position:
    cursor = read_cursor(text)
    if cursor.epoch > log.epoch:  # of a stream that another replica has seen before us
        await log.ask_end()
    if cursor.epoch == log.epoch:
        await see(log, cursor.sequence)
    mirror = log.mirror
    oldest = mirror.first_sequence
    if not mirror.has_known(*cursor) or cursor.sequence > log.last_sequence:
        return Position(oldest - 1, Gap("stream_recreated", None))
    if cursor.sequence >= oldest - 1:
        return Position(cursor.sequence)
    lost = mirror.lost(project, cursor.sequence)
    return Position(oldest - 1, None if lost == 0 else Gap("evicted", lost))


async def see(log: EventLog, sequence: int) -> None:
    """Read as far as a cursor that another replica may have handed out.

    Raises Unavailable if this one is behind, which is no reason to think that the stream is.
    """
    if await log.reach(sequence, CATCH_UP_SECONDS):
        return
    if await log.ask_end() >= sequence:
        raise Unavailable("this bridge has not read as far as the cursor yet; try again")


def _at_time(retained: Retained, project: str, text: str) -> Position:
    try:
        # A `+` in a query string that nobody encoded arrives as a space.
        moment = datetime.fromisoformat(_SPACE_FOR_PLUS.sub("+", text))
    except ValueError as error:
        raise CursorInvalid(
            f"{text[:80]!r} is not an RFC 3339 time; write it like 2026-01-31T12:00:00Z",
            given=text[:80],
        ) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment.timestamp()
    lost = retained.lost_since(project, since)
    return Position(retained.before(since), Gap("evicted", lost) if lost else None)
