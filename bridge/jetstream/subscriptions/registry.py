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
from bridge.jetstream.connection import ApiError
from bridge.jetstream.subscriptions.consumers import INFO_SECONDS, Consumers, ConsumerState
from bridge.jetstream.subscriptions.delivery_marks import KnownMarks
from bridge.subscription import Subscription

log = logging.getLogger("bridge.registry")

_ADVISORY = "$JS.EVENT.ADVISORY.CONSUMER"
_ANY = ""
_Key = tuple[str, str, str | None]
"""A project, an event type and a correlation ID; None for subscriptions that are to none alone."""

LOOK_UP_PAUSES = (0.5, 2.0, 5.0)
"""Seconds between tries to look up a consumer, which in an election nobody can tell of."""

MANY_WAITING = 256
"""As many consumers as the server tells of in one page of its list."""

AWAY_AT_ONCE = 100


class Registry:
    """Every durable subscription of the stream, found by name and by what it would match."""

    def __init__(self, consumers: Consumers, marks: KnownMarks, stream: str) -> None:
        self._consumers = consumers
        self._marks = marks
        self._stream = stream
        self._by_name: dict[str, Subscription] = {}
        self._index: dict[_Key, dict[str, Subscription]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: dict[str, int] = {}
        self._looking = False
        self._read = False
        self._away: set[str] = set()
        self._before: set[str] = set()

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
            if found.selection.project == project
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
            self._index.setdefault(key, {})[subscription.name] = subscription

    def discard(self, name: str) -> None:
        """Note that the consumer of this name does not exist."""
        self._away.discard(name)
        self._before.discard(name)
        subscription = self._by_name.pop(name, None)
        if subscription is None:
            return
        for key in _keys(subscription):
            bucket = self._index[key]
            del bucket[name]
            if not bucket:
                del self._index[key]

    def had_before(self, name: str) -> bool:
        """Tell whether a subscription of this name went with its stream, and is not told of it."""
        return name in self._before

    def forget_before(self, name: str) -> None:
        """Note that the reader of this subscription knows that its stream went."""
        self._before.discard(name)

    def clear(self, *, made_again: bool) -> None:
        """Forget everything: the stream is another one now.

        One that was not `made_again` has only gone back, as after a purge or on a server that is
        behind the others: its subscriptions are still there.
        """
        if made_again:
            self._before = set(self._by_name)
        self._by_name.clear()
        self._index.clear()
        self._away.clear()
        self._waiting.clear()
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
        if outdated := [state.name for state in listed if self._consumers.drift(state)]:
            self._do(self.bring_up(outdated))
        # One that is not listed may have been made, or shifted to another page, meanwhile.
        unlisted = self._by_name.keys() - {state.name for state in listed} - away
        if unlisted:
            self._do(self._look_again(unlisted))

    async def bring_up(self, names: Iterable[str]) -> None:
        """Bring consumers that were made under other settings up to date, one after the other.

        Also those that nobody waits for: one that goes when idle for as long as events were kept
        before would begin anew, and repeat what is kept for longer now.
        """
        for name in names:
            try:
                if (found := await self._consumers.info(name)) is not None:
                    await self._consumers.update(found)
            except Unavailable as error:
                log.warning("subscription %s keeps its old settings: %s", name, error)

    async def find_away(self) -> None:
        """Look whether consumers that nobody could tell of are back: nothing else would say so."""
        if self._away:
            await self._look_again(islice(self._away, AWAY_AT_ONCE))

    async def _look_again(self, names: Iterable[str]) -> None:
        try:
            for name, state in (await self._consumers.infos(names)).items():
                self._note(name, state)
        except Unavailable as error:
            log.info("cannot look up subscriptions: %s", error)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _created(self, msg: Msg) -> None:
        name = json.loads(msg.data).get("consumer", "")
        # One that is known may be another by now: made again by another bridge, say.
        if name and (self._marks.doubt(name) or name not in self._by_name):
            self._look_up(name)

    async def _deleted(self, msg: Msg) -> None:
        """Look whether it is gone: a server that returns deletes what was replaced meanwhile."""
        name = json.loads(msg.data).get("consumer", "")
        if name in self._by_name:
            self._look_up(name)

    def _look_up(self, name: str, tries: int = 0) -> None:
        """Look a consumer up when it is its turn: every bridge is told of each that is made."""
        self._waiting[name] = tries
        if not self._looking:
            self._looking = True
            self._do(self._look_up_waiting())

    async def _look_up_waiting(self) -> None:
        """Ask for one consumer after the other, or for the list if it answers for more at once."""
        try:
            while self._waiting:
                if len(self._waiting) >= MANY_WAITING:
                    await self._look_through_list()
                name, tries = next(iter(self._waiting.items()))
                del self._waiting[name]
                try:
                    self._note(name, await self._consumers.info(name, INFO_SECONDS))
                except Unavailable as error:
                    log.info("cannot look up subscription %s: %s", name, error)
                    self._again_later(name, tries)
        finally:
            self._looking = False

    async def _look_through_list(self) -> None:
        """Take from the list what waits to be looked up; what it lacks is asked for by name."""
        try:
            listed, _ = await self._consumers.list()
        except (Unavailable, ApiError) as error:
            log.info("cannot read the list of subscriptions: %s", error)
            return
        for state in listed:
            if self._waiting.pop(state.name, None) is not None:
                self._add(state)

    def _again_later(self, name: str, tries: int) -> None:
        if tries < len(LOOK_UP_PAUSES):
            pause = LOOK_UP_PAUSES[tries]
            asyncio.get_running_loop().call_later(pause, self._look_up, name, tries + 1)

    def _note(self, name: str, state: ConsumerState | None) -> None:
        if state is not None:
            self._add(state)
        elif self.has(name):  # else it went with its stream, of which its reader is to be told
            self.discard(name)

    def _add(self, state: ConsumerState) -> None:
        """Note a listed consumer, unless its name belies its metadata: no wait would find it."""
        if state.name == state.subscription.name:
            self._before.discard(state.name)
            self.add(state.subscription)
            self._marks.learn(state)

    def _matching(self, event: Event) -> Iterator[Subscription]:
        for name in (event.event_type, _ANY):
            for pin in (None, *event.correlation_ids):
                for subscription in self._index.get((event.project, name, pin), {}).values():
                    if subscription.selection.accepts(event):
                        yield subscription


def _keys(subscription: Subscription) -> Iterable[_Key]:
    """Give what a subscription is found by: there may be thousands, each pinned to its own ID."""
    selection = subscription.selection
    return [(selection.project, name, selection.indexed_pin) for name in selection.types or (_ANY,)]
