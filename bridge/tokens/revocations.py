"""Revocations: tokens that are void though their signature is good and their time not over."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Self

from bridge.errors import TokenInvalid, Unavailable
from bridge.events import rfc3339
from bridge.tokens.claims import Principal

Key = tuple[str, str, str]
"""A project, `jti` or `agent_id`, and its value."""

SPARE_SECONDS = 3600.0
"""How much longer than its token a revocation is kept: bridges give tokens some leeway."""

_MOMENTS = ("issued_before", "revoked_at", "expires_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """What voids tokens of a project: one by its `jti`, or an agent's issued before a time.

    A token that does not say when it was issued is taken as issued before. At `expires_at` none of
    these tokens is good any more in any case; None where nobody has said so. Times are in Unix
    seconds.
    """

    project: str
    jti: str | None = None
    agent_id: str | None = None
    issued_before: float | None = None
    revoked_by: str
    revoked_at: float
    expires_at: float | None = None

    @property
    def key(self) -> Key:
        """What it is about: of one thing there is one."""
        if self.jti is not None:
            return self.project, "jti", self.jti
        return self.project, "agent_id", self.agent_id or ""

    def voids(self, principal: Principal) -> bool:
        """Tell whether a token of which `key` is true is void."""
        if self.issued_before is None or principal.issued_at is None:
            return True
        return principal.issued_at < self.issued_before

    def beside(self, earlier: Self) -> Self:
        """Give what voids all that either does, for as long: the earlier one if that does."""
        both = replace(
            earlier,
            issued_before=_later(self.issued_before, earlier.issued_before),
            expires_at=_later(self.expires_at, earlier.expires_at),
        )
        if both == earlier:
            return earlier
        return replace(both, revoked_by=self.revoked_by, revoked_at=self.revoked_at)

    def described(self) -> str:
        """Say, for a log, which tokens it voids."""
        what = f"the token {self.jti!r}" if self.jti is not None else f"tokens of {self.agent_id!r}"
        before = self.issued_before
        when = "" if before is None else f" that were issued before {rfc3339(before)}"
        return f"{what}{when}, of project {self.project!r}"

    def as_json(self) -> dict[str, Any]:
        """Write it as it is stored and shown: what says nothing is left out."""
        told = {
            "project_id": self.project,
            "jti": self.jti,
            "agent_id": self.agent_id,
            "issued_before": self.issued_before,
            "revoked_by": self.revoked_by,
            "revoked_at": self.revoked_at,
            "expires_at": self.expires_at,
        }
        return {
            name: rfc3339(float(value)) if name in _MOMENTS else value
            for name, value in told.items()
            if value is not None
        }

    @classmethod
    def from_json(cls, content: Any) -> Self:
        """Read what `as_json` wrote, whoever put it there. Raises ValueError."""
        try:
            found = cls(
                project=content["project_id"],
                jti=content.get("jti"),
                agent_id=content.get("agent_id"),
                issued_before=_moment(content.get("issued_before")),
                revoked_by=content["revoked_by"],
                revoked_at=read_moment(content["revoked_at"]),
                expires_at=_moment(content.get("expires_at")),
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"it is not as a bridge writes it: {error!r}") from None
        if not all(isinstance(part, str) and part for part in (*found.key, found.revoked_by)):
            raise ValueError("it names no project, or neither a jti nor an agent_id")
        return found


class Revocations:
    """The revocations that count now; until they were taken for the first time no token does."""

    def __init__(self) -> None:
        self._found: Mapping[Key, Revocation] | None = None
        self._calls: list[Callable[[], None]] = []
        self._until_known: Callable[[], Awaitable[None]] | None = None

    @classmethod
    def none(cls) -> Self:
        """Make those of somebody who has no list of them: nothing is revoked."""
        made = cls()
        made.take(())
        return made

    @property
    def known(self) -> bool:
        """Whether they were taken."""
        return self._found is not None

    def expect(self, until_known: Callable[[], Awaitable[None]]) -> None:
        """Name what waits a moment until they were taken, and raises Unavailable in vain."""
        self._until_known = until_known

    async def settle(self) -> None:
        """Wait a moment until they are known. Raises Unavailable, with why they are not."""
        if self._found is None and self._until_known is not None:
            await self._until_known()

    def on_change(self, call: Callable[[], None]) -> None:
        """Have something called whenever they are others than before, in the order of these."""
        self._calls.append(call)

    def take(self, found: Iterable[Revocation]) -> None:
        """Let these count, and no others."""
        taken = {each.key: each for each in found}
        if taken != self._found:
            self._found = taken
            for call in self._calls:
                call()

    def of_project(self, project: str) -> list[Revocation]:
        """Give a project's, the newest first."""
        mine = (each for each in (self._found or {}).values() if each.project == project)
        return sorted(mine, key=lambda each: each.revoked_at, reverse=True)

    def of(self, principal: Principal) -> Revocation | None:
        """Give what voids a token. Raises Unavailable while that is not known."""
        if self._found is None:
            raise Unavailable("it is not known yet which tokens are revoked; try again in a moment")
        keys = [(principal.project, "agent_id", principal.agent_id)]
        if principal.jti is not None:
            keys.append((principal.project, "jti", principal.jti))
        entries = (self._found[key] for key in keys if key in self._found)
        return next((each for each in entries if each.voids(principal)), None)

    def check(self, principal: Principal) -> None:
        """Raise TokenInvalid if a token is void, Unavailable while that is not known."""
        if (found := self.of(principal)) is not None:
            raise TokenInvalid(_told(found, principal), revocation=found.as_json())


def _told(found: Revocation, principal: Principal) -> str:
    when = f"at {rfc3339(found.revoked_at)} by {found.revoked_by!r}"
    if found.issued_before is None:
        return f"this token was revoked {when}; get a new one from its issuer"
    issued = principal.issued_at
    said = "does not say when it was" if issued is None else f"was issued at {rfc3339(issued)}"
    return (
        f"this token was revoked {when}, with all of agent {found.agent_id!r} that were issued "
        f"before {rfc3339(found.issued_before)}: it {said}; get a new one from its issuer"
    )


def read_moment(text: str) -> float:
    """Read an RFC 3339 time, in UTC if it does not say otherwise. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _moment(text: str | None) -> float | None:
    return None if text is None else read_moment(text)


def _later(one: float | None, other: float | None) -> float | None:
    """Give the later of two times; None is without an end."""
    return None if one is None or other is None else max(one, other)
