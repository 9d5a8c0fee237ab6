"""The publisher: puts events on the stream and says so only when JetStream has."""

import asyncio
import logging
from typing import NamedTuple

from bridge import subjects
from bridge.errors import Unavailable
from bridge.events import Event
from bridge.jetstream.acks import Acks
from bridge.jetstream.connection import ApiError
from bridge.jetstream.message import ALIAS_HEADER, ID_HEADER, TTL_HEADER, envelope
from bridge.jetstream.refusals import Refused

log = logging.getLogger("bridge.publisher")

ATTEMPT_SECONDS = 1.5
"""How long one attempt is waited for; the next has the same message ID and cannot store twice."""

PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 0.8


class Stored(NamedTuple):
    """JetStream's word that an event is stored at `sequence`, now or (`duplicate`) before."""

    sequence: int
    duplicate: bool
    attempts: int


class Publisher:
    """Publishes events; `timeout` bounds in seconds how long one may stay unconfirmed."""

    def __init__(self, acks: Acks, *, timeout: float) -> None:
        self._acks = acks
        self._timeout = timeout

    async def publish(self, event: Event, *, message_id: str, ttl: int | None) -> Stored:
        """Store an event; `ttl` in whole seconds if it is to go before the stream's own age.

        Raises Unavailable when JetStream did not confirm it in time, or is full; EventTooLarge
        when the server takes no message of this size, or not the alias that is to follow.
        """
        correlation, *others = event.correlation_ids or (None,)
        payload = envelope(event)
        if others:
            self._acks.check_size(payload, _alias_headers(message_id, ttl))
        return await self._store(event, correlation, payload, _headers(message_id, ttl))

    async def publish_alias(self, event: Event, *, message_id: str, ttl: int | None) -> None:
        """Store an event once more, as an alias under its second correlation ID.

        It comes after the event, so that a repeat under the same ID that is another event stores
        nothing. Raises Unavailable.
        """
        headers = _alias_headers(message_id, ttl)
        await self._store(event, event.correlation_ids[1], envelope(event), headers)

    async def _store(
        self, event: Event, correlation: str | None, payload: bytes, headers: dict[str, str]
    ) -> Stored:
        subject = subjects.event_subject(
            subjects.Address(event.project, event.topic, event.event_type, correlation)
        )
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        attempts = 0
        pause = PAUSE_SECONDS
        while True:
            attempts += 1
            wait = max(0.0, min(deadline - loop.time(), ATTEMPT_SECONDS))
            try:
                ack = await self._acks.publish(subject, payload, headers, wait)
                return Stored(ack.sequence, ack.duplicate, attempts)
            except Refused as error:
                raise Unavailable(
                    f"JetStream did not confirm the event: {error.message}; until then publishing "
                    "it again will not help",
                    retry_after=5,
                    event_id=event.event_id,
                ) from error
            except (TimeoutError, Unavailable) as error:  # either may pass
                if deadline - loop.time() <= pause:
                    raise self._unconfirmed(event.event_id) from error
                level = logging.INFO if attempts == 1 else logging.DEBUG
                log.log(level, "event %s is not confirmed yet; sending it again", event.event_id)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            except ApiError as error:
                raise Unavailable(
                    f"JetStream does not take the event: {error.description}; nothing was stored. "
                    "Once NATS has room again (its storage, or the account's limits), publish it "
                    f"again with event_id {event.event_id!r}",
                    retry_after=5,
                    event_id=event.event_id,
                ) from error

    @staticmethod
    def _unconfirmed(event_id: str) -> Unavailable:
        return Unavailable(
            "JetStream did not confirm the event, so it may or may not be stored; publish it again "
            f"with event_id {event_id!r}, which cannot store it twice",
            event_id=event_id,
        )


def _headers(message_id: str, ttl: int | None) -> dict[str, str]:
    headers = {ID_HEADER: message_id}
    if ttl is not None:
        headers[TTL_HEADER] = str(ttl)
    return headers


def _alias_headers(message_id: str, ttl: int | None) -> dict[str, str]:
    return {**_headers(f":{message_id}", ttl), ALIAS_HEADER: "1"}
