"""The publisher: puts events on the stream and says so only when JetStream has."""

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple

import orjson
from nats.aio.msg import Msg

from bridge import subjects
from bridge.errors import EventTooLarge, Unavailable
from bridge.events import Event
from bridge.jetstream.confirmations import Confirmations
from bridge.jetstream.connection import ApiError, Connection
from bridge.jetstream.message import ALIAS_HEADER, ONLY_HEADER, TRACE_HEADERS, TTL_HEADER, envelope
from bridge.jetstream.natspy import ID_HEADER, NatsClient, header_block
from bridge.jetstream.refusals import Refused

log = logging.getLogger("bridge.publisher")

ATTEMPT_SECONDS = 1.5
"""How long one attempt is waited for; the next has the same message ID and cannot store twice."""

PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 0.8
IN_PROCESS = 10158
"""JetStream's word for a message ID that it has, and has not stored on enough servers yet."""

ENVELOPE_BYTES = 8192
"""Room for what an event's body does not have: who published it and when, and NATS's headers."""


class Ack(NamedTuple):
    """JetStream has stored a message at `sequence`, or had it before (`duplicate`)."""

    sequence: int
    duplicate: bool


class Stored(NamedTuple):
    """JetStream's word that an event is stored at `sequence`, now or (`duplicate`) before."""

    sequence: int
    duplicate: bool
    attempts: int


class Outgoing:
    """An event as what is sent: under its first correlation ID, then an alias under each other.

    Each of `messages` is a subject and headers as they are sent; the payload is the same.
    """

    __slots__ = ("_publisher", "event_id", "messages", "payload")

    def __init__(
        self,
        publisher: "Publisher",
        event_id: str,
        payload: bytes,
        messages: list[tuple[str, bytes]],
    ) -> None:
        self._publisher = publisher
        self.event_id = event_id
        self.payload = payload
        self.messages = messages

    def check_size(self) -> None:
        """Raise EventTooLarge if the server does not take one of the event's messages."""
        for _, headers in self.messages:
            self._publisher.check_size(self.payload, headers)

    async def store(self) -> Stored:
        """Store the event.

        Raises Unavailable when JetStream did not confirm it in time, or is full; EventTooLarge
        when the server takes no message of this size, or not the alias that is to follow.
        """
        if len(self.messages) > 1:
            self.check_size()
        return await self._publisher.send(self, 0)

    async def store_aliases(self) -> None:
        """Store the event once more under each further correlation ID. Raises Unavailable.

        They come after the event, so that a repeat under the same ID that is another event stores
        nothing.
        """
        for number in range(1, len(self.messages)):
            await self._publisher.send(self, number)


