"""Consumers: made for a subscription, read back, deleted."""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from nats.aio.client import Client

from bridge.errors import RequestInvalid, Unavailable
from bridge.interest import Subscription
from bridge.jetstream.connection import (
    API_TIMEOUT_SECONDS,
    ApiError,
    Connection,
    Unanswered,
)
from bridge.jetstream.refusals import Refused

log = logging.getLogger("bridge.consumers")

_SECOND = 1_000_000_000

PINNED_IDLE_SECONDS = 3600.0
MAX_ACK_PENDING = 20_000
MAX_WAITING = 512

CONSUMER_NOT_FOUND = 10014
# What creating says of a name that is taken by a consumer with another configuration.
CONSUMER_EXISTS = {10013, 10148, 10012}
TOO_MANY_CONSUMERS = 10026
TEMPORARILY_UNAVAILABLE = 10008

PINNED_SECONDS = 2.0
"""How long making a consumer on a single server may take, which is a matter of milliseconds."""

ABANDON_SECONDS = 1.0
"""How long to wait for a deletion that probably nobody will confirm."""

LIST_SECONDS = 10.0
"""How long a page of consumers may take: the server gives those that are away 4 s to answer."""

_CONCURRENT_INFOS = 64
INFO_SECONDS = 2.0
"""How long to wait for word of one of many consumers; one without a leader is not answered for."""


class Leaderless(Unavailable):
    """The consumer has, or the cluster has, no leader to answer for it; there will be one."""


@dataclass(frozen=True)
class ConsumerState:
    """A durable consumer and how far it has come; times are RFC 3339 in UTC."""

    subscription: Subscription
    name: str
    created: str
    pending: int
    ack_pending: int
    redelivered: int
    waiting: int
    delivered_sequence: int
    last_delivery: str | None
    floor: tuple[int, int]
    """The last delivery up to which all are acknowledged: its number, and the stream's sequence."""


