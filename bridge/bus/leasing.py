"""Leasing: an agent says that its deliveries are done, need longer, go back, or will never do."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bridge.bus.ports import LeaseHandle, Store
from bridge.bus.rights import may_see
from bridge.errors import BridgeError, Forbidden, LeaseEnded, NotFound, RequestInvalid
from bridge.events import rfc3339
from bridge.subscription import Subscription
from bridge.tokens import Principal

AT_ONCE = 64


@dataclass(slots=True)
class Settled:
    """What became of each `ack_id`: what is `done`, and what `failed` with its code and message."""

    done: list[Any] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Give it as agents see it."""
        return {"done": self.done, "failed": self.failed}


def may_read(principal: Principal, subscription: Subscription) -> bool:
    """Tell whether an agent may have what a subscription is given: its own, or its group's."""
    mine = subscription.agent == principal.agent_id or subscription.group is not None
    return subscription.selection.project == principal.project and (mine or principal.can_spawn)


class Leasing:
    """What agents do with leases, on this or any other bridge.

    Fencing: a lease that has ended is refused, for its event may be another agent's by now.
    """

    def __init__(self, store: Store) -> None:
        self._leases = store.subscriptions.leases
        self._subscribers = store.subscribers
        self._log = store.log
        self._gate = asyncio.Semaphore(AT_ONCE)

    async def acknowledge(self, principal: Principal, ack_ids: Sequence[str]) -> Settled:
        """End leases: their events are done. Raises RequestInvalid or LeaseEnded if all fail."""
        return await self._settle(principal, "ack", ack_ids, self._leases.acknowledge)

    async def extend(self, principal: Principal, ack_ids: Sequence[str], seconds: float) -> Settled:
        """Begin leases anew. Raises as `acknowledge` does."""
        extended: dict[str, list[tuple[str, float]]] = {}

        async def extend(lease: LeaseHandle) -> None:
            ack_id, until = await self._leases.extend(lease, seconds)
            extended.setdefault(f"{lease.consumer}/{lease.sequence}", []).append((ack_id, until))

        settled = await self._settle(principal, "extend", ack_ids, extend)
        settled.done = [
            {"was": was, "ack_id": new, "lease_expires_at": rfc3339(until)}
            for was in settled.done
            for lease in self._leases.read(was)
            for new, until in extended[f"{lease.consumer}/{lease.sequence}"][-1:]
        ]
        return settled

    async def release(self, principal: Principal, ack_ids: Sequence[str], delay: float) -> Settled:
        """Give events back, for delivery after a delay. Raises as `acknowledge` does."""
        return await self._settle(
            principal, "release", ack_ids, lambda lease: self._leases.release(lease, delay)
        )

    async def reject(self, principal: Principal, ack_ids: Sequence[str], reason: str) -> Settled:
        """Make events dead letters of their subscription. Raises as `acknowledge` does."""
        await self._log.catch_up()  # what a dead letter says is read from there
        return await self._settle(
            principal, "reject", ack_ids, lambda lease: self._leases.reject(lease, reason)
        )

    async def done(self, principal: Principal, ack_ids: Sequence[str]) -> list[str]:
        """Acknowledge with a wait, and say what could not be."""
        if not ack_ids:
            return []
        try:
            settled = await self.acknowledge(principal, ack_ids)
        except (LeaseEnded, RequestInvalid) as error:
            return [f"`done` was in vain: {error.message}"]
        return [f"`done` was in vain for one: {each['message']}" for each in settled.failed]

    async def redrive(self, principal: Principal, name: str, event_ids: Sequence[str]) -> Settled:
        """Deliver dead letters once more, to their subscription alone. Raises NotFound."""
        subscription = self._subscribers.get(name)
        if subscription is None or not may_read(principal, subscription):
            raise NotFound(
                f"there is no subscription {name!r} of yours; GET /api/subscriptions lists them",
                name=name,
            )
        await self._log.catch_up()
        settled = Settled()
        for event_id in event_ids:
            entry = self._log.mirror.by_id(principal.project, event_id)
            if entry is None or not may_see(principal, entry.event):
                told = f"no retained event of this project has the ID {event_id[:80]!r}"
                settled.failed.append(
                    {"event_id": event_id, "code": NotFound.code, "message": told}
                )
            else:
                await self._leases.redrive(subscription, entry.event)
                settled.done.append(event_id)
        if not settled.done:
            raise NotFound(settled.failed[0]["message"], failed=settled.failed)
        return settled

    async def _settle(
        self,
        principal: Principal,
        verb: str,
        ack_ids: Sequence[str],
        what: Callable[[Any], Awaitable[None]],
    ) -> Settled:
        errors: dict[str, BridgeError] = {}

        async def one(ack_id: str) -> None:
            try:
                leases = self._leases.read(ack_id)
                for lease in leases:
                    self._check(principal, lease, verb)
                await asyncio.gather(*(self._gated(what, lease) for lease in leases))
            except BridgeError as error:
                errors[ack_id] = error

        wanted = list(dict.fromkeys(ack_ids))
        await asyncio.gather(*map(one, wanted))
        if wanted and all(isinstance(errors.get(each), RequestInvalid) for each in wanted):
            raise errors[wanted[0]]
        settled = Settled([each for each in wanted if each not in errors])
        settled.failed = [
            {"ack_id": each, "code": errors[each].code, "message": errors[each].message}
            for each in wanted
            if each in errors
        ]
        if not settled.done:
            first = errors[wanted[0]]
            kind = type(first) if not isinstance(first, RequestInvalid) else LeaseEnded
            raise kind(first.message, failed=settled.failed)
        return settled

    async def _gated(self, what: Callable[[Any], Awaitable[None]], lease: LeaseHandle) -> None:
        async with self._gate:
            await what(lease)

    def _check(self, principal: Principal, lease: LeaseHandle, verb: str) -> None:
        """Refuse a lease that has ended, or that is not this agent's to settle."""
        subscription = self._subscribers.get(lease.consumer)
        if subscription is not None and not may_read(principal, subscription):
            raise Forbidden("this ack_id is of a subscription that is not yours")
        if subscription is not None and self._leases.was_settled(lease, verb):
            return
        if subscription is None or not self._leases.is_current(lease):
            raise LeaseEnded(
                f"this lease ended at {rfc3339(lease.until)}, or its ack_id was used; the event "
                "may be another's by now: wait for it again, with a longer `lease` or extending it "
                "in time"
            )
