"""The overview: who subscribes to what, and how the project and the bridge stand."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Any

from bridge.bus.ports import LeaseBook, Store, SubscriptionState
from bridge.bus.rights import all_of, may_hear_of
from bridge.cursors import write_cursor
from bridge.errors import NotFound
from bridge.events import DELIVERY_FAILED
from bridge.subscription import Selection, Subscription
from bridge.tokens import Principal


@dataclass(frozen=True, slots=True)
class Health:
    """How the bridge stands, for probes and metrics."""

    connected: bool
    stream_problem: str
    draining: bool
    reconnects: int
    subscriptions: int
    given_back: int
    """How many events went back because who was to get them had gone."""
    leases: LeaseBook
    """What became of leases in this process."""
    retained: int
    capacity: float
    stored_bytes: float
    max_bytes: float

    @property
    def problem(self) -> str:
        """Why events cannot be served right now, in words; empty when they can."""
        return "shutting down" if self.draining else self.stream_problem


class Overview:
    """What an agent may see of subscriptions and totals, and an operator of the bridge."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def health(self, *, draining: bool) -> Health:
        """Say how the bridge stands. Asks nobody."""
        store = self._store
        stored_bytes, max_bytes = store.log.stored_bytes
        return Health(
            connected=store.connected,
            stream_problem=store.problem(),
            draining=draining,
            reconnects=store.reconnects,
            subscriptions=len(store.subscribers),
            given_back=store.subscriptions.given_back,
            leases=store.subscriptions.leases,
            retained=store.log.retained,
            capacity=store.log.capacity,
            stored_bytes=stored_bytes,
            max_bytes=max_bytes,
        )

    async def subscriptions(self, principal: Principal) -> list[dict[str, Any]]:
        """List the agent's durable subscriptions, or the project's if it may spawn agents.

        Raises Unavailable.
        """
        mine = {
            name: found
            for name, found in self._store.subscribers.of_project(principal.project)
            if _may_see(principal, found)
        }
        told = await self._store.subscriptions.states(list(mine))
        letters = await self.dead_letters(principal.project)
        dead = Counter(subscription for subscription, _ in letters)
        return [
            {**self._shown(name, found, told.get(name)), "dead": dead[name]}
            for name, found in mine.items()
            if name not in told or told[name] is not None
        ]

    async def dead_letters(self, project: str) -> set[tuple[str, str]]:
        """Give the dead letters that retained events tell of: subscription and event ID."""
        log, found = self._store.log, set[tuple[str, str]]()
        await log.see_own_writes()
        failures = Selection(project, (DELIVERY_FAILED,))
        for stored in log.mirror.forwards(failures, 0, log.now()):
            if stored is None:
                await asyncio.sleep(0)
            else:
                data = stored.event.data
                found.add((str(data.get("subscription")), str(data.get("event_id"))))
        return found

    async def delete_subscription(self, principal: Principal, name: str) -> None:
        """Delete one of the subscriptions that `subscriptions` lists. Raises NotFound."""
        found = self._store.subscribers.get(name)
        mine = found is not None and _may_see(principal, found)
        if not mine or not await self._store.subscriptions.delete(name):
            raise NotFound(
                f"there is no subscription {name!r} of yours; GET /api/subscriptions lists them",
                name=name,
            )

    async def status(self, principal: Principal) -> dict[str, Any]:
        """Sum up what the project's events and subscriptions are like right now.

        Of events, those that the agent may read. What another bridge has stored may be half a
        second late.
        Raises Unavailable before the stream was read for the first time.
        """
        log = self._store.log
        await log.see_own_writes()
        mirror, now = log.mirror, log.now()
        topics: Counter[str] = Counter()
        types: Counter[str] = Counter()
        agents: dict[str, str] = {}
        newest = oldest = None
        for entry in mirror.forwards(all_of(principal), 0, now):
            if entry is None:
                await asyncio.sleep(0)
                continue
            event = entry.event
            topics[event.topic] += 1
            types[event.event_type] += 1
            oldest, newest = oldest or event.timestamp, event.timestamp
            if event.agent_id:
                agents[event.agent_id] = event.agent_type or "unknown"
        subscriptions = self._store.subscribers.of_project(principal.project)
        for _, found in subscriptions:
            agents.setdefault(found.agent, found.agent_type or "unknown")
        return {
            "project": principal.project,
            "events": {
                "retained": topics.total(),
                "by_topic": topics,
                "by_type": types,
                "oldest": oldest,
                "newest": newest,
            },
            "queue": {"depth": topics.total(), "capacity": mirror.max_messages},
            "subscriptions": len(subscriptions),
            "agents": {"total": len(agents), "by_type": Counter(agents.values())},
        }

    def _shown(
        self, name: str, subscription: Subscription, state: SubscriptionState | None
    ) -> dict[str, Any]:
        return {
            "name": name,
            "agent": subscription.agent,
            "agent_type": subscription.agent_type,
            "group": subscription.group,
            "consumer": subscription.consumer,
            "types": list(subscription.selection.types or ["*"]),
            "topics": list(subscription.selection.topics or ["*"]),
            "filter": subscription.selection.filter_text,
            "created": state and state.created,
            "pending": state and state.pending,
            "ack_pending": state and state.ack_pending,
            "redelivered": state and state.redelivered,
            "waiting": state and state.waiting,
            "last_delivery": state and state.last_delivery,
            "cursor": state and write_cursor(self._store.log.epoch, state.delivered_sequence),
        }


def _may_see(principal: Principal, subscription: Subscription) -> bool:
    return subscription.selection.project == principal.project and (
        subscription.agent == principal.agent_id
        or (principal.can_spawn and may_hear_of(principal, subscription.selection))
    )
