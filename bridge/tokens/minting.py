"""The rules of minting: who may give which token to whom, and for how long."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bridge.errors import Forbidden, RequestInvalid
from bridge.events import rfc3339
from bridge.tokens.claims import (
    MAX_AGENT_ID,
    MAX_AGENT_TYPE,
    ClaimError,
    Principal,
    optional_name,
    permission_set,
    project_id,
    required_name,
)
from bridge.tokens.permissions import (
    SPAWN_AGENTS,
    WAIT,
    Permissions,
    check_scopes,
    exceeding,
    readable,
)


@dataclass(frozen=True, slots=True)
class MintedToken:
    """A new token and what it says; `expires_at` is a Unix time in seconds.

    `permissions` is None where it has no list of them. By its `jti` it is revoked.
    """

    token: str = field(repr=False)
    agent_id: str
    agent_type: str | None
    project: str
    permissions: Sequence[str] | None
    expires_at: float
    jti: str

    def described(self) -> str:
        """Say, for a log, whose token it is and what it allows; never the token."""
        kind = f" ({self.agent_type})" if self.agent_type else ""
        may = "no list of them" if self.permissions is None else ", ".join(self.permissions)
        return (
            f"a token for agent {self.agent_id!r}{kind} of project {self.project!r}; permissions: "
            f"{may or 'none'}; expires {rfc3339(self.expires_at)}; jti {self.jti}"
        )


def granted_permissions(caller: Principal, wanted: Iterable[str] | None) -> frozenset[str]:
    """Say which permissions the caller's new agent gets.

    Without a wish these are the caller's own except `spawn_agents`, so that spawning does not
    spread by default. Raises `Forbidden` where the caller may not spawn, or where the new agent
    could do anything that the caller cannot.
    """
    if caller.permissions is None or not caller.can_spawn:
        raise Forbidden(
            f"minting a token for another agent needs the permission {SPAWN_AGENTS!r}, which your"
            " token does not have; ask whoever issued it",
            needed=SPAWN_AGENTS,
        )
    if wanted is None:
        return caller.permissions - {SPAWN_AGENTS}
    asked = _checked(wanted)
    allowed = sorted(caller.permissions)
    if extra := exceeding(asked, caller.permissions):
        raise Forbidden(
            f"you cannot give permissions that you do not have: {', '.join(extra)};"
            f" allowed: {', '.join(allowed)}",
            extra=extra,
            allowed=allowed,
        )
    if not caller.reads.includes(readable(asked)):
        mine = [WAIT + each for each in caller.reads.written()]
        raise Forbidden(
            f"without a permission {WAIT}… the new token could read everything, which yours cannot;"
            f" give it yours as well, or less: {', '.join(mine)}",
            extra=[],
            allowed=allowed,
        )
    return asked


def granted_ttl(wanted: int | None, *, default: int, longest: int) -> int:
    """Check a lifetime in seconds; None is the default one. Raises `RequestInvalid`."""
    if wanted is None:
        return default
    if isinstance(wanted, bool) or not isinstance(wanted, int) or not 1 <= wanted <= longest:
        raise RequestInvalid(
            f"ttl_seconds must be a whole number from 1 to {longest}, not {wanted!r:.40}",
            field="ttl_seconds",
            maximum=longest,
        )
    return wanted


def renewed_ttl(caller: Principal, *, default: int, longest: int) -> int:
    """Give a renewed token the lifetime of the one before, in seconds, as far as allowed."""
    if caller.issued_at is None or caller.expires_at <= caller.issued_at:
        return default
    return max(1, min(longest, int(caller.expires_at - caller.issued_at)))


def mint_claims(
    agent_id: object, agent_type: object, project: object, permissions: Iterable[str] | None
) -> dict[str, Any]:
    """Check what a new token says of its agent; raises `RequestInvalid`."""
    try:
        claims: dict[str, Any] = {
            "sub": required_name(agent_id, "agent_id", MAX_AGENT_ID),
            "project_id": project_id(project),
            "jti": str(uuid.uuid4()),
        }
        kind = optional_name(agent_type, "agent_type", MAX_AGENT_TYPE)
        granted = None if permissions is None else permission_set(permissions)
    except ClaimError as error:
        raise RequestInvalid(str(error), field=error.claim) from None
    if kind is not None:
        claims["agent_type"] = kind
    if granted is not None:
        claims["permissions"] = sorted(granted)
    return claims


def _checked(wanted: Iterable[str]) -> Permissions:
    try:
        permissions = permission_set(wanted)
        check_scopes(permissions)
    except ClaimError as error:
        raise RequestInvalid(str(error), field=error.claim) from error
    except ValueError as error:
        raise RequestInvalid(f"permission {error}", field="permissions") from error
    return permissions
