"""The overview: who subscribes to what, and how the project and the bridge stand."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from bridge.cursors import write_cursor
from bridge.errors import NotFound
from bridge.interest import Interest, Subscription
from bridge.jetstream import JetStream, SubscriptionState
from bridge.tokens import Principal


@dataclass(frozen=True, slots=True)
class Health:
    """How the bridge stands, for probes and metrics."""

    connected: bool
    stream_problem: str
    draining: bool
    reconnects: int
    subscriptions: int
    retained: int
    capacity: float

    @property
    def problem(self) -> str:
        """Why events cannot be served right now, in words; empty when they can."""
        return "shutting down" if self.draining else self.stream_problem


class Overview:
    """What an agent may see of subscriptions and totals, and an operator of the bridge."""

    def __init__(self, jetstream: JetStream) -> None:
        self._jetstream = jetstream

    def health(self, *, draining: bool) -> Health:
        """Say how the bridge stands. Asks nobody."""
        jetstream = self._jetstream
        return Health(
            connected=jetstream.connected,
            stream_problem=jetstream.problem(),
            draining=draining,
            reconnects=jetstream.reconnects,
            subscriptions=len(jetstream.subscriptions),
            retained=jetstream.retained,
            capacity=jetstream.capacity,
        )

    async def subscriptions(self, principal: Principal) -> list[dict[str, Any]]:
        """List the agent's durable subscriptions, or the project's if it may spawn agents.

        Raises Unavailable.
        """
        mine = {
            name: found
            for name, found in self._jetstream.subscriptions.of_project(principal.project)
            if _may_see(principal, found)
        }
        told = await self._jetstream.subscription_states(list(mine))
        return [
            self._shown(name, found, told.get(name))
            for name, found in mine.items()
            if name not in told or told[name] is not None
        ]

    async def delete_subscription(self, principal: Principal, name: str) -> None:
        """Delete one of the subscriptions that `subscriptions` lists. Raises NotFound."""
        found = self._jetstream.subscriptions.get(name)
        mine = found is not None and _may_see(principal, found)
        if not mine or not await self._jetstream.delete_subscription(name):
            raise NotFound(
                f"there is no subscription {name!r} of yours; GET /api/subscriptions lists them",
                name=name,
            )

    async def status(self, principal: Principal) -> dict[str, Any]:
        """Sum up what the project's events and subscriptions are like right now.

        What another bridge has stored may be half a second late.
        Raises Unavailable before the stream was read for the first time.
        """
        await self._jetstream.see_own_writes()
        mirror, now = self._jetstream.mirror, self._jetstream.now()
        topics: Counter[str] = Counter()
        types: Counter[str] = Counter()
        agents: dict[str, str] = {}
        newest = oldest = None
        for entry in mirror.forwards(Interest(principal.project), 0, now):
            event = entry.event
            topics[event.topic] += 1
            types[event.event_type] += 1
            oldest, newest = oldest or event.timestamp, event.timestamp
            if event.agent_id:
                agents[event.agent_id] = event.agent_type or "unknown"
        subscriptions = self._jetstream.subscriptions.of_project(principal.project)
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
            "types": list(subscription.interest.types or ["*"]),
            "topics": list(subscription.interest.topics or ["*"]),
            "filter": subscription.interest.filter,
            "created": state and state.created,
            "pending": state and state.pending,
            "ack_pending": state and state.ack_pending,
            "redelivered": state and state.redelivered,
            "waiting": state and state.waiting,
            "last_delivery": state and state.last_delivery,
            "cursor": state and write_cursor(self._jetstream.epoch, state.delivered_sequence),
        }


def _may_see(principal: Principal, subscription: Subscription) -> bool:
    return subscription.interest.project == principal.project and (
        principal.can_spawn or subscription.agent == principal.agent_id
    )