class Publisher:
    """Publishes events; `timeout` bounds in seconds how long one may stay unconfirmed.

    An event's own TTL is given to NATS if it ends before `max_age` (seconds, 0 for no limit) would
    end it. `largest` is the largest body of an event that is wanted. `on_stored` is told of every
    sequence.
    """

    def __init__(
        self,
        connection: Connection,
        confirmations: Confirmations,
        on_stored: Callable[[int], None],
        *,
        timeout: float,
        max_age: float,
        largest: int,
    ) -> None:
        self._connection = connection
        self._confirmations = confirmations
        self._on_stored = on_stored
        self._timeout = timeout
        self._max_age = max_age
        self._largest = largest

    @property
    def max_event_bytes(self) -> int:
        """The largest body of an event: what is wanted, or less if NATS takes no more.

        That may differ from server to server, so it is looked at anew after each connection.
        """
        payload = self._connection.max_payload
        return min(self._largest, max(payload - ENVELOPE_BYTES, 1024)) if payload else self._largest

    def attach(self, client: NatsClient) -> None:
        """Take note of what a new connection takes."""
        if self.max_event_bytes < self._largest:
            log.warning(
                "NATS takes messages of %d bytes at most (its max_payload), so events of at most "
                "%d bytes are taken and not BRIDGE_MAX_EVENT_BYTES=%d",
                client.max_payload,
                self.max_event_bytes,
                self._largest,
            )

    def check_size(self, payload: bytes, headers: bytes) -> None:
        """Raise EventTooLarge for a message that the server would not take."""
        most = self._connection.max_payload
        if most and len(payload) + len(headers) > most:
            raise EventTooLarge(
                "the event is larger than the NATS server takes; publish a reference to large "
                "data instead of the data",
                limit_bytes=most,
            )

    def prepare(self, event: Event, *, message_id: str, only_for: str | None = None) -> Outgoing:
        """Make an event ready to be sent, to every reader or to one subscription alone.

        Raises EventInvalid if its subject would be too long.
        """
        ttl = event.ttl_seconds
        messages = []
        for number, correlation in enumerate(event.correlation_ids or (None,)):
            address = subjects.Address(event.project, event.topic, event.event_type, correlation)
            # No message ID begins with a colon but those of aliases: a project's name does not.
            headers = {ID_HEADER: ":" * number + message_id}
            if not self._max_age or ttl < self._max_age:
                headers[TTL_HEADER] = str(ttl)
            if event.traceparent is not None:
                headers[TRACE_HEADERS[0]] = event.traceparent
                if event.tracestate is not None:
                    headers[TRACE_HEADERS[1]] = event.tracestate
            if number:
                headers[ALIAS_HEADER] = "1"
            if only_for is not None:
                headers[ONLY_HEADER] = only_for
            messages.append((subjects.event_subject(address), header_block(headers)))
        return Outgoing(self, event.event_id, envelope(event), messages)

    async def send(self, outgoing: Outgoing, number: int) -> Stored:
        """Store one of an event's messages, sending it again as long as that may help."""
        event_id, payload = outgoing.event_id, outgoing.payload
        subject, headers = outgoing.messages[number]
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        attempts = 0
        pause = PAUSE_SECONDS
        while True:
            attempts += 1
            wait = max(0.0, min(deadline - loop.time(), ATTEMPT_SECONDS))
            try:
                await self._connection.usable(wait)
                self.check_size(payload, headers)
                ack = _ack(await self._confirmations.ask(subject, payload, wait, headers))
                self._on_stored(ack.sequence)
                return Stored(ack.sequence, ack.duplicate, attempts)
            except Refused as error:
                raise Unavailable(
                    f"JetStream did not confirm the event: {error.message}; until then publishing "
                    "it again will not help",
                    retry_after=5,
                    event_id=event_id,
                ) from error
            except (TimeoutError, Unavailable) as error:  # either may pass
                if deadline - loop.time() <= pause:
                    raise self._unconfirmed(event_id) from error
                level = logging.INFO if attempts == 1 else logging.DEBUG
                log.log(level, "event %s is not confirmed yet; sending it again", event_id)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            except ApiError as error:
                raise Unavailable(
                    f"JetStream does not take the event: {error.description}; nothing was stored. "
                    "Once NATS has room again (its storage, or the account's limits), publish it "
                    f"again with event_id {event_id!r}",
                    retry_after=5,
                    event_id=event_id,
                ) from error

    @staticmethod
    def _unconfirmed(event_id: str) -> Unavailable:
        return Unavailable(
            "JetStream did not confirm the event, so it may or may not be stored; publish it again "
            f"with event_id {event_id!r}, which cannot store it twice",
            event_id=event_id,
        )


def _ack(msg: Msg) -> Ack:
    """Read JetStream's answer. Raises ApiError, or Unavailable for what may pass."""
    answer = orjson.loads(msg.data)
    if refusal := answer.get("error"):
        if refusal.get("err_code") == IN_PROCESS:
            raise Unavailable("an earlier try is not confirmed yet", retry_after=1)
        raise ApiError(refusal["code"], refusal.get("err_code", 0), refusal["description"])
    return Ack(answer["seq"], answer.get("duplicate", False))
