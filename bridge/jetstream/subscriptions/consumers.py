"""Consumers as subscriptions: how one is written as a consumer's configuration, and read back."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from nats.aio.client import Client

from bridge.errors import RequestInvalid, Unavailable
from bridge.jetstream.connection import API_TIMEOUT_SECONDS, ApiError
from bridge.jetstream.consumer_api import ConsumerApi
from bridge.jetstream.refusals import Refused
from bridge.subscription import Deliver, Subscription

log = logging.getLogger("bridge.consumers")

_SECOND = 1_000_000_000

PINNED_IDLE_SECONDS = 3600.0
MAX_ACK_PENDING = 20_000
MAX_WAITING = 512

_AGAIN = "again"
_ACCOUNTED = "accounted"
"""Metadata of a consumer beside its subscription's: see `made_again` and `accounted`."""

_SETTINGS = ("ack_wait", "inactive_threshold", "max_ack_pending", "sample_freq")
"""What of a configuration follows the bridge's settings, as far as nats-server lets it change."""

_POLICIES: Mapping[Deliver, str] = {"all": "all", "new": "new", "last": "last_per_subject"}

TOO_MANY_CONSUMERS = 10026
TEMPORARILY_UNAVAILABLE = 10008

PINNED_SECONDS = 2.0
"""How long making a consumer on a single server may take, which is a matter of milliseconds."""

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
    config: dict[str, Any] = field(default_factory=dict, repr=False)
    """Its configuration as the server gave it."""

    @property
    def floor_sequence(self) -> int:
        """The sequence up to which everything is acknowledged."""
        return self.floor[1]

    def began_behind(self, moment: float) -> bool:
        """Tell whether it was made to give only what came later than a time in Unix seconds."""
        policy = self.config.get("deliver_policy")
        return policy in ("new", "last_per_subject") and self.created_at > moment

    @property
    def created_at(self) -> float:
        """When it was made, in Unix seconds."""
        return datetime.fromisoformat(self.created).timestamp() if self.created else 0.0

    @property
    def made_again(self) -> bool:
        """Whether it stands in the place of one that was lost."""
        return _AGAIN in self._metadata

    @property
    def accounted(self) -> int:
        """The sequence up to which nothing was lost, or its reader was told."""
        return int(self._metadata.get(_ACCOUNTED, 0))

    @property
    def given_before(self) -> float:
        """What was stored before this moment may have been given by an earlier consumer.

        In Unix seconds. One that pins a correlation ID goes when it is idle; whatever it had given
        was there for that long before it went.
        """
        if self.made_again:
            return self.created_at
        pinned = self.subscription.selection.pin is not None
        return self.created_at - PINNED_IDLE_SECONDS if pinned else 0.0

    @property
    def _metadata(self) -> dict[str, str]:
        return self.config.get("metadata") or {}


