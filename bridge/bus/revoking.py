"""Revoking: tokens of the caller's project are made void before their time, or good again."""

import asyncio
import logging
import math
import time

from bridge.bus.ports import RevocationStore
from bridge.errors import Forbidden, NotFound, RequestInvalid
from bridge.events import rfc3339
from bridge.tokens import Principal, Revocation
from bridge.tokens.revocations import SPARE_SECONDS

log = logging.getLogger("bridge.bus.revoking")

MOST = 1000
"""So many of a project; each bridge has all of them in memory."""

MAX_NAME = 256


class Revoking:
    """Lists, adds and takes back revocations, for agents with `spawn_agents`."""

    def __init__(self, store: RevocationStore) -> None:
        self._store = store
        self._revoked = store.counted

    def listed(self, principal: Principal) -> list[Revocation]:
        """List the project's, the newest first. Raises Forbidden."""
        _authorise(principal)
        return self._revoked.of_project(principal.project)

    async def revoke(
        self,
        principal: Principal,
        *,
        jti: str | None,
        agent_id: str | None,
        issued_before: float | None,
        expires_at: float | None,
    ) -> Revocation:
        """Make void one token, or an agent's that were issued before a time, by default now.

        Many an issuer counts whole seconds. So now is the end of this second, and what is issued
        once this has returned is good. Raises Forbidden, RequestInvalid or Unavailable.
        """
        _authorise(principal)
        _check(jti, agent_id, issued_before)
        now = time.time()
        if expires_at is not None and expires_at + SPARE_SECONDS <= now:
            raise RequestInvalid(
                f"what expired at {rfc3339(expires_at)} need not be revoked", field="expires_at"
            )
        until = now
        if agent_id is not None and issued_before is None:
            issued_before = until = math.floor(now) + 1.0
        revocation = Revocation(
            project=principal.project,
            jti=jti,
            agent_id=agent_id,
            issued_before=issued_before,
            revoked_by=principal.agent_id,
            revoked_at=now,
            expires_at=expires_at,
        )
        self._check_room(revocation)
        revocation = await self._store.put(revocation)
        log.info("agent %r revoked %s", principal.agent_id, revocation.described())
        await asyncio.sleep(max(0.0, until - time.time()))
        return revocation

    async def take_back(
        self,
        principal: Principal,
        *,
        jti: str | None,
        agent_id: str | None,
        issued_before: float | None,
    ) -> None:
        """Let tokens be good again. Raises Forbidden, RequestInvalid, NotFound or Unavailable."""
        _authorise(principal)
        _check(jti, agent_id, issued_before)
        name = ("agent_id", agent_id) if jti is None else ("jti", jti)
        mine = self._revoked.of_project(principal.project)
        found = next((each for each in mine if each.key[1:] == name), None)
        if found is None or issued_before not in (None, found.issued_before):
            told = "" if found is None else f" but one of {found.as_json()['issued_before']}"
            raise NotFound(
                f"there is no such revocation of {name[0]} {name[1]!r}{told}; "
                "GET /api/tokens/revoked lists them"
            )
        await self._store.remove(found)
        log.info("agent %r made good again %s", principal.agent_id, found.described())

    def _check_room(self, revocation: Revocation) -> None:
        known = {each.key for each in self._revoked.of_project(revocation.project)}
        if len(known | {revocation.key}) > MOST:
            raise RequestInvalid(
                f"{MOST} revocations of this project are kept: take back those whose tokens have "
                "expired (DELETE /api/tokens/revoked), or revoke all tokens of an agent at once"
            )


def _authorise(principal: Principal) -> None:
    if not principal.can_spawn:
        raise Forbidden(
            "to see and to revoke tokens takes the permission `spawn_agents`, which yours lacks",
            needed="spawn_agents",
        )


def _check(jti: str | None, agent_id: str | None, issued_before: float | None) -> None:
    if (jti is None) == (agent_id is None):
        raise RequestInvalid(
            "say which: `jti` is one token, `agent_id` all of an agent's that were issued before "
            "`issued_before`, by default now"
        )
    if jti is not None and issued_before is not None:
        raise RequestInvalid(
            "`issued_before` goes with `agent_id`; a `jti` is one token, whenever it was issued",
            field="issued_before",
        )
    if not 0 < len(jti or agent_id or "") <= MAX_NAME:
        raise RequestInvalid(f"a `jti` and an `agent_id` have 1 to {MAX_NAME} characters")
