"""The registry: who subscribes to what, on any replica, without asking JetStream for each event.

It is read from the list of consumers at each connection and kept up to date by JetStream's
advisories about consumers that are made and deleted, which every replica receives.
"""

import asyncio
import json
import logging
from collections.abc import Coroutine, Iterable, Iterator
from itertools import islice
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg

from bridge.errors import Unavailable
from bridge.events import Event
from bridge.interest import Subscription
from bridge.jetstream.connection import ApiError
from bridge.jetstream.consumers import Consumers, ConsumerState
from bridge.jetstream.places import Places

log = logging.getLogger("bridge.registry")

_ADVISORY = "$JS.EVENT.ADVISORY.CONSUMER"
_ANY = ""

LOOK_UP_PAUSES = (0.5, 2.0, 5.0)
"""Seconds between tries to look up a consumer, which in an election nobody can tell of."""


AWAY_AT_ONCE = 100


class Registry:
    """Every durable subscription of the stream, found by name and by what it would match."""

    def __init__(self, consumers: Consumers, places: Places, stream: str) -> None:
        self._consumers = consumers
        self._places = places
        self._stream = stream
        self._by_name: dict[str, Subscription] = {}
        self._by_type: dict[tuple[str, str], dict[str, Subscription]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._read = False
        self._away: set[str] = set()

    def __len__(self) -> int:
        return len(self._by_name)

    def has(self, name: str) -> bool:
        """Tell whether a consumer of this name is known to exist, be its server away or not."""
        return name in self._by_name or name in self._away

    def get(self, name: str) -> Subscription | None:
        """Give the subscription of this name, if it is known."""
        return self._by_name.get(name)

    def of_project(self, project: str) -> list[tuple[str, Subscription]]:
        """Give a project's subscriptions with their names."""
        return [
            (name, found)
            for name, found in self._by_name.items()
            if found.interest.project == project
        ]

    def owners(self, event: Event) -> list[str]:
        """Name, sorted, every agent and group with a subscription that matches the event."""
        return sorted({found.owner for found in self._matching(event)})

    def add(self, subscription: Subscription) -> None:
        """Note that a subscription's consumer exists."""
        self._away.discard(subscription.name)
        if subscription.name in self._by_name:
            return
        self._by_name[subscription.name] = subscription
        for key in _keys(subscription):
            self._by_type.setdefault(key, {})[subscription.name] = subscription

    def discard(self, name: str) -> None:
        """Note that the consumer of this name does not exist."""
        self._away.discard(name)
        subscription = self._by_name.pop(name, None)
        if subscription is None:
            return
        for key in _keys(subscription):
            bucket = self._by_type[key]
            del bucket[name]
            if not bucket:
                del self._by_type[key]

    def clear(self) -> None:
        """Forget everything: the stream is another one now."""
        self._by_name.clear()
        self._by_type.clear()
        self._away.clear()
        self._read = False

    async def attach(self, client: Client) -> None:
        """Follow the advisories of a new connection and read the list of consumers once.

        The advisories come first: a consumer made while the list is read is not missed. Where the
        list was read before, this does not wait for it: the server takes seconds for each page if
        some consumers are away.
        Raises Unavailable or ApiError.
        """
        for kind, handler in (("CREATED", self._created), ("DELETED", self._deleted)):
            await client.subscribe(f"{_ADVISORY}.{kind}.{self._stream}.*", cb=handler)
        if self._read:
            self._do(self._refresh(client))
        else:
            await self._read_list(client)

    async def _refresh(self, client: Client) -> None:
        try:
            await self._read_list(client)
        except (Unavailable, ApiError) as error:
            log.warning("cannot read the list of subscriptions: %s", error)

    async def _read_list(self, client: Client) -> None:
        listed, away = await self._consumers.list(client)
        self._away = away - self._by_name.keys()
        for state in listed:
            self._add(state)
        self._read = True
        # One that is not listed may have been made, or shifted to another page, meanwhile.
        unlisted = self._by_name.keys() - {state.name for state in listed} - away
        if unlisted:
            self._do(self._look_again(unlisted))

    async def find_away(self) -> None:
        """Look whether consumers that nobody could tell of are back: nothing else would say so."""
        if self._away:
            await self._look_again(islice(self._away, AWAY_AT_ONCE))

    async def _look_again(self, names: Iterable[str]) -> None:
        try:
            for name, state in (await self._consumers.infos(names)).items():
                if state is None:
                    self.discard(name)
                else:
                    self._add(state)
        except Unavailable as error:
            log.info("cannot look up subscriptions: %s", error)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _created(self, msg: Msg) -> None:
        name = json.loads(msg.data).get("consumer", "")
        # One that is known may be another by now: made again by another bridge, say.
        if name and (self._places.doubt(name) or name not in self._by_name):
            self._do(self._look_up(name))

    async def _deleted(self, msg: Msg) -> None:
        """Look whether it is gone: a server that returns deletes what was replaced meanwhile."""
        name = json.loads(msg.data).get("consumer", "")
        if name in self._by_name:
            self._do(self._look_up(name))

    async def _look_up(self, name: str) -> None:
        for pause in LOOK_UP_PAUSES:
            try:
                state = await self._consumers.info(name)
                break
            except Unavailable as error:
                log.info("cannot look up subscription %s: %s", name, error)
                await asyncio.sleep(pause)
        else:
            return
        if state is None:
            self.discard(name)
        else:
            self._add(state)

    def _add(self, state: ConsumerState) -> None:
        """Note a listed consumer, unless its name belies its metadata: no wait would find it."""
        if state.name == state.subscription.name:
            self.add(state.subscription)
            self._places.learn(state)

    def _matching(self, event: Event) -> Iterator[Subscription]:
        for key in ((event.project, event.event_type), (event.project, _ANY)):
            for subscription in self._by_type.get(key, {}).values():
                if subscription.interest.accepts(event):
                    yield subscription


def _keys(subscription: Subscription) -> Iterable[tuple[str, str]]:
    interest = subscription.interest
    return [(interest.project, name) for name in interest.types or (_ANY,)]
