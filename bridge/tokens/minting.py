"""The rules of minting: who may give which token to whom, and for how long."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from bridge.errors import Forbidden, RequestInvalid
from bridge.tokens.claims import (
    MAX_AGENT_ID,
    MAX_AGENT_TYPE,
    SPAWN_AGENTS,
    ClaimError,
    Principal,
    optional_name,
    permission_set,
    project_id,
    required_name,
)


@dataclass(frozen=True, slots=True)
class MintedToken:
    """A new token and what it says; `expires_at` is a Unix time in seconds."""

    token: str = field(repr=False)
    agent_id: str
    agent_type: str | None
    project: str
    expires_at: float


def granted_permissions(caller: Principal, wanted: Iterable[str] | None) -> frozenset[str]:
    """Say which permissions the caller's new agent gets.

    Without a wish these are the caller's own except `spawn_agents`, so that spawning does not
    spread by default. Raises `Forbidden` where the caller may not spawn or does not have all that
    it wants to give.
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
    extra = sorted(asked - caller.permissions)
    if extra:
        allowed = sorted(caller.permissions)
        raise Forbidden(
            f"you cannot give permissions that you do not have: {', '.join(extra)};"
            f" allowed: {', '.join(allowed)}",
            extra=extra,
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


def _checked(wanted: Iterable[str]) -> frozenset[str]:
    try:
        return permission_set(wanted)
    except ClaimError as error:
        raise RequestInvalid(str(error), field=error.claim) from error
