"""Streams: every event that a selection wants, as it comes, from a position on."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from bridge.bus.ports import EventLog
from bridge.bus.positions import locate
from bridge.bus.presence import Presence
from bridge.cursors import write_cursor
from bridge.events import Event, Gap
from bridge.subscription import Selection
from bridge.tokens import Principal, Revocations

QUIET_SECONDS = 15.0
"""So often a reader is told how far it has come, where nothing else is."""


@dataclass(frozen=True, slots=True)
class Tidings:
    """What a stream tells: an event, a gap, or neither; `cursor` is where to go on in any case."""

    cursor: str
    event: Event | None = None
    gap: Gap | None = None


class Streams:
    """Streams of every agent that asks this bridge; nothing of them is kept anywhere."""

    def __init__(
        self,
        log: EventLog,
        presence: Presence,
        revoked: Revocations,
        quiet: float = QUIET_SECONDS,
    ) -> None:
        self._log = log
        self._presence = presence
        self._revoked = revoked
        self._quiet = quiet
        self.draining = False
        """Whether every stream is to end now."""

    async def read(
        self, principal: Principal, selection: Selection, since: str
    ) -> AsyncIterator[Tidings]:
        """Tell of events until the bridge drains.

        Raises CursorInvalid, Unavailable, or TokenInvalid once its token is revoked.
        """
        log = self._log
        await log.catch_up()
        position = await locate(log, principal, since)
        after, mirror = position.sequence, log.mirror
        with self._presence.waiting(principal, selection, None):
            yield Tidings(write_cursor(mirror.epoch, after), gap=position.gap)
            while not self.draining and self._revoked.of(principal) is None:
                gap: Gap | None = None
                if log.epoch != mirror.epoch:
                    mirror, after = log.mirror, log.mirror.first_sequence - 1
                    gap = Gap("stream_recreated", None)
                elif after + 1 < mirror.first_sequence:
                    lost = mirror.lost(selection.project, after)
                    after = mirror.first_sequence - 1
                    gap = None if lost == 0 else Gap("evicted", lost)
                if gap is not None:
                    yield Tidings(write_cursor(mirror.epoch, after), gap=gap)
                last = log.last_sequence
                for stored in mirror.forwards(selection, after, log.now(), last):
                    if stored is None:
                        await asyncio.sleep(0)
                        continue
                    after = stored.event.sequence
                    yield Tidings(stored.event.cursor, stored.event)
                    if self._is_behind(mirror.epoch, after) or self._revoked.of(principal):
                        break
                else:
                    after = max(after, last)
                    if log.last_sequence == last and not self.draining:
                        coming = log.watch(selection)
                        with contextlib.suppress(TimeoutError):
                            await asyncio.wait_for(coming, self._quiet)
                        if not coming.done() or coming.cancelled():
                            after = max(after, log.last_sequence)
                            yield Tidings(write_cursor(mirror.epoch, after))
        self._revoked.check(principal)

    def _is_behind(self, epoch: int, after: int) -> bool:
        """Tell whether a slow reader has to be told what it missed, before it goes on."""
        return epoch != self._log.epoch or after + 1 < self._log.mirror.first_sequence
