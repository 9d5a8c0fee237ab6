"""Presence: who waits and who was seen, through this bridge and through the others.

Nothing of it is stored: each bridge knows its own, and one that is asked asks the others.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bridge.bus.ports import Bridges
from bridge.subscription import Selection, Subscription
from bridge.tokens import Principal

SEEN_SECONDS = 3600.0
MAX_SEEN = 10_000
MAX_TOLD = 2_000
ASK_AGAIN_SECONDS = 60.0
MAX_ASKED = 10_000

_WAITING = "who waits"
_SHARING = "who shares"


@dataclass(slots=True)
class OpenWait:
    """A wait or a stream that is open; `since` is when it began, in Unix seconds.

    `subscription` is None for who holds the position. It is written out only when somebody asks.
    """

    principal: Principal
    selection: Selection
    subscription: Subscription | None
    since: float

    def told(self) -> dict[str, Any]:
        """Say what others may see of it; types and topics are `*` for any."""
        selection, subscription = self.selection, self.subscription
        return {
            "agent_id": self.principal.agent_id,
            "agent_type": self.principal.agent_type,
            "types": list(selection.types or ["*"]),
            "topics": list(selection.topics or ["*"]),
            "filter": selection.filter_text,
            "group": None if subscription is None else subscription.group,
            "subscription": None if subscription is None else subscription.name,
            "since": self.since,
        }


class Presence:
    """Who is there. Times are Unix seconds."""

    def __init__(self, bridges: Bridges) -> None:
        self._bridges = bridges
        self._seen: dict[tuple[str, str], tuple[str | None, float]] = {}
        self._open: dict[int, OpenWait] = {}
        self._sharing: dict[str, tuple[float, bool]] = {}
        self._asking: set[asyncio.Task[None]] = set()
        bridges.serve(_WAITING, self._told)
        bridges.serve(_SHARING, self._open_on)

    def note(self, principal: Principal) -> None:
        """Note that an agent was heard of."""
        key = principal.project, principal.agent_id
        self._seen.pop(key, None)
        self._seen[key] = principal.agent_type, time.time()
        if len(self._seen) > MAX_SEEN:
            del self._seen[next(iter(self._seen))]

    @contextmanager
    def waiting(
        self, principal: Principal, selection: Selection, subscription: Subscription | None
    ) -> Iterator[None]:
        """Let a wait be known while it is open."""
        wait = OpenWait(principal, selection, subscription, time.time())
        self._open[id(wait)] = wait
        try:
            yield
        finally:
            del self._open[id(wait)]

    def look_who_shares(self, subscription: str) -> None:
        """Ask the other bridges, at most once a minute, who waits on a subscription there."""
        asked_at, shared = self._sharing.pop(subscription, (0.0, False))
        due = time.time() - asked_at >= ASK_AGAIN_SECONDS
        self._sharing[subscription] = time.time() if due else asked_at, shared
        if len(self._sharing) > MAX_ASKED:
            del self._sharing[next(iter(self._sharing))]
        if due:
            task = asyncio.create_task(self._ask_who_shares(subscription))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    def is_shared_elsewhere(self, subscription: str) -> bool:
        """Tell whether another bridge had an open wait on it when that was asked last."""
        return self._sharing.get(subscription, (0.0, False))[1]

    async def _ask_who_shares(self, subscription: str) -> None:
        answers = await self._bridges.ask(_SHARING, subscription)
        elsewhere = any(count for bridge, count in answers.items() if bridge != self._bridges.id)
        self._sharing[subscription] = time.time(), elsewhere

    def _open_on(self, subscription: str) -> int:
        open_ones = (wait.subscription for wait in self._open.values())
        return sum(one is not None and one.name == subscription for one in open_ones)

    def _told(self, project: str) -> dict[str, Any]:
        oldest = time.time() - SEEN_SECONDS
        seen = [
            [agent, kind, at]
            for (of, agent), (kind, at) in reversed(self._seen.items())
            if of == project and at >= oldest
        ]
        waiting = [wait.told() for wait in self._open.values() if wait.principal.project == project]
        return {"seen": seen[:MAX_TOLD], "waiting": waiting[:MAX_TOLD]}

    async def everywhere(self, project: str) -> Mapping[str, dict[str, Any]]:
        """Give what every bridge that answers knows of a project, by bridge."""
        answers = await self._bridges.ask(_WAITING, project)
        return {**answers, self._bridges.id: self._told(project)}