class Consumers:
    """The durable consumers of subscriptions.

    `ack_wait` and `idle` are in seconds: how long an unanswered delivery is out before it comes
    again, and how long a standing subscription may go unused. `clustered` says that the stream is
    on several servers, of which one may be lost.
    """

    def __init__(self, api: ConsumerApi, *, ack_wait: float, idle: float, clustered: bool) -> None:
        self.api = api
        self._ack_wait = ack_wait
        self._idle = idle
        self._clustered = clustered

    def config(self, subscription: Subscription, *, deliver: Deliver) -> dict[str, Any]:
        """Write a subscription as a consumer configuration.

        One whose filter pins a correlation ID is short-lived: one replica, gone after an idle
        hour. It is kept in a file all the same, since one in memory would forget its place when
        its server restarts and deliver everything again. Every bridge is told of each
        acknowledgement, to know where to go on should the server be lost.
        """
        selection = subscription.selection
        pinned = selection.pin is not None
        config: dict[str, Any] = {
            "name": subscription.name,
            "durable_name": subscription.name,
            "description": _describe(subscription),
            "metadata": subscription.metadata(),
            "deliver_policy": _POLICIES[deliver],
            "ack_policy": "explicit",
            "ack_wait": int(self._ack_wait * _SECOND),
            "max_deliver": -1,
            "max_ack_pending": MAX_ACK_PENDING,
            "max_waiting": MAX_WAITING,
            "replay_policy": "instant",
            "filter_subjects": selection.patterns(),
            "inactive_threshold": int((PINNED_IDLE_SECONDS if pinned else self._idle) * _SECOND),
            "num_replicas": 1 if pinned else 0,
        }
        if pinned and self._clustered:
            config["sample_freq"] = "100"
        return config

    async def create(
        self,
        subscription: Subscription,
        *,
        deliver: Deliver,
        after: int | None = None,
        again: bool = False,
    ) -> ConsumerState | None:
        """Make the subscription's consumer unless it is there already, in whatever state.

        `after` is a sequence of the stream that it begins behind, `again` says that there was one.
        Gives how it stands, None if there is one with another configuration.
        Raises Leaderless (in an election), Unavailable or RequestInvalid.
        """
        config = self.config(subscription, deliver=deliver)
        if again:
            config["metadata"] |= {_AGAIN: "yes"}
        if after is not None:
            config |= {"deliver_policy": "by_start_sequence", "opt_start_seq": after + 1}
        try:
            pinned = subscription.selection.pin is not None
            made = await self.api.create(config, PINNED_SECONDS if pinned else API_TIMEOUT_SECONDS)
        except ApiError as error:
            if error.err_code == TOO_MANY_CONSUMERS:
                raise too_many() from error
            if error.err_code == TEMPORARILY_UNAVAILABLE:
                raise Leaderless("JetStream is choosing a leader; try again") from error
            raise Unavailable(f"JetStream cannot make the subscription: {error}") from error
        return _state(made) if made is not None else None

    async def update(self, found: ConsumerState) -> None:
        """Bring a consumer that was made under other settings up to these.

        Where it began and what it selects stay. Raises Unavailable.
        """
        if drift := self.drift(found):
            await self.api.update(found.name, found.config | drift)
            log.info("%s has new settings: %s", found.name, ", ".join(drift))

    async def account(self, found: ConsumerState, sequence: int) -> None:
        """Note with a consumer up to which sequence nothing was lost, or its reader was told.

        Every bridge reads it there, also after a restart. Raises Unavailable.
        """
        metadata = (found.config.get("metadata") or {}) | {_ACCOUNTED: str(sequence)}
        await self.api.update(found.name, found.config | {"metadata": metadata})

    def drift(self, found: ConsumerState) -> dict[str, Any]:
        """Give the settings in which a consumer differs, as they should be."""
        wanted = self.config(found.subscription, deliver="all")
        return {
            key: wanted.get(key, "")
            for key in _SETTINGS
            if (wanted.get(key) or None) != (found.config.get(key) or None)
        }

    async def info(self, name: str, timeout: float = API_TIMEOUT_SECONDS) -> ConsumerState | None:
        """Ask how a consumer stands; None if it is gone or is not a subscription.

        Raises Unavailable.
        """
        told = await self.api.info(name, timeout)
        return None if told is None else _state(told)

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
                    if not self.api.reachable:
                        raise

        await asyncio.gather(*map(one, names))
        return told

    async def list(self, client: Client | None = None) -> tuple[list[ConsumerState], set[str]]:
        """List every subscription of the stream; see `ConsumerApi.list`."""
        found, away = await self.api.list(client)
        return [state for told in found if (state := _state(told)) is not None], away


def too_many() -> RequestInvalid:
    """Say that there is no room for another subscription, and what to do."""
    return RequestInvalid(
        "there are too many subscriptions; delete those that are not used "
        "(DELETE /api/subscriptions/{name}), or wait with `since`, which makes none"
    )


def _describe(subscription: Subscription) -> str:
    """Say in a line, for `nats consumer ls`, who is subscribed to what."""
    selection = subscription.selection
    parts = [
        f"{subscription.owner}, subscribed to {', '.join(selection.types or ('any type',))}",
        f"on {', '.join(selection.topics)}" if selection.topics else "",
        f"where {selection.filter_text}" if selection.filter else "",
        f"within {selection.within}" if selection.within else "",
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
        config=info["config"],
    )


def _floor(delivered: dict[str, int], acknowledged: dict[str, int]) -> tuple[int, int]:
    """Read how far a consumer is acknowledged; before its first delivery, where it begins."""
    told = acknowledged if delivered.get("consumer_seq") else delivered
    return told.get("consumer_seq", 0), told.get("stream_seq", 0)
