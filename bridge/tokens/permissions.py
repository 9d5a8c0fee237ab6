"""Permissions: what those of a token let its agent publish and read.

`publish:<scope>` and `wait:<scope>` name what they are for, in the form of `bridge.scopes`. Where a
token has any of a kind, its agent may do that within these alone; where it has none, it may publish
with `publish_events` or without any list of permissions, and read everything.

One that names no scope that there can be gives nothing, and so takes the rest of its kind away. Any
other that the bridge does not know is passed over.
"""

from collections.abc import Iterable
from functools import lru_cache

from bridge.scopes import EVERYTHING, NOTHING, Scope

PUBLISH_EVENTS = "publish_events"
SPAWN_AGENTS = "spawn_agents"
PUBLISH = "publish:"
WAIT = "wait:"

Permissions = frozenset[str]


@lru_cache(1024)
def publishable(permissions: Permissions | None) -> Scope:
    """Say what an agent with these may publish; None is a token without such a list."""
    if permissions is None:
        return EVERYTHING
    otherwise = EVERYTHING if PUBLISH_EVENTS in permissions else NOTHING
    return _named(permissions, PUBLISH, otherwise)


@lru_cache(1024)
def readable(permissions: Permissions | None) -> Scope:
    """Say what an agent with these may wait for, stream, list and be told of."""
    return _named(permissions or frozenset(), WAIT, EVERYTHING)


def exceeding(wanted: Permissions, own: Permissions) -> list[str]:
    """Name, sorted, the permissions that would let somebody do more than with one's own."""
    return sorted(each for each in wanted if not _is_within(each, wanted, own))


def check_scopes(permissions: Iterable[str]) -> None:
    """Raise ValueError for a permission that names a scope in a form that there is not."""
    for each in permissions:
        kind = next((kind for kind in (PUBLISH, WAIT) if each.startswith(kind)), None)
        if kind is not None:
            try:
                Scope.read([each.removeprefix(kind)])
            except ValueError as error:
                raise ValueError(f"{each!r} names no topic; behind {kind!r} {error}") from None


def _named(permissions: Permissions, kind: str, otherwise: Scope) -> Scope:
    named = [each.removeprefix(kind) for each in permissions if each.startswith(kind)]
    if not named:
        return otherwise
    return Scope(frozenset(pattern for each in named for pattern in _read(each).patterns))


def _read(text: str) -> Scope:
    try:
        return Scope.read([text])
    except ValueError:
        return NOTHING


def _is_within(permission: str, wanted: Permissions, own: Permissions) -> bool:
    if permission.startswith(PUBLISH):
        return publishable(own).includes(_read(permission.removeprefix(PUBLISH)))
    if permission.startswith(WAIT):
        return readable(own).includes(_read(permission.removeprefix(WAIT)))
    if permission == PUBLISH_EVENTS:  # which means nothing beside others that name a scope
        return publishable(own).includes(publishable(wanted))
    return permission in own