class Consumers:
    """The durable consumers of one stream, by JetStream's API.

    `ack_wait` and `idle` are in seconds: how long an unanswered delivery is out before it comes
    again, and how long a standing subscription may go unused. `clustered` says that the stream is
    on several servers, of which one may be lost.
    """

    def __init__(
        self,
        connection: Connection,
        stream: str,
        *,
        ack_wait: float,
        idle: float,
        clustered: bool,
    ) -> None:
        self._clustered = clustered
        self._connection = connection
        self._stream = stream
        self._ack_wait = ack_wait
        self._idle = idle

    def config(self, subscription: Subscription, *, only_new: bool) -> dict[str, Any]:
        """Write a subscription as a consumer configuration.

        One whose filter pins a correlation ID is short-lived: one replica, gone after an idle
        hour. It is kept in a file all the same, since one in memory would forget its place when
        its server restarts and deliver everything again. Every bridge is told of each
        acknowledgement, to know where to go on should the server be lost.
        """
        interest = subscription.interest
        pinned = interest.pin is not None
        config: dict[str, Any] = {
            "name": subscription.name,
            "durable_name": subscription.name,
            "description": _describe(subscription),
            "metadata": subscription.metadata(),
            "deliver_policy": "new" if only_new else "all",
            "ack_policy": "explicit",
            "ack_wait": int(self._ack_wait * _SECOND),
            "max_deliver": -1,
            "max_ack_pending": MAX_ACK_PENDING,
            "max_waiting": MAX_WAITING,
            "replay_policy": "instant",
            "filter_subjects": interest.patterns(),
            "inactive_threshold": int((PINNED_IDLE_SECONDS if pinned else self._idle) * _SECOND),
            "num_replicas": 1 if pinned else 0,
        }
        if pinned and self._clustered:
            config["sample_freq"] = "100"
        return config

    async def create(
        self, subscription: Subscription, *, only_new: bool, after: int | None = None
    ) -> ConsumerState | None:
        """Make the subscription's consumer unless it is there already, in whatever state.

        `after` is a sequence of the stream that it begins behind. Gives how it stands, None if
        there is one with another configuration.
        Raises Leaderless (in an election), Unavailable or RequestInvalid.
        """
        config = self.config(subscription, only_new=only_new)
        if after is not None:
            config |= {"deliver_policy": "by_start_sequence", "opt_start_seq": after + 1}
        try:
            pinned = subscription.interest.pin is not None
            made = await self.create_from(config, PINNED_SECONDS if pinned else API_TIMEOUT_SECONDS)
        except ApiError as error:
            if error.err_code == TOO_MANY_CONSUMERS:
                raise too_many() from error
            if error.err_code == TEMPORARILY_UNAVAILABLE:
                raise Leaderless("JetStream is choosing a leader; try again") from error
            raise Unavailable(f"JetStream cannot make the subscription: {error}") from error
        return _state(made) if made is not None else None

    async def create_from(
        self, config: dict[str, Any], timeout: float = API_TIMEOUT_SECONDS
    ) -> dict[str, Any] | None:
        """Make a consumer from a configuration, content with one that has its name.

        Gives JetStream's answer, None if there is one with another configuration.
        Raises Unavailable or ApiError.
        """
        subject = f"$JS.API.CONSUMER.CREATE.{self._stream}.{config['name']}"
        request = {"stream_name": self._stream, "config": config, "action": "create"}
        try:
            return await self._connection.request(subject, request, timeout=timeout)
        except ApiError as error:
            if error.err_code not in CONSUMER_EXISTS:
                raise
            return None

    async def abandon(self, name: str) -> None:
        """Delete a consumer whose only server is away.

        The cluster decides that without this server, and then nobody is there to confirm it.
        Raises Unavailable.
        """
        try:
            await self.delete(name, ABANDON_SECONDS)
        except Unanswered:
            log.debug("nobody confirms that consumer %s is deleted", name)

    async def delete(self, name: str, timeout: float = API_TIMEOUT_SECONDS) -> bool:
        """Delete a consumer; False if there is none of this name.

        Raises Unavailable, Unanswered if nobody confirms it within `timeout` seconds.
        """
        subject = f"$JS.API.CONSUMER.DELETE.{self._stream}.{name}"
        try:
            await self._connection.request(subject, timeout=timeout)
        except ApiError as error:
            if error.err_code == CONSUMER_NOT_FOUND:
                return False
            raise Unavailable(f"JetStream cannot delete {name}: {error}") from error
        return True

    async def info(self, name: str, timeout: float = API_TIMEOUT_SECONDS) -> ConsumerState | None:
        """Ask how a consumer stands; None if it is gone or is not a subscription.

        Raises Unavailable.
        """
        try:
            answer = await self._connection.request(
                f"$JS.API.CONSUMER.INFO.{self._stream}.{name}", timeout=timeout
            )
        except ApiError as error:
            if error.err_code == CONSUMER_NOT_FOUND:
                return None
            raise Unavailable(f"JetStream cannot tell of {name}: {error}") from error
        return _state(answer)

    async def infos(self, names: Iterable[str]) -> dict[str, ConsumerState | None]:
        """Ask how several consumers stand, a bounded number at once; None for one that is gone.

        One of which nobody can tell is left out. Raises Unavailable when there is no connection.
        """
        gate = asyncio.Semaphore(_CONCURRENT_INFOS)
        told: dict[str, ConsumerState | None] = {}

        async def one(name: str) -> None:
            async with gate:
                try:
                    told[name] = await self.info(name, INFO_SECONDS)
                except Refused:
                    raise
                except Unavailable:
                    if not self._connection.is_up:
                        raise

        await asyncio.gather(*map(one, names))
        return told

    async def list(self, client: Client) -> tuple[list[ConsumerState], set[str]]:
        """List every subscription of the stream, a page at a time.

        Beside them come the names of consumers that exist and have no server to tell of them.
        Raises Unavailable or ApiError.
        """
        found: list[ConsumerState] = []
        away: set[str] = set()
        offset = 0
        while True:
            answer = await self._connection.request(
                f"$JS.API.CONSUMER.LIST.{self._stream}",
                {"offset": offset},
                client=client,
                timeout=LIST_SECONDS,
            )
            page, missing = answer.get("consumers") or [], answer.get("missing") or []
            found += [state for info in page if (state := _state(info)) is not None]
            away.update(missing)
            offset += len(page) + len(missing)
            if not (page or missing) or offset >= answer.get("total", 0):
                return found, away


def too_many() -> RequestInvalid:
    """Say that there is no room for another subscription, and what to do."""
    return RequestInvalid(
        "there are too many subscriptions; delete those that are not used "
        "(DELETE /api/subscriptions/{name}), or wait with `since`, which makes none"
    )


def _describe(subscription: Subscription) -> str:
    """Say in a line, for `nats consumer ls`, who waits for what."""
    interest = subscription.interest
    parts = [
        f"{subscription.owner} waits for {', '.join(interest.types or ('any type',))}",
        f"on {', '.join(interest.topics)}" if interest.topics else "",
        f"where {interest.filter}" if interest.filter else "",
    ]
    return " ".join(part for part in parts if part)[:1024]


def _state(info: dict[str, Any]) -> ConsumerState | None:
    subscription = Subscription.from_metadata(info.get("config", {}).get("metadata") or {})
    if subscription is None:
        return None
    delivered = info.get("delivered", {})
    return ConsumerState(
        subscription=subscription,
        name=info["name"],
        created=info.get("created", ""),
        pending=info.get("num_pending", 0),
        ack_pending=info.get("num_ack_pending", 0),
        redelivered=info.get("num_redelivered", 0),
        waiting=info.get("num_waiting", 0),
        delivered_sequence=delivered.get("stream_seq", 0),
        last_delivery=delivered.get("last_active"),
        floor=_floor(delivered, info.get("ack_floor", {})),
    )


def _floor(delivered: dict[str, int], acknowledged: dict[str, int]) -> tuple[int, int]:
    """Read how far a consumer is acknowledged; before its first delivery, where it begins."""
    told = acknowledged if delivered.get("consumer_seq") else delivered
    return told.get("consumer_seq", 0), told.get("stream_seq", 0)
