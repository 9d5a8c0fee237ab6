"""Tokens signed on this machine: with the configured key, or with the secret of the first start."""

from collections.abc import Sequence
from pathlib import Path

from bridge.cli.endings import Misused
from bridge.cli.options import whole_seconds
from bridge.errors import RequestInvalid
from bridge.settings import Settings, load_settings
from bridge.suggest import nearest
from bridge.tokens import MintedToken, Revocations, TokenAuthority, load_or_create_secret
from bridge.tokens.permissions import PUBLISH, PUBLISH_EVENTS, SPAWN_AGENTS, WAIT, check_scopes


def authority(settings: Settings, revoked: Revocations | None = None) -> TokenAuthority:
    """Make the token authority that the settings describe. Raises StartError."""
    secret = None if settings.key_configured else load_or_create_secret(settings.data_dir)
    return TokenAuthority(settings.key_config(own_secret=secret), revoked)


PERMISSIONS = (PUBLISH_EVENTS, SPAWN_AGENTS)
_SCOPED = (PUBLISH, WAIT)
_MEANT = {"read": WAIT, "listen": WAIT, "subscribe": WAIT, "write": PUBLISH, "send": PUBLISH}
_OPTIONS = {
    "agent_id": "--agent",
    "agent_type": "--type",
    "project_id": "--project",
    "ttl_seconds": "--ttl",
}
"""Which option a field of a token is given with."""


def make(
    agent: str,
    agent_type: str | None,
    project: str,
    ttl: str,
    permissions: Sequence[str] | None,
    data_dir: Path | None,
) -> MintedToken:
    """Sign a token. Raises StartError, Misused, or RequestInvalid where no key can sign."""
    try:
        lasting = whole_seconds(ttl)
    except RequestInvalid as error:
        raise Misused(f"--ttl: {error.message}") from None
    settings = load_settings(data_dir=data_dir)
    try:
        minted = authority(settings).mint(
            agent_id=agent,
            agent_type=agent_type,
            project=project,
            permissions=permissions,
            ttl_seconds=lasting,
        )
    except RequestInvalid as error:
        option = _OPTIONS.get(error.details.get("field", ""))
        if option is None:
            raise
        raise Misused(f"{option}: {error.message}") from None
    return minted


def permissions_of(given: Sequence[str] | None, *, read_only: bool) -> Sequence[str] | None:
    """Check permissions that somebody typed; None is a token without a list. Raises Misused."""
    for name in given or ():
        if name not in PERMISSIONS:
            _check_scoped(name)
        if read_only and (name == PUBLISH_EVENTS or name.startswith(PUBLISH)):
            raise Misused(f"--read-only and --permission {name} contradict each other: drop one")
    return given or () if read_only else given


def _check_scoped(name: str) -> None:
    """Check a permission that names what it is for. Raises Misused, with what was meant."""
    kind, colon, scope = name.partition(":")
    if kind + colon in _SCOPED:
        try:
            check_scopes([name])
        except ValueError as error:
            raise Misused(f"--permission: {error}") from None
        return
    if colon:
        meant = _MEANT.get(kind) or nearest(kind + colon, _SCOPED, close=0.3)
        likely = [each + scope for each in _SCOPED if meant in (None, each)]
    else:
        near = nearest(name, PERMISSIONS, close=0.3)
        likely = [near] if near else []
    known = (*PERMISSIONS, *(f"{each}TOPIC" for each in _SCOPED))
    hint = f"did you mean {_or(likely)}?" if likely else f"known are {', '.join(map(_code, known))}"
    raise Misused(f"--permission: there is no permission {name!r}; {hint}")


def _or(names: Sequence[str]) -> str:
    return " or ".join(map(_code, names))


def _code(name: str) -> str:
    return f"`{name}`"
