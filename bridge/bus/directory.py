"""The directory: what there is to talk about, who is there, and what became of an event."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from bridge import subjects
from bridge.bus.overview import Overview
from bridge.bus.ports import Store, SubscriptionState
from bridge.bus.presence import Presence
from bridge.bus.rights import may_hear_of, may_see, retained_types
from bridge.catalog import Catalog
from bridge.errors import NotFound
from bridge.events import Event, rfc3339
from bridge.subscription import Selection, Subscription
from bridge.tokens import Principal


class Directory:
    """Answers about the caller's project alone."""

    def __init__(
        self, store: Store, catalog: Catalog, presence: Presence, overview: Overview
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._presence = presence
        self._overview = overview

    async def catalog(self, principal: Principal) -> dict[str, Any]:
        """List topics, event types and agent types, and how many events of each are retained."""
        await self._store.log.catch_up()
        retained = await retained_types(self._store.log, principal)
        catalog = self._catalog
        return {
            "topics": [{"name": name, **asdict(one)} for name, one in catalog.topics.items()],
            "event_types": [
                {"name": name, **asdict(one), "retained": retained.get(name, 0)}
                for name, one in catalog.event_types.items()
            ],
            "agent_types": [
                {
                    "name": name,
                    "description": one.description,
                    "topics": list(one.subscribes_to or ["*"]),
                }
                for name, one in catalog.agent_types.items()
            ],
            "other_event_types": [
                {"name": name, "retained": count}
                for name, count in Counter(retained).most_common()
                if name not in catalog.event_types
            ],
        }

    async def agents(self, principal: Principal) -> dict[str, Any]:
        """Say who was seen in the last hour or has subscriptions, and who waits for what now.

        Another's wait that names what the asker may not read is left out.
        Every bridge is asked; `bridges` says how many answered. Raises Unavailable.
        """
        project = principal.project
        answers = await self._presence.everywhere(project)
        agents: dict[str, dict[str, Any]] = {}

        def agent(name: str, kind: str | None) -> dict[str, Any]:
            made = agents.setdefault(
                name,
                {
                    "agent_id": name,
                    "agent_type": kind,
                    "last_seen": None,
                    "waiting": [],
                    "subscriptions": 0,
                    "pending": 0,
                    "leased": 0,
                },
            )
            made["agent_type"] = made["agent_type"] or kind
            return made

        for answer in answers.values():
            for name, kind, at in answer["seen"]:
                found = agent(name, kind)
                found["last_seen"] = max(found["last_seen"] or "", rfc3339(at))
            for wait in answer["waiting"]:
                asked = Selection(project, _names(wait["types"]), _names(wait["topics"]))
                if wait["agent_id"] != principal.agent_id and not may_hear_of(principal, asked):
                    continue
                shown = {key: wait[key] for key in ("types", "topics", "filter", "group")}
                shown |= {"subscription": wait["subscription"], "since": rfc3339(wait["since"])}
                agent(wait["agent_id"], wait["agent_type"])["waiting"].append(shown)
        mine = dict(self._store.subscribers.of_project(project))
        states = await self._store.subscriptions.states(list(mine))
        for name, subscription in mine.items():
            found, state = agent(subscription.agent, subscription.agent_type), states.get(name)
            found["subscriptions"] += 1
            if state is not None:
                found["pending"] += state.pending
                found["leased"] += state.ack_pending
        return {
            "agents": sorted(agents.values(), key=lambda one: str(one["agent_id"])),
            "bridges": len(answers),
        }

    async def event(self, principal: Principal, event_id: str) -> dict[str, Any]:
        """Show an event, and what became of it for each subscription that it is for.

        Raises NotFound or Unavailable.
        """
        log = self._store.log
        await log.catch_up()
        stored = log.mirror.by_id(principal.project, event_id)
        if stored is None or not may_see(principal, stored.event):
            name = event_id if subjects.NAME.match(event_id) else "{event_type}"
            raise NotFound(
                f"no event {event_id[:80]!r} is retained in this project; GET /api/events lists "
                f"them. GET /api/events/wait/{name} waits for events of a type, GET "
                f"/api/events?type={name} shows those there are",
                event_id=event_id[:80],
            )
        [deliveries] = await self.deliveries(principal, [stored.event])
        return {**stored.event.as_json(), "deliveries": deliveries}

    async def deliveries(
        self, principal: Principal, events: Sequence[Event]
    ) -> list[list[dict[str, Any]]]:
        """Say of each event what became of it for each subscription that it is for.

        Another's that names what the asker may not read is left out. Raises Unavailable.
        """
        project = principal.project
        wanting = {
            name: one
            for name, one in self._store.subscribers.of_project(project)
            if (one.agent == principal.agent_id or may_hear_of(principal, one.selection))
            and any(one.selection.accepts(event) for event in events)
        }
        states = await self._store.subscriptions.states(list(wanting))
        dead = await self._overview.dead_letters(project) if wanting else set()
        return [
            [
                self._delivery(name, one, event, states.get(name), dead)
                for name, one in wanting.items()
                if one.selection.accepts(event) and not _began_behind(states.get(name), event)
            ]
            for event in events
        ]

    def _delivery(
        self,
        name: str,
        subscription: Subscription,
        event: Event,
        state: SubscriptionState | None,
        dead: set[tuple[str, str]],
    ) -> dict[str, Any]:
        sequence, at = event.sequence, None
        until = self._store.subscriptions.leases.leased_until(name, sequence)
        if (name, event.event_id) in dead:
            told = "dead"
        elif state is None:
            told = "unknown"
        elif sequence > state.delivered_sequence:
            told = "pending"
        elif sequence <= state.floor_sequence or self._store.subscriptions.knows_done(
            name, sequence
        ):
            told = "acknowledged"
        else:
            told = "delivered"
        if state is not None and sequence == state.delivered_sequence:
            at = state.last_delivery
        return {
            "subscription": name,
            "agent": subscription.agent,
            "group": subscription.group,
            "state": told,
            "delivered_at": at,
            "leased_until": rfc3339(until) if until and told == "delivered" else None,
        }


def _names(told: Sequence[str]) -> tuple[str, ...] | None:
    """Read what a bridge tells of a wait's types or topics."""
    return None if list(told) == ["*"] else tuple(told)


def _began_behind(state: SubscriptionState | None, event: Event) -> bool:
    published = datetime.fromisoformat(event.timestamp).timestamp()
    return state is not None and state.began_behind(published)
